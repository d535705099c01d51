"""A Redis with two replicas, and three Sentinels that let one of them take over."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis
from redis.exceptions import RedisError

from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.client import ping
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.replies import ReplyStore
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.redis_groups import SERVICE, WatchedRedis
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

LIMIT_S = 20.0
#: How long the old primary of a planned failover may get writes once the Sentinels name another.
LEFT_S = 3.0


@pytest.fixture(scope="module")
def group() -> Iterator[WatchedRedis]:
    with WatchedRedis() as group:
        yield group


@pytest.fixture
def redis(group: WatchedRedis) -> Iterator[Redis]:
    assert group.wait_until_in_sync()
    with closing(open_redis(group.url)) as client:
        yield client


def test_the_primary_is_used_although_the_url_names_sentinels(redis: Redis, group: WatchedRedis):
    redis.set("key", "value")

    (primary,) = group.clients()
    assert primary.get("key") == b"value"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis+sentinel://{sentinel}/other", "do not know the service that REDIS_URL names"),
        ("redis+sentinel://{nothing}/main", "no Sentinel answers: check that they run"),
        ("redis+sentinel://{redis}/main", "leads to a Redis, not to a Sentinel: correct the port"),
        ("redis://{sentinel}", r"if it is a Sentinel, write redis\+sentinel://"),
    ],
)
def test_a_mistake_is_reported_with_what_to_correct(group: WatchedRedis, url: str, advice: str):
    addresses = {
        "sentinel": group.sentinels[0].address,
        "redis": group.servers[0].address,
        "nothing": f"{LOOPBACK}:{free_port()}",
    }
    with (
        closing(open_redis(url.format(**addresses))) as redis,
        pytest.raises(StoreUnavailable, match=advice),
    ):
        ReplyStore(redis, 60).fetch("a-node.an-id")


def test_sentinels_may_ask_for_a_password_and_some_may_be_down(group: WatchedRedis):
    with Redis.from_url(group.sentinels[0].url) as sentinel:
        sentinel.execute_command("ACL", "SETUSER", "default", "resetpass", ">secret")
        url = f"redis+sentinel://{LOOPBACK}:{free_port()},{group.sentinels[0].address}/{SERVICE}"
        advice = r"no Sentinel answers: .* append \?sentinel_password=PASSWORD"
        with closing(open_redis(url)) as redis, pytest.raises(StoreUnavailable, match=advice):
            ping(redis)
        with closing(open_redis(f"{url}?sentinel_password=secret")) as redis:
            ping(redis)
        sentinel.execute_command("ACL", "SETUSER", "default", "nopass")


def test_the_promoted_replica_is_used_once_the_primary_is_dead(redis: Redis, group: WatchedRedis):
    redis.set("key", "before")
    (old,) = group.primaries()
    old.kill()
    group.servers.remove(old)

    assert wait_until(lambda: writes(redis, "after"), LIMIT_S, 0.02)

    (new,) = group.clients()
    assert new.get("key") == b"after"


def test_no_write_stays_at_the_old_primary_of_a_planned_failover(redis: Redis, group: WatchedRedis):
    """It takes writes for ten seconds more, which get lost."""
    (old,) = group.primaries()
    written: dict[str, float] = {}
    stop = threading.Event()
    threads = [
        threading.Thread(target=write_until, args=(stop, redis, written, n)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    with Redis.from_url(group.sentinels[0].url) as sentinel:
        assert wait_until(lambda: begins_failover(sentinel), LIMIT_S)
        assert wait_until(lambda: int(master_port(sentinel)) != old.port, LIMIT_S, 0.02)
    named_s = time.monotonic()
    time.sleep(LEFT_S + 1)
    stop.set()
    for thread in threads:
        thread.join()

    with Redis.from_url(f"redis://{LOOPBACK}:{new_port(group)}") as new:
        lost = {key: at_s - named_s for key, at_s in written.items() if not new.exists(key)}
    assert max(lost.values(), default=0.0) < LEFT_S
    assert max(written.values()) > named_s + LEFT_S


def write_until(stop: threading.Event, redis: Redis, written: dict[str, float], n: int) -> None:
    number = 0
    while not stop.wait(0.01):
        number += 1
        key, at_s = f"written:{n}:{number}", time.monotonic()
        if writes(redis, "x", key):
            written[key] = at_s


def writes(redis: Redis, value: str, key: str = "key") -> bool:
    try:
        redis.set(key, value)
    except RedisError:
        return False
    return True


def begins_failover(sentinel: Redis) -> bool:
    try:
        sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)
    except RedisError:  # the one before is not complete
        return False
    return True


def master_port(sentinel: Redis) -> int:
    found = sentinel.sentinel_master(SERVICE)
    return int(found["port"])  # type: ignore[index]


def new_port(group: WatchedRedis) -> int:
    with Redis.from_url(group.sentinels[0].url) as sentinel:
        return master_port(sentinel)
