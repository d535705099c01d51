"""How much a client may send: counted for all replicas together, and remembered once it is over."""

import pytest
from fakeredis import FakeRedis

from gateway.clients.client import ANYBODY, Client, Rate
from gateway.clients.rates import Rates
from gateway.clients.tally import SharedCounter
from gateway.problems import RateLimited, ReplyStoreUnavailable, Sent
from tests.fakes import FakeClock

SHOP = Client("shop", rate=Rate(3, 60))
NOW_S = 1_000_020.0  # where a minute begins


class CountedTally(SharedCounter):
    """Says how often it was asked."""

    asked = 0

    def count(self, name, hold_s):
        self.asked += 1
        return super().count(name, hold_s)


@pytest.fixture
def clock():
    return FakeClock(NOW_S)


@pytest.fixture
def tally(redis):
    return CountedTally(redis, "d")


@pytest.fixture
def rates(tally, clock):
    return Rates(tally, clock)


def remaining(rates, client=SHOP):
    return rates.charge(client).remaining


def test_each_request_of_a_window_leaves_one_less(rates):
    assert [remaining(rates) for _ in range(3)] == [2, 1, 0]

    with pytest.raises(RateLimited) as caught:
        rates.charge(SHOP)

    assert caught.value.sent is Sent.NO


def test_the_next_window_begins_anew(rates, clock):
    for _ in range(3):
        rates.charge(SHOP)
    with pytest.raises(RateLimited):
        rates.charge(SHOP)

    clock.now_s += 59.9
    with pytest.raises(RateLimited):
        rates.charge(SHOP)
    clock.now_s += 0.2

    assert remaining(rates) == 2


def test_all_replicas_count_together(redis, clock):
    replicas = [Rates(SharedCounter(redis, "d"), clock) for _ in range(2)]

    assert [remaining(replicas[n % 2]) for n in range(3)] == [2, 1, 0]
    for replica in replicas:
        with pytest.raises(RateLimited):
            replica.charge(SHOP)


def test_each_client_has_a_rate_of_its_own(rates):
    for _ in range(3):
        rates.charge(SHOP)

    assert remaining(rates, Client("depot", rate=Rate(3, 60))) == 2


def test_who_is_over_is_turned_away_without_asking_redis_until_the_window_ends(rates, tally, clock):
    for _ in range(3):
        rates.charge(SHOP)
    for _ in range(10):
        with pytest.raises(RateLimited):
            rates.charge(SHOP)
    assert tally.asked == 4

    clock.now_s += 60
    rates.charge(SHOP)

    assert tally.asked == 5


def test_a_client_without_a_rate_costs_no_round_trip(rates, tally):
    assert rates.charge(ANYBODY) is None
    assert tally.asked == 0


def test_a_count_is_one_round_trip_and_goes_by_itself(redis, tally):
    assert tally.count("shop:7", hold_s=120) == 1
    assert 118 <= redis.ttl("rate:d:shop:7") <= 120


def test_what_is_left_is_said_as_the_draft_has_it(rates, clock):
    clock.now_s += 17.5

    assert rates.charge(SHOP).headers() == {
        "RateLimit-Policy": '"default";q=3;w=60',
        "RateLimit": '"default";r=2;t=43',
    }


def test_who_is_over_is_told_to_come_back_when_the_window_has_ended(rates, clock):
    clock.now_s += 17.5
    for _ in range(3):
        rates.charge(SHOP)

    with pytest.raises(RateLimited, match="send again in 43 s") as caught:
        rates.charge(SHOP)

    assert caught.value.headers == {
        "Retry-After": "43",
        "RateLimit-Policy": '"default";q=3;w=60',
        "RateLimit": '"default";r=0;t=43',
    }


@pytest.mark.parametrize("sent", [Sent.NO, None])
def test_without_redis_nobody_with_a_rate_is_let_in(redis_server, sent):
    client = FakeRedis(server=redis_server)
    redis_server.connected = False

    with pytest.raises(ReplyStoreUnavailable) as caught:
        Rates(SharedCounter(client, "d")).charge(SHOP, sent)

    assert caught.value.sent is sent


def test_deployments_that_share_a_redis_count_for_themselves(redis):
    assert [SharedCounter(redis, name).count("shop:7", hold_s=60) for name in ("d", "e", "d")] == [
        1,
        1,
        2,
    ]
