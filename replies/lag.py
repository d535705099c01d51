"""How far behind the end of a topic its reader is, in time."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class LagWatch:
    """
    Remembers, for each partition, the age of the last record that was read, while more follow it.

    Args:
        clock: Unix time in seconds; the timestamps of records are by their senders' clocks.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._behind_since_ms: dict[Any, int] = {}

    def note(self, batch: Mapping[Any, Sequence[Any]], end: Callable[[Any], int | None]) -> None:
        """
        Note that *batch* has been read.

        Args:
            end: returns the offset after the last record of a partition, if known.
        """
        for partition, records in batch.items():
            last, after = records[-1], end(partition)
            if after is not None and last.offset + 1 < after:
                self._behind_since_ms[partition] = last.timestamp
            else:
                self._behind_since_ms.pop(partition, None)

    def lag_s(self, partition: Any) -> float:
        """Return how late the next record of *partition* is read; 0 when all are."""
        since_ms = self._behind_since_ms.get(partition)
        return 0.0 if since_ms is None else max(0.0, self._clock() - since_ms / 1000)
