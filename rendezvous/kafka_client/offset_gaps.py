"""
Offsets that a fetch left out, and a second look at them.

A broker may hand out a record while one that it appended just before is not visible yet: seen with
the embedded broker under load, where the earlier record would never be read. Apache Kafka has gaps
of another kind, where a transaction was marked or a topic compacted; those stay.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

#: How long a gap may take to fill before it is taken for one that stays.
PATIENCE_S = 0.5


class OffsetGaps:
    """
    Tells which records can be taken and from where to read again. For one consumer.

    Args:
        clock: seconds that only go up.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[Any, int] = {}
        self._since_s: dict[Any, float] = {}
        self._with_lasting_gaps: set[Any] = set()
        #: How many gaps were filled when they were looked at again.
        self.filled = 0

    def check(
        self, batch: Mapping[Any, Sequence[Any]]
    ) -> tuple[dict[Any, Sequence[Any]], dict[Any, int]]:
        """
        Return the records of *batch* up to the first gap of each partition, and where to seek to.
        """
        good: dict[Any, Sequence[Any]] = {}
        again: dict[Any, int] = {}
        for partition, records in batch.items():
            taken = self._before_gap(partition, records)
            if taken:
                good[partition] = records[:taken]
            if taken < len(records):
                again[partition] = self._next[partition]
        return good, again

    def expect(self, partition: Any, offset: int) -> None:
        """Note that *partition* is read on from *offset*: what lies before was left on purpose."""
        self._next[partition] = offset

    def forget(self, partitions: Collection[Any]) -> None:
        """Begin *partitions* anew: what was read before they left and came back says nothing."""
        for partition in partitions:
            self._next.pop(partition, None)

    def _before_gap(self, partition: Any, records: Sequence[Any]) -> int:
        """Return how many of *records* can be taken."""
        expected = self._next.get(partition, records[0].offset)
        for index, record in enumerate(records):
            if record.offset > expected and not self._stays(partition):
                self._next[partition] = expected
                return index
            if record.offset == expected and self._since_s.pop(partition, None) is not None:
                self.filled += 1
            expected = record.offset + 1
        self._next[partition] = expected
        return len(records)

    def _stays(self, partition: Any) -> bool:
        if partition not in self._with_lasting_gaps:
            since_s = self._since_s.setdefault(partition, self._clock())
            if self._clock() - since_s < PATIENCE_S:
                return False
            del self._since_s[partition]
            self._with_lasting_gaps.add(partition)
        return True
