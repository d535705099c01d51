"""
Offsets that can be committed, while records finish out of order.

Only the contiguous finished prefix of a partition can be committed: a crash after committing past
an unfinished record would lose it.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any


class Offsets:
    """The progress in each partition. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition(threading.Lock())
        self._unfinished: dict[Any, set[int]] = defaultdict(set)
        self._count = 0  # of all unfinished records
        self._awaited = 0  # below this count wait_for_room() returns; 0 while no thread waits
        self._ends: dict[Any, int] = {}  # one past the offset that was begun last
        self._committed: dict[Any, int] = {}

    @property
    def unfinished(self) -> int:
        """Number of records that are begun and not finished."""
        return self._count

    def begin(self, partition: Any, offsets: Iterable[int]) -> None:
        """Note that the records at *offsets* of *partition*, in this order, were taken."""
        with self._lock:
            unfinished = self._unfinished[partition]
            self._count -= len(unfinished)
            for offset in offsets:
                unfinished.add(offset)
                # Not the maximum: after a rebalance, or in a recreated topic, offsets start lower.
                self._ends[partition] = offset + 1
            self._count += len(unfinished)

    def finish(self, partition: Any, offset: int) -> None:
        """Note that the record at *offset* of *partition* needs nothing more."""
        with self._lock:
            unfinished = self._unfinished[partition]
            if offset not in unfinished:
                return
            unfinished.remove(offset)
            self._count -= 1
            # Once, not for each record: the waiting thread would take turns with all handlers.
            if self._count < self._awaited:
                self._awaited = 0
                self._lock.notify_all()

    def wait_for_room(self, limit: int, timeout_s: float) -> bool:
        """Return once fewer than *limit* records are unfinished; False after *timeout_s*."""
        with self._lock:
            if self._count < limit:
                return True
            self._awaited = limit
            self._lock.wait(timeout_s)
            self._awaited = 0
            return self._count < limit

    def to_commit(self) -> dict[Any, int]:
        """Return the offsets that are not committed yet."""
        with self._lock:
            return {
                partition: offset
                for partition, end in self._ends.items()
                if (offset := min(self._unfinished[partition], default=end))
                != self._committed.get(partition)
            }

    def note_committed(self, offsets: Mapping[Any, int]) -> None:
        """Note that *offsets* were committed."""
        with self._lock:
            self._committed |= offsets
