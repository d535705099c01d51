"""Only the contiguous finished prefix of a partition can be committed."""

import random

from responder.offsets import Offsets, PartitionOffsets


def begun(*offsets):
    progress = PartitionOffsets()
    for offset in offsets:
        progress.begin(offset)
    return progress


def test_no_offset_past_an_unfinished_record_can_be_committed():
    progress = begun(5, 6, 7)
    progress.finish(7)
    progress.finish(6)
    before = progress.next_offset()
    progress.finish(5)

    assert (before, progress.next_offset()) == (5, 8)


def test_offset_gaps_do_not_prevent_commits():
    progress = begun(5, 9, 20)
    progress.finish(5)
    progress.finish(9)

    assert progress.next_offset() == 20
    progress.finish(20)
    assert progress.next_offset() == 21


def test_finishing_twice_changes_nothing():
    progress = begun(5, 6)
    progress.finish(5)
    progress.finish(5)

    assert progress.next_offset() == 6


def test_no_order_of_finishing_commits_past_an_unfinished_record():
    rng = random.Random(7)
    for _ in range(50):
        progress, open_offsets = begun(*range(30)), set(range(30))
        for offset in rng.sample(range(30), 30):
            progress.finish(offset)
            open_offsets.remove(offset)
            assert progress.next_offset() == min(open_offsets, default=30)


def test_only_changed_offsets_are_to_be_committed():
    offsets = Offsets()
    for partition, offset in (("a", 0), ("a", 1), ("b", 7)):
        offsets.begin(partition, offset)
    assert offsets.unfinished() == 3
    offsets.finish("a", 0)

    assert offsets.to_commit() == {"a": 1, "b": 7}
    assert offsets.to_commit() == {}
    offsets.finish("b", 7)
    assert offsets.to_commit() == {"b": 8}
    assert offsets.unfinished() == 1
