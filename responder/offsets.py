"""
Offsets that can be committed, while records finish out of order.

Only the contiguous finished prefix of a partition can be committed: a crash after committing past
an unfinished record would lose it.
"""

import threading
from typing import Any


class PartitionOffsets:
    """The progress in one partition. Not thread-safe."""

    def __init__(self) -> None:
        self._unfinished: set[int] = set()
        self._begun = 0  # one past the offset that was begun last

    def begin(self, offset: int) -> None:
        """Note that the record at *offset* was taken from its partition."""
        self._unfinished.add(offset)
        # Not the maximum: after a rebalance, or in a recreated topic, offsets start lower again.
        self._begun = offset + 1

    def finish(self, offset: int) -> None:
        """Note that the record at *offset* needs nothing more."""
        self._unfinished.discard(offset)

    def next_offset(self) -> int:
        """Return the offset to commit: the first unfinished one, or the end."""
        return min(self._unfinished, default=self._begun)


class Offsets:
    """The progress in all partitions. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[Any, PartitionOffsets] = {}
        self._committed: dict[Any, int] = {}
        self._unfinished = 0

    def begin(self, partition: Any, offset: int) -> None:
        """Note that the record at *offset* of *partition* was taken."""
        with self._lock:
            self._partitions.setdefault(partition, PartitionOffsets()).begin(offset)
            self._unfinished += 1

    def finish(self, partition: Any, offset: int) -> None:
        """Note that the record at *offset* of *partition* needs nothing more."""
        with self._lock:
            self._partitions[partition].finish(offset)
            self._unfinished -= 1

    def unfinished(self) -> int:
        """Return the number of records that have begun and not finished."""
        return self._unfinished

    def to_commit(self) -> dict[Any, int]:
        """Return the offsets that have changed since the last call, to be committed."""
        with self._lock:
            changed = {
                partition: progress.next_offset()
                for partition, progress in self._partitions.items()
                if progress.next_offset() != self._committed.get(partition)
            }
            self._committed |= changed
        return changed
