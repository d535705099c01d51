"""Connections that lead to the wrong Redis server are not used again."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from rendezvous.errors import StoreUnavailable, WritesRefused
from rendezvous.redis_store.client import execute
from rendezvous.redis_store.connecting import connection as connection_module
from rendezvous.redis_store.connecting.opening import open_redis
from rendezvous.redis_store.replies import ReplyStore
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.tcp_proxy import TcpProxy
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

LIMIT_S = 10.0
CONNECTIONS = 4


@dataclass
class Servers:
    """Two servers, and an address whose new connections lead to one of them, first to the old."""

    old: Redis
    new: Redis
    new_port: int
    address: TcpProxy

    def switch(self) -> None:
        self.address.target_port = self.new_port


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        old, new = (stack.enter_context(EmbeddedRedis()) for _ in range(2))
        clients = [stack.enter_context(Redis.from_url(server.url)) for server in (old, new)]
        address = stack.enter_context(TcpProxy(old.port))
        yield Servers(clients[0], clients[1], new.port, address)


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def redis(servers: Servers, protocol: int) -> Iterator[Redis]:
    """A client whose pool has several connections, all to the old server."""
    url = f"redis://{LOOPBACK}:{servers.address.port}/0?protocol={protocol}"
    with closing(open_redis(url)) as client:
        pool = client.connection_pool
        for connection in [pool.get_connection() for _ in range(CONNECTIONS)]:
            pool.release(connection)
        yield client


def follow_another(old: Redis) -> None:
    old.execute_command("REPLICAOF", LOOPBACK, free_port())


def refuse_stale_reads(old: Redis) -> None:
    old.config_set("replica-serve-stale-data", "no")
    follow_another(old)


def miss_replicas(old: Redis) -> None:
    old.config_set("min-replicas-to-write", "1")


def write(redis: Redis) -> None:
    redis.set("key", "value")


def write_in_pipeline(redis: Redis) -> None:
    pipeline = redis.pipeline(transaction=False)
    pipeline.get("key")
    pipeline.set("key", "value")
    pipeline.get("key")
    execute(pipeline)


def write_in_transaction(redis: Redis) -> None:
    def change(pipeline: Any) -> None:
        pipeline.get("key")
        pipeline.multi()
        pipeline.set("key", "value")

    redis.transaction(change, "key")


def write_by_script(redis: Redis) -> None:
    redis.eval("return redis.call('SET', KEYS[1], 'value')", 1, "key")


@pytest.mark.parametrize("protocol", [3], ids=["RESP3"])
@pytest.mark.parametrize("become_wrong", [follow_another, refuse_stale_reads, miss_replicas])
@pytest.mark.parametrize("call", [write, write_in_pipeline, write_in_transaction, write_by_script])
def test_one_call_fails_at_most_and_then_all_connections_lead_to_the_new_primary(
    servers: Servers,
    redis: Redis,
    become_wrong: Callable[[Redis], None],
    call: Callable[[Redis], None],
):
    call(redis)
    become_wrong(servers.old)
    servers.switch()

    with suppress(RedisError, StoreUnavailable):
        call(redis)
    call(redis)

    assert servers.new.get("key") == b"value"
    for connection in [redis.connection_pool.get_connection() for _ in range(CONNECTIONS)]:
        connection.send_command("GET", "key")
        assert connection.read_response() == b"value"


def test_reads_of_an_old_primary_which_it_answers_move_to_the_new_one(
    servers: Servers,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(connection_module, "ROLE_PAUSE_S", 0.0)
    servers.old.set("key", "old")
    assert redis.get("key") == b"old"
    follow_another(servers.old)
    servers.new.set("key", "new")
    servers.switch()

    assert redis.get("key") == b"new"
    assert "Redis is not the primary (its role is replica); reopening" in caplog.text


def test_the_check_of_writes_does_not_take_an_old_primary_for_a_full_one(
    servers: Servers, redis: Redis
):
    store = ReplyStore(redis, 60)
    store.check_writes("a-node")
    follow_another(servers.old)
    servers.switch()

    store.check_writes("a-node")

    servers.new.config_set("maxmemory", "1")
    with pytest.raises(WritesRefused, match="out of memory"):
        store.check_writes("a-node")


def test_a_server_that_loads_its_data_is_left(servers: Servers, redis: Redis):
    servers.old.config_set("loading-process-events-interval-bytes", 1024)
    servers.old.set("ballast", "x")
    with loading(servers):
        servers.switch()
        with suppress(RedisError):
            redis.set("key", "value")
        redis.set("key", "value")

    assert servers.new.get("key") == b"value"


@contextmanager
def loading(servers: Servers) -> Iterator[None]:
    for n in range(200):
        servers.old.set(f"ballast:{n}", b"x" * 2_000)
    servers.old.config_set("key-load-delay", 20_000)  # microseconds
    reload = threading.Thread(target=lambda: servers.old.execute_command("DEBUG", "RELOAD"))
    reload.start()
    try:
        assert wait_until(lambda: is_loading(servers.old), LIMIT_S, 0.01)
        yield
    finally:
        reload.join(20)


def is_loading(redis: Redis) -> bool:
    try:
        redis.get("key")
    except BusyLoadingError:
        return True
    return False


def test_a_replica_that_stays_one_is_read_without_errors(
    servers: Servers, redis: Redis, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection_module, "ROLE_PAUSE_S", 0.0)
    servers.old.set("key", "value")
    follow_another(servers.old)

    assert [redis.get("key") for _ in range(5)] == [b"value"] * 5


def test_reads_of_a_user_with_few_rights_move_too(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connection_module, "ROLE_PAUSE_S", 0.0)
    for server, value in ((servers.old, "old"), (servers.new, "new")):
        server.set("key", value)
        server.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+get")
    url = f"redis://app:secret@{LOOPBACK}:{servers.address.port}/0"
    with closing(open_redis(url)) as redis:
        assert redis.get("key") == b"old"
        follow_another(servers.old)
        servers.switch()

        assert redis.get("key") == b"new"


class WithoutHello(EmbeddedRedis):
    """A server that does not know HELLO, like one before 6.0 and some proxies."""

    def command(self) -> list[str]:
        return [*super().command(), "--rename-command", "HELLO", ""]


def test_a_server_without_hello_is_used_without_errors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection_module, "ROLE_PAUSE_S", 0.0)
    with WithoutHello() as server, closing(open_redis(f"{server.url}?protocol=2")) as redis:
        redis.set("key", "value")

        assert [redis.get("key") for _ in range(3)] == [b"value"] * 3
        with Redis.from_url(f"{server.url}?protocol=2") as other:
            assert other.info()["total_connections_received"] <= 5
