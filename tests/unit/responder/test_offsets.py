"""Only the contiguous finished prefix of a partition can be committed."""

import random
import threading

from responder.offsets import Offsets
from tests.fakes import eventually, record_calls


class Partition:
    """One partition of Offsets, and the last offset that was to be committed."""

    def __init__(self, *begun):
        self._offsets = Offsets()
        self._next = {}
        self._offsets.begin("p", begun)

    def finish(self, *offsets):
        """Finish the records at *offsets*, and return the offset that can be committed then."""
        for offset in offsets:
            self._offsets.finish("p", offset)
        self._next |= self._offsets.to_commit()
        self._offsets.note_committed(self._next)
        return self._next["p"]


def test_no_offset_past_an_unfinished_record_can_be_committed():
    partition = Partition(5, 6, 7)

    assert partition.finish(7, 6) == 5
    assert partition.finish(5) == 8


def test_offset_gaps_do_not_prevent_commits():
    partition = Partition(5, 9, 20)

    assert partition.finish(5, 9) == 20
    assert partition.finish(20) == 21


def test_finishing_twice_changes_nothing():
    assert Partition(5, 6).finish(5, 5) == 6


def test_no_order_of_finishing_commits_past_an_unfinished_record():
    rng = random.Random(7)
    for _ in range(50):
        partition, unfinished = Partition(*range(30)), set(range(30))
        for offset in rng.sample(range(30), 30):
            unfinished.remove(offset)
            assert partition.finish(offset) == min(unfinished, default=30)


def test_offsets_are_to_be_committed_until_they_are():
    offsets = Offsets()
    offsets.begin("a", [0, 1])
    offsets.begin("b", [7])
    assert offsets.wait_for_room(4, 0)
    assert not offsets.wait_for_room(3, 0)
    offsets.finish("a", 0)

    assert offsets.to_commit() == {"a": 1, "b": 7}
    offsets.note_committed({"a": 1})
    assert offsets.to_commit() == {"b": 7}
    offsets.note_committed({"b": 7})
    assert offsets.to_commit() == {}
    offsets.finish("b", 7)
    assert offsets.to_commit() == {"b": 8}
    assert offsets.wait_for_room(2, 0)
    assert not offsets.wait_for_room(1, 0)


def test_a_record_that_is_delivered_again_while_unfinished_counts_once():
    offsets = Offsets()
    for _ in range(2):
        offsets.begin("a", [0])

    assert offsets.wait_for_room(2, 0)
    offsets.finish("a", 0)
    offsets.finish("a", 0)
    assert offsets.wait_for_room(1, 0)
    assert not offsets.wait_for_room(0, 0)


def test_a_wait_for_room_ends_with_the_record_that_makes_room(monkeypatch):
    offsets, ends = Offsets(), []
    offsets.begin("a", range(100))
    waiting = threading.Thread(target=lambda: ends.append(offsets.wait_for_room(10, 30)))
    waiting.start()
    eventually(lambda: offsets._awaited)
    notified = record_calls(monkeypatch, offsets._lock, "notify_all")
    for offset in range(90):
        offsets.finish("a", offset)
    still_waiting = waiting.is_alive() and not notified
    for offset in range(90, 100):
        offsets.finish("a", offset)
    waiting.join(10)

    assert still_waiting
    assert ends == [True]
    # Waking for each record would have the waiting thread take turns with the handlers.
    assert len(notified) == 1
