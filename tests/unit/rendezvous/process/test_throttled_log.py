"""A log that strangers cannot fill."""

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
    return ThrottledLog(logging.getLogger("sparing.test"), pause_s=1.0)


def test_one_line_a_second_is_logged_and_how_many_were_not(log, clock, caplog):
    for number in range(5):
        log.warning("bad record %d", number)
    clock[0] += 1.5
    log.warning("bad record %d", 5)

    assert caplog.messages == ["bad record 0", "bad record 5", "4 more like the one before"]


def test_messages_of_another_kind_are_not_held_back(log, clock, caplog):
    log.warning("bad record %d", 1)
    log.info("bad commit %d", 1)

    assert caplog.messages == ["bad record 1", "bad commit 1"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_what_comes_rarely_is_always_logged(log, clock, caplog):
    for _ in range(3):
        log.warning("bad record")
        clock[0] += 2

    assert caplog.messages == ["bad record"] * 3
