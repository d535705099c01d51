"""Poll schedule: learned latency, poll intervals, and what notifications change."""

import time

import pytest

from gateway.exchange.poll_schedule import (
    DUE_SHARE,
    FIRST_POLL_SHARE,
    INTERVAL_PER_AGE,
    INTERVAL_PER_LATENCY,
    MANY_WAITERS,
    MAX_INTERVAL_S,
    MAX_LINGER_MS,
    MAX_LINGER_SHARE,
    MAX_NOTIFIED_WAITERS,
    MIN_INTERVAL_S,
    MIN_LINGER_WAITERS,
    NOTIFICATION_GRACE_S,
    TRIAL_S,
    Latencies,
    PollSchedule,
)
from gateway.exchange.waiter import Waiter

LATENCY_S = 0.02


def waiters(count: int = 1, topic: str = "echo", age_s: float = 0.0) -> list[Waiter]:
    """Return waiters that have waited *age_s*."""
    found = [Waiter(str(number), topic) for number in range(count)]
    for waiter in found:
        waiter.since_s -= age_s
    return found


@pytest.fixture
def latencies() -> Latencies:
    return Latencies()


@pytest.fixture
def schedule() -> PollSchedule:
    """A schedule whose last poll ended just now."""
    schedule = PollSchedule()
    schedule.polled_s = time.monotonic()
    return schedule


@pytest.fixture
def notified() -> PollSchedule:
    """A schedule with notifications and a learned latency, which has not polled yet."""
    schedule = PollSchedule()
    schedule.latencies.record("echo", LATENCY_S)
    schedule.is_notified = True
    return schedule


# Learned latency


def test_the_latency_of_an_unknown_topic_is_zero(latencies: Latencies):
    latencies.record("orders", 1.0)

    assert latencies.of("echo") == 0


def test_the_first_reply_sets_the_latency(latencies: Latencies):
    latencies.record("echo", 0.5)

    assert latencies.of("echo") == pytest.approx(0.5)


def test_the_latency_follows_the_fast_replies(latencies: Latencies):
    for _ in range(200):
        for latency_s in (0.010, 0.100, 0.100, 0.100):
            latencies.record("echo", latency_s)

    assert 0.008 < latencies.of("echo") < 0.030


def test_one_faster_reply_lowers_the_latency_at_once(latencies: Latencies):
    latencies.record("echo", 1.0)
    latencies.record("echo", 0.01)

    assert latencies.of("echo") == pytest.approx(0.01)


def test_slower_replies_raise_the_latency_slowly(latencies: Latencies):
    latencies.record("echo", 0.01)
    for _ in range(200):
        latencies.record("echo", 1.0)

    assert latencies.of("echo") > 0.9


def test_replies_that_only_the_first_poll_sees_lower_the_latency_within_few_polls(
    latencies: Latencies,
):
    latencies.record("echo", 1.0)
    polls = 0
    while latencies.of("echo") > 0.006:
        latencies.record("echo", DUE_SHARE * latencies.of("echo"), at_first_poll=True)
        polls += 1

    assert polls < 8


@pytest.mark.parametrize(("is_notified", "share"), [(True, 1.0), (False, FIRST_POLL_SHARE)])
def test_a_notified_reply_is_measured_and_a_first_poll_is_estimated(is_notified, share):
    schedule, (waiter,) = PollSchedule(), waiters(age_s=10)

    schedule.record_reply(waiter, notified=is_notified)

    assert schedule.latencies.of("echo") == pytest.approx(10 * share, rel=0.01)


def test_nothing_is_learned_from_a_reply_of_an_unknown_topic():
    schedule, (waiter,) = PollSchedule(), waiters(topic="", age_s=10)

    schedule.record_reply(waiter, notified=True)

    assert schedule.latencies.of("") == 0


# Poll intervals without notifications


def test_intervals_are_short_enough_for_a_fast_responder():
    assert 0 < MIN_INTERVAL_S <= 0.005
    assert MIN_INTERVAL_S < MAX_INTERVAL_S <= 0.1


def test_the_interval_grows_with_the_age_of_the_request(schedule: PollSchedule):
    polled_s = schedule.polled_s
    for age_s, interval_s in ((0, MIN_INTERVAL_S), (0.4, 0.4 * INTERVAL_PER_AGE), (9, 0.05)):
        (old,) = waiters()
        old.since_s = polled_s - age_s
        assert schedule.next_poll_s([old]) - polled_s == pytest.approx(interval_s)

        (young,) = waiters()
        young.since_s = polled_s
        assert schedule.next_poll_s([old, young]) - polled_s == pytest.approx(MIN_INTERVAL_S)


def test_a_request_is_polled_for_when_its_reply_is_due(schedule: PollSchedule):
    schedule.latencies.record("echo", 0.025)
    (waiter,) = waiters()
    schedule.polled_s = waiter.since_s
    due_s = waiter.since_s + 0.025 * DUE_SHARE
    assert schedule.next_poll_s([waiter]) == pytest.approx(due_s)

    schedule.polled_s = due_s
    assert schedule.next_poll_s([waiter]) - due_s == pytest.approx(0.02 * INTERVAL_PER_AGE)


def test_new_waiters_do_not_postpone_the_poll_for_a_due_reply(schedule: PollSchedule):
    schedule.latencies.record("slow", 0.2)
    old, *new = waiters(4, "slow")
    assert schedule.next_poll_s([old, *new]) - schedule.polled_s == pytest.approx(
        MAX_INTERVAL_S, rel=0.01
    )

    old.since_s = schedule.polled_s - 0.2 * DUE_SHARE + 0.01
    assert schedule.next_poll_s([old, *new]) - schedule.polled_s == pytest.approx(0.01)


def test_a_lone_waiter_is_polled_for_once_before_its_reply_is_due(schedule: PollSchedule):
    schedule.latencies.record("slow", 0.2)
    (waiter,) = waiters(topic="slow")
    assert schedule.next_poll_s([waiter]) == pytest.approx(waiter.since_s + TRIAL_S)

    schedule.polled_s = waiter.since_s + TRIAL_S
    assert schedule.next_poll_s([waiter]) == pytest.approx(schedule.polled_s + MAX_INTERVAL_S)


def test_two_waiters_are_not_polled_for_before_a_reply_is_due(schedule: PollSchedule):
    schedule.latencies.record("slow", 0.2)
    schedule.polled_s -= 1
    two = waiters(2, "slow")

    assert schedule.next_poll_s(two) > two[0].since_s + TRIAL_S


def test_many_waiters_are_polled_for_before_a_reply_is_due(schedule: PollSchedule):
    schedule.latencies.record("slow", 0.2)
    few, many = waiters(MANY_WAITERS - 1, "slow"), waiters(MANY_WAITERS, "slow")
    schedule.polled_s = time.monotonic()

    assert schedule.next_poll_s(few) - schedule.polled_s == pytest.approx(MAX_INTERVAL_S)
    assert schedule.next_poll_s(many) - schedule.polled_s == pytest.approx(
        0.2 * INTERVAL_PER_LATENCY
    )


# Linger of the producer


@pytest.mark.parametrize(
    ("topics", "lowest_ms"), [(["slow", ""], 16), (["slow", "", "fast"], 8), ([""], 0)]
)
def test_the_linger_is_a_share_of_the_lowest_latency_of_the_waiters(
    schedule: PollSchedule, topics: list[str], lowest_ms: float
):
    for topic, latency_s in (("fast", 0.008), ("slow", 0.016), ("unused", 0.001)):
        schedule.latencies.record(topic, latency_s)
    schedule.next_poll_s([Waiter(topic, topic) for topic in topics])

    assert schedule.linger_ms(30) == pytest.approx(lowest_ms * MAX_LINGER_SHARE)


def lingers_ms(schedule: PollSchedule, latency_s: float) -> list[float]:
    """Return the linger for 0 to 299 waiters whose replies take *latency_s*."""
    schedule.latencies.record("echo", latency_s)
    schedule.next_poll_s(waiters())
    return [schedule.linger_ms(waiting) for waiting in range(300)]


def test_the_linger_grows_with_the_number_of_waiters_up_to_a_share_of_the_latency(
    schedule: PollSchedule,
):
    found_ms = lingers_ms(schedule, 0.010)

    assert found_ms[:MIN_LINGER_WAITERS] == [0.0] * MIN_LINGER_WAITERS
    assert found_ms == sorted(found_ms)
    assert 0 < found_ms[MIN_LINGER_WAITERS] < found_ms[-1] == pytest.approx(10 * MAX_LINGER_SHARE)


def test_the_linger_has_a_maximum(schedule: PollSchedule):
    assert lingers_ms(schedule, 60.0)[-1] == MAX_LINGER_MS


# With notifications


def test_a_notified_waiter_is_polled_for_when_its_notification_is_overdue(notified: PollSchedule):
    (waiter,) = waiters()
    overdue_s = LATENCY_S + NOTIFICATION_GRACE_S

    assert notified.next_poll_s([waiter]) - waiter.since_s == pytest.approx(overdue_s)
    assert notified.notified_within_s(waiter, 1) == pytest.approx(overdue_s)


def test_intervals_are_longer_with_notifications(notified: PollSchedule):
    (waiter,) = waiters()
    notified.polled_s = waiter.since_s + LATENCY_S + 2 * NOTIFICATION_GRACE_S

    assert notified.next_poll_s([waiter]) - notified.polled_s == pytest.approx(NOTIFICATION_GRACE_S)
    notified.is_notified = False
    assert notified.next_poll_s([waiter]) - notified.polled_s < NOTIFICATION_GRACE_S


def test_a_slow_reply_is_polled_for_even_with_notifications(notified: PollSchedule):
    for _ in range(300):
        notified.latencies.record("echo", 1_000.0)
    (waiter,) = waiters()
    notified.polled_s = waiter.since_s + 1

    assert notified.next_poll_s([waiter]) - notified.polled_s == pytest.approx(MAX_INTERVAL_S)


def test_without_notifications_no_waiter_relies_on_them(notified: PollSchedule):
    notified.is_notified = False
    (waiter,) = waiters()

    assert notified.notified_within_s(waiter, 1) == 0
    assert notified.next_poll_s([waiter]) - waiter.since_s == pytest.approx(TRIAL_S)
    due_s = LATENCY_S * DUE_SHARE
    assert notified.next_poll_s([waiter, waiter]) - waiter.since_s == pytest.approx(due_s)


def test_many_waiters_do_not_rely_on_notifications(notified: PollSchedule):
    many = waiters(MANY_WAITERS)
    notified.polled_s = many[0].since_s + 10

    assert notified.notified_within_s(many[0], MAX_NOTIFIED_WAITERS) > 0
    assert notified.notified_within_s(many[0], MAX_NOTIFIED_WAITERS + 1) == 0
    assert notified.uses_notifications(MANY_WAITERS - 1)
    assert not notified.uses_notifications(MANY_WAITERS)
    interval_s = LATENCY_S * INTERVAL_PER_LATENCY
    assert notified.next_poll_s(many) - notified.polled_s == pytest.approx(interval_s)
