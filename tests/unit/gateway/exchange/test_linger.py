"""How long records are gathered: the more wait, the longer, and not at all for a few."""

import pytest

from gateway.exchange.linger import FEW_WAITING, MAX_LINGER_MS, MAX_SHARE, linger_ms


@pytest.mark.parametrize("waiting", range(FEW_WAITING))
def test_a_few_are_not_held_up(waiting):
    assert linger_ms(waiting, 1.0) == 0


def test_the_more_wait_the_longer_up_to_a_share_of_what_a_reply_takes():
    lingers_ms = [linger_ms(waiting, 0.010) for waiting in range(FEW_WAITING, 300)]

    assert lingers_ms == sorted(lingers_ms)
    assert 0 < lingers_ms[0] < lingers_ms[-1] == pytest.approx(10 * MAX_SHARE)


def test_nobody_is_held_up_while_nothing_is_known_of_replies():
    assert linger_ms(300, 0.0) == 0


def test_however_slow_replies_are_there_is_a_limit():
    assert linger_ms(300, 60.0) == MAX_LINGER_MS
