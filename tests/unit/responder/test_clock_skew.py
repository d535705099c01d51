"""Clocks that differ are told from requests that come late."""

import pytest

from responder.clock_skew import CLOCK_TOLERANCE_MS, HOLDS_S, MIN_LATE, MIN_LATE_S, ClockSkew
from tests.fakes import FakeClock

HOUR_MS = 3_600_000


@pytest.fixture
def clock():
    return FakeClock(50.0)


@pytest.fixture
def watch(clock):
    return ClockSkew(clock)


def note(watch, clock, late_ms=HOUR_MS, times=MIN_LATE + 1, over_s=MIN_LATE_S + 1):
    for _ in range(times):
        watch.note(late_ms)
        clock.now_s += over_s / times


def test_nothing_is_known_at_first(watch):
    assert watch.ahead_s() is None


def test_when_all_that_is_fresh_is_late_our_clock_is_ahead(watch, clock, caplog):
    note(watch, clock, HOUR_MS + 700)
    note(watch, clock, HOUR_MS)

    assert watch.ahead_s() == 3_600
    assert caplog.text.count("this clock is 3601 s or more ahead of the gateways'") == 1


def test_few_are_no_proof(watch, clock):
    note(watch, clock, times=MIN_LATE - 1, over_s=MIN_LATE_S * 3)

    assert watch.ahead_s() is None


def test_many_at_once_are_none_either(watch, clock):
    note(watch, clock, times=50, over_s=MIN_LATE_S - 1)

    assert watch.ahead_s() is None


def test_one_that_comes_in_time_is_proof_of_the_contrary(watch, clock, caplog):
    caplog.set_level("INFO")
    note(watch, clock)
    watch.note(CLOCK_TOLERANCE_MS)

    assert watch.ahead_s() is None
    assert "come before their deadlines again" in caplog.text


def test_the_proof_begins_anew_after_one_in_time(watch, clock):
    note(watch, clock, times=MIN_LATE - 1)
    watch.note(-3_000)
    note(watch, clock, times=MIN_LATE - 1)

    assert watch.ahead_s() is None


def test_what_was_found_does_not_hold_for_ever(watch, clock):
    note(watch, clock)
    clock.now_s += HOLDS_S
    assert watch.ahead_s() is None
    watch.note(HOUR_MS)

    assert watch.ahead_s() is None
