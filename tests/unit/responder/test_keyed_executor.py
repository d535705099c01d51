"""KeyedExecutor: tasks with different keys run concurrently, those with the same key in order."""

import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest

from responder.keyed_executor import KeyedExecutor, Later
from tests.fakes import Panic, eventually, raising


def started(threads):
    executor = KeyedExecutor(threads)
    executor.start()
    return executor


@pytest.fixture
def executor():
    executor = started(4)
    yield executor
    executor.close()


def test_tasks_with_the_same_key_run_in_order(executor):
    done: dict[str, list[int]] = {"a": [], "b": []}
    for number in range(200):
        executor.submit_all((key, partial(done[key].append, number)) for key in done)
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

    executor.submit_all([("a", task)] * 200)
    eventually(lambda: len(done) == 200)

    assert overlaps == []


def test_tasks_with_different_keys_run_concurrently(executor):
    # No task ends before all of them have begun.
    all_begun, done = threading.Barrier(4), []

    def task():
        all_begun.wait(10)
        done.append(1)

    executor.submit_all((key, task) for key in range(4))

    eventually(lambda: len(done) == 4)


def test_a_slow_key_delays_no_other_key(executor):
    proceed = threading.Event()
    done: list[object] = []

    def slow(number):
        proceed.wait(10)
        done.append(number)

    executor.submit_all(("slow", partial(slow, number)) for number in range(3))
    executor.submit_all([("fast", lambda: done.append("fast"))])
    eventually(lambda: done == ["fast"])
    proceed.set()

    eventually(lambda: done == ["fast", 0, 1, 2])


def test_a_busy_key_shares_a_single_thread_with_others():
    executor, proceed = started(1), threading.Event()
    done: list[object] = []

    def busy(number):
        proceed.wait(10)
        done.append(number)

    executor.submit_all(("busy", partial(busy, number)) for number in range(5))
    executor.submit_all([("other", lambda: done.append("other"))])
    proceed.set()
    eventually(lambda: len(done) == 6)
    executor.close()

    assert done.index("other") == 1


def test_closing_waits_for_running_tasks_and_drops_the_others():
    executor, begun, proceed, done = started(1), threading.Event(), threading.Event(), []

    def first():
        begun.set()
        proceed.wait(10)
        done.append("first")

    executor.submit_all(
        [
            ("a", first),
            ("a", lambda: done.append("same key")),
            ("b", lambda: done.append("other key")),
        ]
    )
    begun.wait(10)
    closing = threading.Thread(target=executor.close)
    closing.start()
    eventually(lambda: executor._closed)
    proceed.set()
    closing.join(10)

    assert done == ["first"]


def test_closing_says_whether_all_tasks_have_ended_and_can_be_repeated():
    executor, begun, proceed = started(2), threading.Event(), threading.Event()

    def task():
        begun.set()
        proceed.wait(10)

    executor.submit_all([("a", task), ("b", lambda: None)])
    assert begun.wait(10)
    before = executor.close(timeout_s=0.01)
    proceed.set()

    assert (before, executor.close(timeout_s=1), executor.close()) == (False, True, True)


def test_tasks_that_come_after_closing_are_dropped_and_get_no_thread(monkeypatch):
    executor, done = started(2), list[int]()
    executor.close()
    with no_thread_left(monkeypatch):
        executor.submit_all([("a", partial(done.append, 1))])

    assert executor.close()
    assert done == []


def test_tasks_without_a_key_run_concurrently(executor):
    all_begun, done = threading.Barrier(4), []

    def task():
        all_begun.wait(10)
        done.append(1)

    executor.submit_all([(None, task)] * 4)

    eventually(lambda: len(done) == 4)


def test_tasks_that_come_while_threads_are_idle_run_concurrently_too(executor):
    first: list[int] = []
    executor.submit_all([(None, partial(first.append, 1))] * 4)
    eventually(lambda: executor._idle == len(executor._threads))
    all_begun, done = threading.Barrier(4), []

    def task():
        all_begun.wait(10)
        done.append(1)

    executor.submit_all((key, task) for key in range(4))

    eventually(lambda: len(done) == 4)


def test_no_more_threads_exist_than_allowed_or_than_there_were_tasks_at_once():
    executor, proceed = started(4), threading.Event()
    executor.submit_all([("only", lambda: None)])
    threads_for_one = len(executor._threads)
    running: list[int] = []

    def task():
        running.append(1)
        proceed.wait(10)

    executor.submit_all((key, task) for key in range(20))
    eventually(lambda: len(running) >= 4)
    threads_for_many = len(executor._threads)
    proceed.set()
    executor.close()

    assert (threads_for_one, threads_for_many) == (1, 4)


@contextmanager
def no_thread_left(monkeypatch):
    """Let the start of any thread fail."""
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
        yield


def test_a_first_thread_that_cannot_be_started_is_started_for_the_next_task(executor, monkeypatch):
    done: list[int] = []
    with no_thread_left(monkeypatch), pytest.raises(RuntimeError):
        executor.submit_all([(None, partial(done.append, 1))])

    executor.submit_all([(None, partial(done.append, 2))])

    eventually(lambda: done == [1, 2])


def test_tasks_share_the_threads_that_run_if_no_other_can_be_started(executor, monkeypatch, caplog):
    busy, done = threading.Event(), []
    executor.submit_all([("busy", partial(busy.wait, 10))])
    with no_thread_left(monkeypatch):
        executor.submit_all([("other", lambda: done.append(1))])
    busy.set()
    eventually(lambda: done == [1])

    assert "can't start new thread: 1 of 4 handler threads run" in caplog.text


def test_tasks_are_postponed_also_while_no_thread_can_be_started(executor, monkeypatch):
    begun, proceed, done = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        proceed.wait(10)
        return Later(0.01, lambda: done.append("again"))

    executor.submit_all([("a", first), ("a", lambda: done.append("behind"))])
    assert begun.wait(10)
    with no_thread_left(monkeypatch):
        proceed.set()
        eventually(lambda: done == ["again", "behind"], within_s=1)


def test_a_postponed_task_that_gets_no_thread_of_its_own_delays_no_later_one(executor, monkeypatch):
    busy, done = threading.Event(), []
    executor.submit_all([("a", lambda: Later(0.1, lambda: done.append("first")))])
    eventually(lambda: executor._later and executor._idle == 1)
    executor.submit_all([("busy", partial(busy.wait, 10))])  # takes the only thread
    with no_thread_left(monkeypatch):
        eventually(lambda: not executor._later)
    busy.set()
    eventually(lambda: done == ["first"])
    executor.submit_all([("b", lambda: Later(0.01, lambda: done.append("second")))])

    eventually(lambda: done == ["first", "second"], within_s=1)


def test_a_pause_of_centuries_delays_no_other_task(executor):
    done = []
    executor.submit_all([("a", lambda: Later(1e10, lambda: done.append("in centuries")))])
    eventually(lambda: executor._later)
    executor.submit_all([("b", lambda: Later(0.01, lambda: done.append("soon")))])

    eventually(lambda: done == ["soon"], within_s=1)


@pytest.mark.parametrize("error", [RuntimeError("a fault"), Panic("a fault")])
def test_a_task_that_raises_blocks_neither_its_key_nor_its_thread(error, caplog):
    executor, done = started(1), []

    executor.submit_all([("a", raising(error)), ("a", lambda: done.append("behind"))])
    eventually(lambda: done == ["behind"])
    executor.close()

    assert "a fault" in caplog.text


def test_a_postponed_task_is_followed_after_its_pause_before_those_behind_it(executor):
    done: list[str] = []

    def first():
        done.append("first")
        return Later(0.1, partial(done.append, "again"))

    executor.submit_all([("a", first), ("a", partial(done.append, "behind"))])
    executor.submit_all(
        [("b", partial(done.append, "other")), (None, partial(done.append, "none"))]
    )
    eventually(lambda: len(done) == 5)

    assert done[-2:] == ["again", "behind"]


def test_postponed_tasks_begin_when_they_are_due_although_the_only_thread_was_busy(executor):
    begun_s: dict[str, float] = {}
    started_s = time.monotonic()

    def begin(name):
        begun_s[name] = time.monotonic() - started_s

    executor.submit_all([("a", lambda: Later(0.2, partial(begin, "late")))])
    executor.submit_all([("b", lambda: Later(0.1, partial(begin, "early")))])
    is_over = threading.Event()
    executor.submit_all([("c", partial(is_over.wait, 30))])
    try:
        eventually(lambda: len(begun_s) == 2)
    finally:
        is_over.set()

    assert list(begun_s) == ["early", "late"]
    assert begun_s["early"] >= 0.1
    assert begun_s["late"] >= 0.2


def test_a_postponed_task_is_dropped_by_close():
    executor, done = started(2), list[int]()
    begun = threading.Event()

    def task():
        begun.set()
        return Later(30, partial(done.append, 1))

    executor.submit_all([("a", task)])
    assert begun.wait(10)
    started_s = time.monotonic()
    executor.close()

    assert time.monotonic() - started_s < 1
    assert done == []
