"""ClockSkew: distinguishes a clock that is ahead from requests that come late."""

import pytest

from responder.clock_skew import CLOCK_TOLERANCE_MS, MAX_LATE_AGE_S, MIN_LATE, MIN_LATE_S, ClockSkew
from tests.fakes import FakeClock

HOUR_MS = 3_600_000


@pytest.fixture
def clock():
    return FakeClock(50.0)


@pytest.fixture
def skew(clock):
    return ClockSkew(clock)


def note(skew, clock, late_ms=HOUR_MS, times=MIN_LATE + 1, over_s=MIN_LATE_S + 1):
    for _ in range(times):
        skew.note(late_ms)
        clock.now_s += over_s / times


def test_without_requests_no_skew_is_known(skew):
    assert skew.ahead_s() is None


def test_if_all_fresh_requests_are_late_our_clock_is_ahead(skew, clock, caplog):
    note(skew, clock, HOUR_MS + 700)
    note(skew, clock, HOUR_MS)

    assert skew.ahead_s() == 3_600
    assert caplog.text.count("this clock is 3601 s or more ahead of the gateways'") == 1


def test_too_few_late_requests_do_not_indicate_clock_skew(skew, clock):
    note(skew, clock, times=MIN_LATE - 1, over_s=MIN_LATE_S * 3)

    assert skew.ahead_s() is None


def test_late_requests_at_the_same_time_do_not_indicate_clock_skew(skew, clock):
    note(skew, clock, times=50, over_s=MIN_LATE_S - 1)

    assert skew.ahead_s() is None


def test_one_request_in_time_ends_the_skew(skew, clock, caplog):
    caplog.set_level("INFO")
    note(skew, clock)
    skew.note(CLOCK_TOLERANCE_MS)

    assert skew.ahead_s() is None
    assert "arrive before their deadlines again" in caplog.text


def test_counting_starts_again_after_a_request_in_time(skew, clock):
    note(skew, clock, times=MIN_LATE - 1)
    skew.note(-3_000)
    note(skew, clock, times=MIN_LATE - 1)

    assert skew.ahead_s() is None


def test_the_skew_is_forgotten_without_late_requests(skew, clock):
    note(skew, clock)
    clock.now_s += MAX_LATE_AGE_S
    assert skew.ahead_s() is None
    skew.note(HOUR_MS)

    assert skew.ahead_s() is None
