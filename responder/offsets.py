"""
Offsets that can be committed, while records finish out of order.

Only the contiguous finished prefix of a partition can be committed: a crash after committing past
an unfinished record would lose it.
"""

import threading
from collections import defaultdict
from typing import Any


class Offsets:
    """The progress in each partition. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._unfinished: dict[Any, set[int]] = defaultdict(set)
        self._ends: dict[Any, int] = {}  # one past the offset that was begun last
        self._committed: dict[Any, int] = {}

    def begin(self, partition: Any, offset: int) -> None:
        """Note that the record at *offset* of *partition* was taken."""
        with self._lock:
            self._unfinished[partition].add(offset)
            # Not the maximum: after a rebalance, or in a recreated topic, offsets start lower.
            self._ends[partition] = offset + 1

    def finish(self, partition: Any, offset: int) -> None:
        """Note that the record at *offset* of *partition* needs nothing more."""
        with self._lock:
            self._unfinished[partition].discard(offset)
            self._lock.notify_all()

    def wait_for_room(self, limit: int, timeout_s: float) -> bool:
        """Return once fewer than *limit* records are unfinished; False after *timeout_s*."""
        with self._lock:
            return self._lock.wait_for(lambda: self._unfinished_count() < limit, timeout_s)

    def to_commit(self) -> dict[Any, int]:
        """Return the offsets that have changed since the last call, to be committed."""
        with self._lock:
            changed = {
                partition: offset
                for partition, end in self._ends.items()
                if (offset := min(self._unfinished[partition], default=end))
                != self._committed.get(partition)
            }
            self._committed |= changed
        return changed

    def _unfinished_count(self) -> int:
        return sum(map(len, self._unfinished.values()))
