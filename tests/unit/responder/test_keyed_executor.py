"""Lanes: side by side across keys, one after the other within a key."""

import threading
from functools import partial

import pytest

from responder.keyed_executor import KeyedExecutor
from tests.fakes import eventually


@pytest.fixture
def lanes():
    found = KeyedExecutor(4)
    yield found
    found.close()


def test_tasks_with_the_same_key_run_in_order(lanes):
    done: dict[str, list[int]] = {"a": [], "b": []}
    for number in range(200):
        for key in done:
            lanes.submit(key, partial(done[key].append, number))
    eventually(lambda: all(len(numbers) == 200 for numbers in done.values()))

    assert done["a"] == done["b"] == list(range(200))


def test_tasks_with_the_same_key_never_overlap(lanes):
    running, overlaps, done = [], [], []

    def task():
        running.append(1)
        if len(running) > 1:
            overlaps.append(1)
        running.pop()
        done.append(1)

    for _ in range(200):
        lanes.submit("a", task)
    eventually(lambda: len(done) == 200)

    assert overlaps == []


def test_tasks_with_other_keys_run_side_by_side(lanes):
    # None of them can end before all of them have begun.
    meeting, met = threading.Barrier(4), []

    def task():
        meeting.wait(10)
        met.append(1)

    for key in range(4):
        lanes.submit(key, task)

    eventually(lambda: len(met) == 4)


def test_a_slow_key_holds_up_only_itself(lanes):
    go_on = threading.Event()
    done: list[object] = []

    def slow(number):
        go_on.wait(10)
        done.append(number)

    for number in range(3):
        lanes.submit("slow", partial(slow, number))
    lanes.submit("fast", lambda: done.append("fast"))
    eventually(lambda: done == ["fast"])
    go_on.set()

    eventually(lambda: done == ["fast", 0, 1, 2])


def test_a_busy_key_does_not_keep_others_from_the_only_thread():
    lanes, go_on = KeyedExecutor(1), threading.Event()
    done: list[object] = []

    def busy(number):
        go_on.wait(10)
        done.append(number)

    for number in range(5):
        lanes.submit("busy", partial(busy, number))
    lanes.submit("other", lambda: done.append("other"))
    go_on.set()
    eventually(lambda: len(done) == 6)
    lanes.close()

    assert done.index("other") == 1


def test_closing_waits_for_what_has_begun_and_drops_the_rest():
    lanes, begun, go_on, done = KeyedExecutor(1), threading.Event(), threading.Event(), []

    def first():
        begun.set()
        go_on.wait(10)
        done.append("first")

    lanes.submit("a", first)
    lanes.submit("a", lambda: done.append("same key"))
    lanes.submit("b", lambda: done.append("other key"))
    begun.wait(10)
    closing = threading.Thread(target=lanes.close)
    closing.start()
    eventually(lambda: lanes._pool._shutdown)
    go_on.set()
    closing.join(10)

    assert done == ["first"]
