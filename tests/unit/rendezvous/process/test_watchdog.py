"""The watchdog ends a process whose loop hangs, and no other."""

import threading

import pytest

from rendezvous.process.watchdog import EXIT_CODE, LOOKS, Watchdog
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


def test_a_loop_that_no_longer_turns_ends_the_process(watchdog, ended, caplog):
    watchdog.start()
    eventually(lambda: ended)

    assert ended == [EXIT_CODE]
    assert EXIT_CODE != 0
    assert "the loop of the test has not turned for 0.05 s" in caplog.text


def test_the_process_is_ended_once(watchdog, ended):
    watchdog.start()
    eventually(lambda: ended and not watchers())

    assert ended == [EXIT_CODE]


def test_it_takes_ten_looks_in_a_row_without_a_beat(watchdog):
    silent = [watchdog._is_silent() for _ in range(LOOKS - 1)]
    watchdog.beat()
    silent += [watchdog._is_silent() for _ in range(LOOKS)]

    assert not any(silent)
    assert watchdog._is_silent()


def test_a_watchdog_that_was_stopped_ends_nothing(ended):
    watchdog = Watchdog("the loop of the test", limit_s=0.5, end=ended.append)
    watchdog.start()
    watchdog.stop()
    eventually(lambda: not watchers())

    assert ended == []


def test_however_often_it_is_started_one_stop_ends_it(ended):
    watchdog = Watchdog("the loop of the test", limit_s=0.5, end=ended.append)
    watchdog.start()
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
