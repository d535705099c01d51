"""KeyedExecutor: tasks with different keys run concurrently, those with the same key in order."""

import threading
import time
from functools import partial

import pytest

from responder.keyed_executor import KeyedExecutor
from tests.fakes import eventually


@pytest.fixture
def executor():
    executor = KeyedExecutor(4)
    yield executor
    executor.close()


def test_tasks_with_the_same_key_run_in_order(executor):
    done: dict[str, list[int]] = {"a": [], "b": []}
    for number in range(200):
        for key in done:
            executor.submit(key, partial(done[key].append, number))
    eventually(lambda: all(len(numbers) == 200 for numbers in done.values()))

    assert done["a"] == done["b"] == list(range(200))


def test_tasks_with_the_same_key_never_overlap(executor):
    running, overlaps, done = [], [], []

    def task():
        running.append(1)
        time.sleep(0.0005)  # lets another thread run
        if len(running) > 1:
            overlaps.append(1)
        running.pop()
        done.append(1)

    for _ in range(200):
        executor.submit("a", task)
    eventually(lambda: len(done) == 200)

    assert overlaps == []


def test_tasks_with_different_keys_run_concurrently(executor):
    # No task ends before all of them have begun.
    all_begun, done = threading.Barrier(4), []

    def task():
        all_begun.wait(10)
        done.append(1)

    for key in range(4):
        executor.submit(key, task)

    eventually(lambda: len(done) == 4)


def test_a_slow_key_delays_no_other_key(executor):
    proceed = threading.Event()
    done: list[object] = []

    def slow(number):
        proceed.wait(10)
        done.append(number)

    for number in range(3):
        executor.submit("slow", partial(slow, number))
    executor.submit("fast", lambda: done.append("fast"))
    eventually(lambda: done == ["fast"])
    proceed.set()

    eventually(lambda: done == ["fast", 0, 1, 2])


def test_a_busy_key_shares_a_single_thread_with_others():
    executor, proceed = KeyedExecutor(1), threading.Event()
    done: list[object] = []

    def busy(number):
        proceed.wait(10)
        done.append(number)

    for number in range(5):
        executor.submit("busy", partial(busy, number))
    executor.submit("other", lambda: done.append("other"))
    proceed.set()
    eventually(lambda: len(done) == 6)
    executor.close()

    assert done.index("other") == 1


def test_closing_waits_for_running_tasks_and_drops_the_others():
    executor, begun, proceed, done = KeyedExecutor(1), threading.Event(), threading.Event(), []

    def first():
        begun.set()
        proceed.wait(10)
        done.append("first")

    executor.submit("a", first)
    executor.submit("a", lambda: done.append("same key"))
    executor.submit("b", lambda: done.append("other key"))
    begun.wait(10)
    closing = threading.Thread(target=executor.close)
    closing.start()
    eventually(lambda: executor._pool._shutdown)
    proceed.set()
    closing.join(10)

    assert done == ["first"]
