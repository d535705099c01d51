"""Rate limits of clients: counted over all replicas, rejected without Redis once exceeded."""

import pytest
from fakeredis import FakeRedis

from gateway.clients.client import ANONYMOUS, Client, Rate
from gateway.clients.rates import RateLimiter
from gateway.problems import RateLimited, ReplyStoreUnavailable, Sent
from tests.fakes import FakeClock, record_calls

SHOP = Client("shop", rate=Rate(3, 60))
START_OF_MINUTE_S = 1_000_020.0


@pytest.fixture
def clock():
    return FakeClock(START_OF_MINUTE_S)


@pytest.fixture
def limiter(redis, clock):
    return RateLimiter(redis, "d", clock)


@pytest.fixture
def round_trips(redis, monkeypatch):
    """A list with an element for each pipeline that is built."""
    return record_calls(monkeypatch, redis, "pipeline")


def remaining(limiter, client=SHOP):
    return limiter.charge(client).remaining


def use_up(limiter):
    for _ in range(3):
        limiter.charge(SHOP)


def test_each_request_of_a_window_leaves_one_less(limiter):
    assert [remaining(limiter) for _ in range(3)] == [2, 1, 0]

    with pytest.raises(RateLimited) as caught:
        limiter.charge(SHOP)

    assert caught.value.sent is Sent.NO


def test_the_next_window_starts_with_the_full_quota(limiter, clock):
    use_up(limiter)
    for seconds in (0, 59.9):
        clock.now_s += seconds
        with pytest.raises(RateLimited):
            limiter.charge(SHOP)
    clock.now_s += 0.2

    assert remaining(limiter) == 2


def test_all_replicas_share_one_count(redis, clock):
    replicas = [RateLimiter(redis, "d", clock) for _ in range(2)]

    assert [remaining(replicas[n % 2]) for n in range(3)] == [2, 1, 0]
    for replica in replicas:
        with pytest.raises(RateLimited):
            replica.charge(SHOP)


def test_each_client_is_counted_separately(limiter):
    use_up(limiter)

    assert remaining(limiter, Client("depot", rate=Rate(3, 60))) == 2


def test_client_over_its_limit_is_rejected_without_asking_redis(limiter, round_trips, clock):
    use_up(limiter)
    for _ in range(10):
        with pytest.raises(RateLimited):
            limiter.charge(SHOP)
    assert len(round_trips) == 4

    clock.now_s += 60
    limiter.charge(SHOP)

    assert len(round_trips) == 5


def test_clients_whose_window_has_ended_are_forgotten(limiter, clock, monkeypatch):
    """Each user with a token may be a client."""
    monkeypatch.setattr("gateway.clients.rates.MAX_EXCEEDED", 5)

    for number in range(20):
        client = Client(f"jwt:{number}", rate=Rate(1, 60))
        limiter.charge(client)
        with pytest.raises(RateLimited):
            limiter.charge(client)
        clock.now_s += 60

    assert len(limiter._exceeded_until_s) <= 5


def test_a_client_without_a_rate_costs_no_round_trip(limiter, round_trips):
    assert limiter.charge(ANONYMOUS) is None
    assert round_trips == []


def test_a_count_takes_one_round_trip_and_expires(redis, limiter, round_trips):
    limiter.charge(SHOP)

    assert len(round_trips) == 1
    (key,) = redis.keys()
    assert key == b"rate:d:shop:%d" % (START_OF_MINUTE_S // 60)
    assert 118 <= redis.ttl(key) <= 120


def test_the_quota_is_stated_in_the_headers_of_the_draft(limiter, clock):
    clock.now_s += 17.5

    assert limiter.charge(SHOP).headers() == {
        "RateLimit-Policy": '"default";q=3;w=60',
        "RateLimit": '"default";r=2;t=43',
    }


def test_retry_after_is_the_end_of_the_window(limiter, clock):
    clock.now_s += 17.5
    use_up(limiter)

    with pytest.raises(RateLimited, match="3 requests in 60 s is reached; send again in 43 s") as e:
        limiter.charge(SHOP)

    assert e.value.headers == {
        "Retry-After": "43",
        "RateLimit-Policy": '"default";q=3;w=60',
        "RateLimit": '"default";r=0;t=43',
    }


@pytest.mark.parametrize("sent", [Sent.NO, None])
def test_a_client_with_a_rate_is_rejected_while_redis_is_unreachable(redis_server, sent):
    client = FakeRedis(server=redis_server)
    redis_server.connected = False

    with pytest.raises(ReplyStoreUnavailable) as caught:
        RateLimiter(client, "d").charge(SHOP, sent)

    assert caught.value.sent is sent


def test_deployments_that_share_a_redis_are_counted_separately(redis, clock):
    limiters = [RateLimiter(redis, deployment, clock) for deployment in ("d", "e", "d")]

    assert [remaining(limiter) for limiter in limiters] == [2, 2, 1]
