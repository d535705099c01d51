"""The order and timing of delayed replies."""

import pytest

from tools.bench.programs.echo_responder import MIN_POLL_MS, POLL_MS, DelayedReplies


def test_replies_are_taken_in_order_of_their_due_time():
    delayed = DelayedReplies()
    delayed.add(2.0, "second")
    delayed.add(1.0, "first")
    delayed.add(2.0, "third")

    assert delayed.take(0.9) == []
    assert delayed.take(2.0) == ["first", "second", "third"]
    assert delayed.take(9.0) == []


def test_a_poll_ends_when_the_next_reply_is_due():
    delayed = DelayedReplies()
    assert delayed.poll_ms(0.0) == POLL_MS
    delayed.add(1.0, "reply")

    assert delayed.poll_ms(0.5) == POLL_MS
    assert delayed.poll_ms(0.998) == pytest.approx(2.0)
    assert delayed.poll_ms(1.5) == MIN_POLL_MS
