"""The plan of the looks while hints come; without hints it is tested with the mailbox."""

import time

import pytest

from gateway.exchange.poll_schedule import (
    FEW_HINTED,
    HINT_GRACE_S,
    MANY_WAITERS,
    MAX_PAUSE_S,
    MIN_PAUSE_S,
    PAUSE_OF_MANY,
    TRIAL_S,
    PollSchedule,
)
from gateway.exchange.reply_times import MARGIN, UNSEEN
from gateway.exchange.waiter import Waiter

USUAL_S = 0.02


def waiting(count: int = 1) -> list[Waiter]:
    return [Waiter(str(number), "echo") for number in range(count)]


@pytest.fixture
def looks() -> PollSchedule:
    looks = PollSchedule()
    looks.times.note("echo", USUAL_S)
    looks.are_hinted = True
    return looks


def test_who_is_hinted_is_looked_for_only_when_the_hint_is_overdue(looks: PollSchedule):
    (waiter,) = waiting()

    assert looks.next_s([waiter]) - waiter.since_s == pytest.approx(USUAL_S + HINT_GRACE_S)
    assert looks.notified_within_s(waiter, 1) == pytest.approx(USUAL_S + HINT_GRACE_S)


def test_after_that_looks_are_rarer_than_without_hints(looks: PollSchedule):
    (waiter,) = waiting()
    looks.looked_s = waiter.since_s + USUAL_S + 2 * HINT_GRACE_S

    assert looks.next_s([waiter]) - looks.looked_s == pytest.approx(HINT_GRACE_S)
    looks.are_hinted = False
    assert looks.next_s([waiter]) - looks.looked_s < HINT_GRACE_S


def test_a_slow_reply_is_still_looked_for_now_and_then(looks: PollSchedule):
    (waiter,) = waiting()
    looks.times.note("echo", 1_000.0)
    for _ in range(300):
        looks.times.note("echo", 1_000.0)
    looks.looked_s = waiter.since_s + 1

    assert looks.next_s([waiter]) - looks.looked_s == pytest.approx(MAX_PAUSE_S)


def test_without_hints_nobody_counts_on_them(looks: PollSchedule):
    looks.are_hinted = False
    (waiter,) = waiting()

    assert looks.notified_within_s(waiter, 1) == 0
    assert looks.next_s([waiter]) - waiter.since_s == pytest.approx(TRIAL_S)
    assert looks.next_s([waiter, waiter]) - waiter.since_s == pytest.approx(USUAL_S * MARGIN)
    looks.looked_s = time.monotonic()
    assert looks.next_s([waiter]) - looks.looked_s >= MIN_PAUSE_S


def test_among_many_hints_count_for_nothing(looks: PollSchedule):
    many = waiting(MANY_WAITERS)
    looks.looked_s = many[0].since_s + 10

    assert looks.notified_within_s(many[0], FEW_HINTED) > 0
    assert looks.notified_within_s(many[0], FEW_HINTED + 1) == 0
    assert looks.heeds_hints(MANY_WAITERS - 1)
    assert not looks.heeds_hints(MANY_WAITERS)
    assert looks.next_s(many) - looks.looked_s == pytest.approx(USUAL_S * PAUSE_OF_MANY)


def test_the_time_of_a_reply_that_was_hinted_is_known_and_not_guessed():
    for hinted, share in ((True, 1.0), (False, UNSEEN)):
        looks, (waiter,) = PollSchedule(), waiting()
        waiter.since_s -= 10
        looks.learn(waiter, hinted=hinted)
        assert looks.times.usual_s("echo") == pytest.approx(10 * share, rel=0.01)
