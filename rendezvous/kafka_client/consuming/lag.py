"""Lag of a consumer behind the end of each partition, in seconds."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any


class Lag:
    """
    Computes the lag of each partition from the timestamps of the records read.

    Args:
        clock: Unix time in seconds; the timestamps of records are by their senders' clocks.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        #: The last record read of each partition that has more.
        self._last_read: dict[Any, Any] = {}
        self._at_end: set[Any] = set()
        #: Partitions of the last batch whose records were appended since the batch before.
        self.read_on_arrival: frozenset[Any] = frozenset()

    def note(
        self,
        batch: Mapping[Any, Sequence[Any]],
        assigned: Collection[Any],
        end_offset: Callable[[Any], int | None],
        position: Callable[[Any], int | None],
    ) -> None:
        """
        Note that *batch* was read.

        Args:
            assigned: the partitions of this consumer.
            end_offset: returns the offset after the last record of a partition, if known.
            position: returns the offset that is read next, if known. It is behind the last record
                when records that no consumer gets follow it: the end of a transaction, and what was
                aborted.
        """
        self._at_end &= set(assigned)
        self.read_on_arrival = frozenset(self._at_end & set(batch))
        for partition, records in batch.items():
            self._last_read[partition] = records[-1]
            self._at_end.discard(partition)
        for partition, last in [*self._last_read.items()]:
            end = end_offset(partition)
            if end is None:
                del self._last_read[partition]
            elif max(last.offset + 1, position(partition) or 0) >= end:
                del self._last_read[partition]
                self._at_end.add(partition)

    def note_pause(self) -> None:
        """Note a pause, during which the next records may wait in the topic."""
        self._at_end.clear()

    def lag_s(self, partition: Any) -> float:
        """Return the age of the last record read; 0 at the partition's end."""
        last = self._last_read.get(partition)
        return 0.0 if last is None else max(0.0, self._clock() - last.timestamp / 1000)
