"""
Connections per worker, in memory that all workers share, so that they accept evenly.

All workers poll the same listening socket: whichever wakes first would accept most. SO_REUSEPORT
spreads by hash, unevenly for few connections, and a worker that dies takes its queue with it.
"""

import mmap
import time

#: Maximum number of workers that are told apart; a reload has two generations of them.
MIN_WORKERS = 64
#: Age from which a count is ignored, in seconds: its worker is dead or stuck.
STALE_S = 1.0
#: Connections above the least count, and share of it, at which a worker still accepts.
SLACK, SLACK_SHARE = 1, 1 / 16


class ConnectionCounts:
    """
    The number of connections of each worker, and when it was last written.

    Args:
        workers: the configured number of workers.
    """

    def __init__(self, workers: int) -> None:
        self.size = max(MIN_WORKERS, 4 * workers)
        # One write of eight bytes each: no reader sees half a number.
        self._values = memoryview(mmap.mmap(-1, 2 * 8 * self.size)).cast("d")

    def write(self, index: int, count: int) -> None:
        """Set the count of the worker *index*."""
        self._values[index] = count
        self._values[self.size + index] = time.monotonic()

    def clear(self, index: int) -> None:
        """Remove the count of a worker that accepts no more."""
        self._values[self.size + index] = 0.0

    def least_of_others(self, index: int) -> int | None:
        """Return the smallest count of all workers but *index*; None if there is no other."""
        values, size = self._values.tolist(), self.size
        oldest_s = time.monotonic() - STALE_S
        counts = [
            values[other]
            for other in range(size)
            if values[size + other] >= oldest_s and other != index
        ]
        return int(min(counts)) if counts else None


class FairShare:
    """How many connections one worker may accept beside the others."""

    def __init__(self, counts: ConnectionCounts, worker_age: int) -> None:
        self._counts = counts
        self._index = worker_age % counts.size

    def update(self, count: int) -> None:
        """Tell the others that this worker has *count* connections; at least once a second."""
        self._counts.write(self._index, count)

    def leave(self) -> None:
        """Leave new connections to the others."""
        self._counts.clear(self._index)

    def room(self, count: int) -> int | None:
        """Return how many more may be accepted at *count*; None for any number."""
        least = self._counts.least_of_others(self._index)
        return None if least is None else least + SLACK + int(least * SLACK_SHARE) - count
