"""How long records are gathered: the more wait, the longer, and not at all for a few."""

import pytest

from gateway.gathering import FEW_WAITING, MAX_LINGER_MS, gather, linger_ms
from tests.fakes import FakeProducer


@pytest.mark.parametrize("waiting", range(FEW_WAITING))
def test_a_few_are_not_held_up(waiting):
    assert linger_ms(waiting) == 0


def test_the_more_wait_the_longer_up_to_a_limit():
    lingers_ms = [linger_ms(waiting) for waiting in range(FEW_WAITING, 300)]

    assert lingers_ms == sorted(lingers_ms)
    assert 0 < lingers_ms[0] < lingers_ms[-1] == MAX_LINGER_MS


def test_the_producer_goes_by_how_many_wait_at_the_time():
    producer, waiting = FakeProducer(), [0]
    gather(producer, lambda: waiting[0])

    assert producer._accumulator.ready() == 0
    waiting[0] = 1_000
    assert producer._accumulator.ready() == MAX_LINGER_MS
    waiting[0] = 0
    assert producer._accumulator.ready() == 0
