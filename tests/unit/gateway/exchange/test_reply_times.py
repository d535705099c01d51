"""When a reply is due: soon after the first, and never so late that a change goes unnoticed."""

import pytest

from gateway.exchange.reply_times import MARGIN, ReplyTimes


@pytest.fixture
def times():
    return ReplyTimes()


def test_nothing_is_known_of_what_was_never_seen(times):
    times.note("orders", 1.0)

    assert times.earliest_s("echo") == 0


def test_the_first_reply_tells_when_the_next_one_is_due(times):
    times.note("echo", 0.5)

    assert times.earliest_s("echo") == pytest.approx(MARGIN * 0.5)


def test_what_is_due_is_learnt_from_the_fast_ones(times):
    for _ in range(200):
        for took_s in (0.010, 0.100, 0.100, 0.100):
            times.note("echo", took_s)

    assert 0.008 * MARGIN < times.earliest_s("echo") < 0.030


def test_replies_that_become_faster_are_found_although_nobody_looks_sooner(times):
    times.note("echo", 1.0)
    looks = 0
    # Whoever comes at the earliest moment finds a reply that has been there for long.
    while times.earliest_s("echo") > 0.005:
        times.note("echo", times.earliest_s("echo"), at_first_look=True)
        looks += 1

    assert looks < 8


def test_one_fast_reply_is_enough(times):
    times.note("echo", 1.0)
    times.note("echo", 0.01)

    assert times.earliest_s("echo") == pytest.approx(MARGIN * 0.01)


def test_replies_that_become_slower_are_waited_for(times):
    times.note("echo", 0.01)
    for _ in range(200):
        times.note("echo", 1.0)

    assert times.earliest_s("echo") > 0.7
