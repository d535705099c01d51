"""The watchdog ends a process whose loop hangs, and no other."""

import threading

import pytest

from rendezvous.process.watchdog import CHECKS, EXIT_CODE, Watchdog
from tests.fakes import eventually


@pytest.fixture
def ended():
    return []


@pytest.fixture
def watchdog(ended):
    found = Watchdog("the loop of the test", limit_s=0.05, end=ended.append)
    yield found
    found.stop()


def watchers():
    return [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_a_loop_that_hangs_ends_the_process(watchdog, ended, caplog):
    watchdog.start()
    eventually(lambda: ended)

    assert ended == [EXIT_CODE]
    assert EXIT_CODE != 0
    assert "the loop of the test has hung for 0.05 s" in caplog.text


def test_the_process_is_ended_once(watchdog, ended):
    watchdog.start()
    eventually(lambda: ended and not watchers())

    assert ended == [EXIT_CODE]


def test_a_loop_hangs_after_ten_checks_in_a_row_without_a_reset(watchdog):
    hangs = [watchdog._hangs() for _ in range(CHECKS - 1)]
    watchdog.reset()
    hangs += [watchdog._hangs() for _ in range(CHECKS)]

    assert not any(hangs)
    assert watchdog._hangs()


@pytest.mark.parametrize("starts", [1, 2])
def test_one_stop_stops_a_watchdog_that_was_started_once_or_twice(ended, starts):
    watchdog = Watchdog("the loop of the test", limit_s=0.5, end=ended.append)
    for _ in range(starts):
        watchdog.start()
    watchdog.stop()
    eventually(lambda: not watchers())

    assert ended == []


def test_it_can_be_started_again(watchdog, ended):
    watchdog.start()
    watchdog.stop()
    eventually(lambda: not watchers())
    watchdog.start()

    eventually(lambda: ended == [EXIT_CODE])
