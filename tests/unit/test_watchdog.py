"""The watchdog ends a process whose loop hangs, and no other."""

import threading
import time

import pytest

from replies.watchdog import EXIT_CODE, Watchdog
from tests.fakes import eventually


@pytest.fixture
def ended():
    return []


def test_a_loop_that_no_longer_turns_ends_the_process(ended, caplog):
    watchdog = Watchdog("the loop of the test", limit_s=0.05, end=ended.append)
    watchdog.start()
    eventually(lambda: ended)
    watchdog.stop()

    assert ended == [EXIT_CODE]
    assert EXIT_CODE != 0
    assert "the loop of the test has not turned" in caplog.text


def test_a_loop_that_turns_is_left_alone(ended):
    # The clock is the test's, so that a slow machine cannot make the loop look silent.
    watchdog = Watchdog("the loop of the test", limit_s=0.2, end=ended.append)
    watchdog.start()
    turns_until_s = time.monotonic() + 0.5
    while time.monotonic() < turns_until_s:
        watchdog._last_s = time.monotonic() + 10  # a beat that even a stalled machine cannot miss
        threading.Event().wait(0.01)
    watchdog.stop()

    assert ended == []


def test_a_beat_is_a_sign_of_life(ended):
    watchdog = Watchdog("the loop of the test", end=ended.append)
    watchdog._last_s = 0.0
    watchdog.beat()

    assert time.monotonic() - watchdog._last_s < 10


def test_a_watchdog_that_was_stopped_ends_nothing(ended):
    watchdog = Watchdog("the loop of the test", limit_s=0.1, end=ended.append)
    watchdog.start()
    watchdog.stop()
    watchdog._last_s = 0.0
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "watchdog"])

    assert ended == []


def test_the_limit_counts_from_the_start(ended):
    watchdog = Watchdog("the loop of the test", limit_s=30, end=ended.append)
    watchdog._last_s = 0.0
    watchdog.start()
    watchdog.stop()

    assert time.monotonic() - watchdog._last_s < 10
