"""One-shot latch."""

from concurrent.futures import ThreadPoolExecutor

from gateway.exchange.waiting.latch import Latch


def test_waiting_for_a_latch_that_is_never_set_times_out():
    assert not Latch().wait(0.01)
    assert not Latch().wait(-1)


def test_a_latch_wakes_every_waiting_thread_and_stays_set():
    latch = Latch()
    with ThreadPoolExecutor(2) as threads:
        waits = [threads.submit(latch.wait, 10) for _ in range(2)]
        latch.set()

        assert [wait.result(5) for wait in waits] == [True, True]
    assert latch.wait(0)
