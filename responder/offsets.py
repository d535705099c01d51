"""
Which offsets of a partition are finished, when they do not finish in order.

Only the contiguous finished prefix may be committed: an offset beyond an unfinished one would lose
that one in a crash.
"""


class PartitionOffsets:
    """The progress in one partition. Not thread-safe."""

    def __init__(self) -> None:
        self._unfinished: set[int] = set()
        self._begun = 0  # one past the offset that was begun last

    def begin(self, offset: int) -> None:
        """Note that the record at *offset* has been taken up."""
        self._unfinished.add(offset)
        # Not the highest: after a rebalance, or in a topic made anew, offsets start again lower.
        self._begun = offset + 1

    def finish(self, offset: int) -> None:
        """Note that the record at *offset* needs nothing more."""
        self._unfinished.discard(offset)

    def next_offset(self) -> int:
        """Return the offset from which a successor has to read; all before it are finished."""
        return min(self._unfinished, default=self._begun)
