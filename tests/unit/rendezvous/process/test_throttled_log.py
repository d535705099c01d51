"""Each kind of message is logged once per interval."""

import logging

import pytest

from rendezvous.process.throttled_log import ThrottledLog


@pytest.fixture
def clock(monkeypatch):
    now_s = [1_000.0]
    monkeypatch.setattr("rendezvous.process.throttled_log.time.monotonic", lambda: now_s[0])
    return now_s


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO)
    return ThrottledLog(logging.getLogger("throttled.test"), interval_s=1.0)


def test_one_message_per_interval_is_logged_with_the_number_of_the_others(log, clock, caplog):
    for number in range(5):
        log.warning("bad record %d", number)
    clock[0] += 1.5
    log.warning("bad record %d", 5)

    assert caplog.messages == ["bad record 0", "bad record 5", "last message repeated 4 times"]


def test_another_message_is_not_suppressed(log, clock, caplog):
    log.warning("bad record %d", 1)
    log.info("bad commit %d", 1)

    assert caplog.messages == ["bad record 1", "bad commit 1"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_messages_less_frequent_than_the_interval_are_all_logged(log, clock, caplog):
    for _ in range(3):
        log.warning("bad record")
        clock[0] += 2

    assert caplog.messages == ["bad record"] * 3
