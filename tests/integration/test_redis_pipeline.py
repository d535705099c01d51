"""RedisPipeline on a real Redis: each answer belongs to its command, also after a failure."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from rendezvous.redis_store.client import open_redis
from rendezvous.redis_store.pipeline import RedisPipeline
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def server() -> Iterator[Server]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    client = open_redis(server.url, max_connections=2)
    yield client
    client.close()


@pytest.fixture
def pipeline(redis: Redis) -> RedisPipeline:
    return RedisPipeline(redis)


def test_answers_come_in_the_order_of_the_commands(pipeline: RedisPipeline):
    large = b"x" * 500_000

    assert pipeline.execute([("SET", "a", large), ("GET", "a"), ("GET", "b"), ("TTL", "a")]) == [
        b"OK",
        large,
        None,
        -1,
    ]


def test_the_commands_beside_a_refused_one_are_executed(pipeline: RedisPipeline):
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        pipeline.execute([("SET", "a", "1"), ("LPUSH", "a", "2"), ("SET", "b", "3")])

    assert pipeline.execute([("MGET", "a", "b")]) == [[b"1", b"3"]]


def test_a_late_answer_is_not_taken_for_the_next_command(
    pipeline: RedisPipeline, server: Server, monkeypatch: pytest.MonkeyPatch
):
    pipeline.execute([("SET", "a", "1")])
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "PAUSE", 100, "ALL")

    def interrupted(connection: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rendezvous.redis_store.pipeline._answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.execute([("GET", "b")])

    assert pipeline.execute([("GET", "a")]) == [b"1"]


def test_an_optional_command_may_be_refused(pipeline: RedisPipeline):
    answers = pipeline.execute([("SET", "a", "1")], [("NO SUCH COMMAND",), ("SET", "b", "2")])

    assert answers[0] == b"OK"
    assert isinstance(answers[1], ResponseError)
    assert pipeline.execute([("GET", "b")]) == [b"2"]


def kill_all(server: Server) -> None:
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_connection_that_the_server_has_closed_is_reopened(
    pipeline: RedisPipeline, server: Server, monkeypatch: pytest.MonkeyPatch
):
    pipeline.execute([("SET", "a", "1")])
    kill_all(server)
    monkeypatch.setattr("rendezvous.redis_store.pipeline.FRESH_S", 0.0)

    assert pipeline.execute([("GET", "a")]) == [b"1"]


def test_a_connection_that_breaks_in_use_is_dropped(pipeline: RedisPipeline, server: Server):
    pipeline.execute([("SET", "a", "1")])
    kill_all(server)

    with pytest.raises(ConnectionError):
        pipeline.execute([("GET", "a")])
    assert pipeline.execute([("GET", "a")]) == [b"1"]


def test_one_thread_keeps_its_connection_and_two_threads_share_none(server: Server, redis: Redis):
    pipeline = RedisPipeline(redis)
    found: list[object] = []

    def block() -> None:
        found.append(pipeline.execute([("BLPOP", "list", "5")]))

    threads = [threading.Thread(target=block) for _ in range(2)]
    for thread in threads:
        thread.start()
    with Redis.from_url(server.url) as other:
        assert wait_until(lambda: blocked(other) == 2, 5)
        other.rpush("list", "1", "2")
    for thread in threads:
        thread.join(5)
    assert redis.ping()  # one of the two connections is not kept
    connection = pipeline.execute([("CLIENT", "ID")])

    assert sorted(map(str, found)) == [str([[b"list", b"1"]]), str([[b"list", b"2"]])]
    assert [pipeline.execute([("CLIENT", "ID")]) for _ in range(3)] == [connection] * 3


def blocked(redis: Redis) -> int:
    clients: Any = redis.info("clients")
    return int(clients["blocked_clients"])


def test_at_most_one_connection_is_kept(redis: Redis):
    pipeline = RedisPipeline(redis)
    for _ in range(3):
        with pytest.raises(ResponseError):
            pipeline.execute([("NO SUCH COMMAND",)])

    assert redis.ping()  # over the second of the two connections


def test_a_forked_process_opens_a_connection(
    pipeline: RedisPipeline, monkeypatch: pytest.MonkeyPatch
):
    of_parent = pipeline.execute([("CLIENT", "ID")])
    monkeypatch.setattr("rendezvous.redis_store.pipeline.os.getpid", lambda: -1)

    assert pipeline.execute([("CLIENT", "ID")]) != of_parent


def test_an_unreachable_server_raises_connection_error():
    redis = open_redis("redis://127.0.0.1:1/0", max_connections=1)
    pipeline = RedisPipeline(redis)

    for _ in range(3):
        with pytest.raises(ConnectionError):
            pipeline.execute([("GET", "a")])
