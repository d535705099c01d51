"""The thread pool: as few threads as the load needs, and each job done once."""

import threading

import pytest

from gateway.server.threads import Pool
from tests.fakes import eventually

SIZE = 3


def test_each_job_is_done_once():
    done: list[int] = []
    pool = Pool(SIZE, done.append)

    for job in range(100):
        pool.submit(job)
    pool.shutdown()

    assert sorted(done) == list(range(100))


def test_a_thread_is_started_only_when_all_others_are_busy():
    done: list[int] = []
    pool = Pool(SIZE, done.append)
    for job in range(5):
        pool.submit(job)
        eventually(lambda: len(pool._idle) == 1)

    assert len(done) == 5
    assert len(pool._threads) == 1
    pool.shutdown()


def test_the_thread_that_was_busy_last_gets_the_next_job():
    proceed = {job: threading.Event() for job in range(SIZE)}
    by: dict[int, str] = {}

    def work(job: int) -> None:
        by[job] = threading.current_thread().name
        assert proceed[job % SIZE].wait(10)

    pool = Pool(SIZE, work)
    for job in range(SIZE):
        pool.submit(job)
    # They end in the order of their jobs.
    idle = [0]

    def one_more_is_idle() -> bool:
        return len(pool._idle) > idle[0]

    for job in range(SIZE):
        proceed[job].set()
        eventually(one_more_is_idle)
        idle[0] += 1
    for job in range(SIZE, SIZE + 4):
        pool.submit(job)
        eventually(lambda: len(pool._idle) == SIZE)
    pool.shutdown()

    assert {by[job] for job in range(SIZE, SIZE + 4)} == {by[SIZE - 1]}


def test_idle_threads_end_at_shutdown():
    done: list[int] = []
    pool = Pool(SIZE, done.append)
    pool.submit(1)
    eventually(lambda: len(pool._idle) == 1)

    pool.shutdown(wait=False)

    eventually(lambda: not any(thread.is_alive() for thread in pool._threads))
    assert done == [1]


def test_jobs_beyond_the_size_are_queued():
    busy, proceed = threading.Semaphore(0), threading.Event()
    done: list[int] = []

    def work(job: int) -> None:
        busy.release()
        assert proceed.wait(10)
        done.append(job)

    pool = Pool(SIZE, work)
    for job in range(SIZE + 2):
        pool.submit(job)
    for _ in range(SIZE):
        assert busy.acquire(timeout=10)

    assert len(pool._threads) == SIZE
    assert not busy.acquire(timeout=0.05)
    proceed.set()
    pool.shutdown()
    assert sorted(done) == list(range(SIZE + 2))


def test_a_shutdown_without_waiting_lets_the_jobs_finish():
    proceed, done = threading.Event(), threading.Event()

    def work(job: object) -> None:
        assert proceed.wait(10)
        done.set()

    pool = Pool(SIZE, work)
    pool.submit(object())
    pool.shutdown(wait=False)

    assert not done.is_set()
    proceed.set()
    assert done.wait(10)
    eventually(lambda: not any(thread.is_alive() for thread in pool._threads))


@pytest.mark.parametrize("error", [ValueError(), SystemExit(1), KeyboardInterrupt()])
def test_a_thread_survives_an_exception_of_its_job(error, caplog):
    done = threading.Event()

    def work(job):
        if job == "fails":
            raise error
        done.set()

    pool = Pool(1, work)
    for job in ("fails", "fails", "works"):
        pool.submit(job)

    assert done.wait(10)
    assert caplog.messages == ["a job of server-0 failed"] * 2
    pool.shutdown()
