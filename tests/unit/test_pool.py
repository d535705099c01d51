"""The threads that serve: as many as are needed, and each job done once."""

import threading

from gateway.pool import Pool
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
        eventually(lambda: pool._unfinished == 0)

    assert len(done) == 5
    assert len(pool._threads) == 1
    pool.shutdown()


def test_no_more_threads_than_its_size_and_the_other_jobs_wait():
    busy, go_on = threading.Semaphore(0), threading.Event()
    done: list[int] = []

    def work(job: int) -> None:
        busy.release()
        assert go_on.wait(10)
        done.append(job)

    pool = Pool(SIZE, work)
    for job in range(SIZE + 2):
        pool.submit(job)
    for _ in range(SIZE):
        assert busy.acquire(timeout=10)

    assert len(pool._threads) == SIZE
    assert not busy.acquire(timeout=0.05)
    go_on.set()
    pool.shutdown()
    assert sorted(done) == list(range(SIZE + 2))


def test_a_shutdown_that_does_not_wait_lets_the_jobs_end():
    go_on, done = threading.Event(), threading.Event()

    def work(job: object) -> None:
        assert go_on.wait(10)
        done.set()

    pool = Pool(SIZE, work)
    pool.submit(object())
    pool.shutdown(wait=False)

    assert not done.is_set()
    go_on.set()
    assert done.wait(10)
    eventually(lambda: not any(thread.is_alive() for thread in pool._threads))
