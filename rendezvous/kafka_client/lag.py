"""How far behind the end of a topic its reader is, in time."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any


class Lag:
    """
    Remembers how old the last record was that was read of a partition, while more follow it; or
    that none did, so that what is read next has just been appended.

    Args:
        clock: Unix time in seconds; the timestamps of records are by their senders' clocks.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._behind_since_ms: dict[Any, int] = {}
        self._at_end: set[Any] = set()
        #: Of the partitions read last, those that had been read to their ends before.
        self.fresh: frozenset[Any] = frozenset()

    def note(
        self,
        batch: Mapping[Any, Sequence[Any]],
        assigned: Collection[Any],
        end: Callable[[Any], int | None],
    ) -> None:
        """
        Note that *batch* has been read.

        Args:
            assigned: the partitions that are ours to read.
            end: returns the offset after the last record of a partition, if known.
        """
        self._at_end &= set(assigned)
        self.fresh = frozenset(self._at_end & set(batch))
        for partition, records in batch.items():
            last, after = records[-1], end(partition)
            self._behind_since_ms.pop(partition, None)
            self._at_end.discard(partition)
            if after is None:
                continue
            if last.offset + 1 < after:
                self._behind_since_ms[partition] = last.timestamp
            else:
                self._at_end.add(partition)

    def look_away(self) -> None:
        """Note that nothing is read for a while, so that what comes next may have waited."""
        self._at_end.clear()

    def lag_s(self, partition: Any) -> float:
        """Return how late the next record of *partition* is read; 0 when all are."""
        since_ms = self._behind_since_ms.get(partition)
        return 0.0 if since_ms is None else max(0.0, self._clock() - since_ms / 1000)
