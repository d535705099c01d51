"""A round trip to a real Redis: the answers are those asked for, whatever went wrong before."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from rendezvous.redis_store.pipeline import RedisPipeline
from rendezvous.redis_store.replies import open_redis
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
    client = open_redis(server.url, tls_verify=True, max_connections=2)
    yield client
    client.close()


@pytest.fixture
def line(redis: Redis) -> RedisPipeline:
    return RedisPipeline(redis)


def test_answers_come_in_the_order_of_the_commands(line: RedisPipeline):
    large = b"x" * 500_000

    assert line.ask([("SET", "a", large), ("GET", "a"), ("GET", "b"), ("TTL", "a")]) == [
        b"OK",
        large,
        None,
        -1,
    ]


def test_a_refused_command_does_not_keep_the_others_from_being_done(line: RedisPipeline):
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        line.ask([("SET", "a", "1"), ("LPUSH", "a", "2"), ("SET", "b", "3")])

    assert line.ask([("MGET", "a", "b")]) == [[b"1", b"3"]]


def test_a_late_answer_is_not_taken_for_the_next_one(
    line: RedisPipeline, server: Server, monkeypatch: pytest.MonkeyPatch
):
    line.ask([("SET", "mine", "1")])
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "PAUSE", 100, "ALL")

    def interrupted(connection: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rendezvous.redis_store.pipeline._answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            line.ask([("GET", "not mine")])

    assert line.ask([("GET", "mine")]) == [b"1"]


def test_an_extra_command_may_be_refused(line: RedisPipeline):
    answers = line.ask([("SET", "a", "1")], [("NO SUCH COMMAND",), ("SET", "b", "2")])

    assert answers[0] == b"OK"
    assert isinstance(answers[1], ResponseError)
    assert line.ask([("GET", "b")]) == [b"2"]


def kill_all(server: Server) -> None:
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_connection_that_the_server_has_closed_meanwhile_is_opened_anew(
    line: RedisPipeline, server: Server, monkeypatch: pytest.MonkeyPatch
):
    line.ask([("SET", "a", "1")])
    kill_all(server)
    monkeypatch.setattr("rendezvous.redis_store.pipeline.FRESH_S", 0.0)

    assert line.ask([("GET", "a")]) == [b"1"]


def test_a_connection_that_breaks_in_use_is_not_used_again(line: RedisPipeline, server: Server):
    line.ask([("SET", "a", "1")])
    kill_all(server)

    with pytest.raises(ConnectionError):
        line.ask([("GET", "a")])
    assert line.ask([("GET", "a")]) == [b"1"]


def test_a_connection_in_use_is_the_same_for_one_who_asks_and_none_is_shared_by_two(
    server: Server, redis: Redis
):
    line = RedisPipeline(redis)
    found: list[object] = []

    def ask() -> None:
        found.append(line.ask([("BLPOP", "list", "5")]))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    with Redis.from_url(server.url) as other:
        assert wait_until(lambda: blocked(other) == 2, 5)
        other.rpush("list", "1", "2")
    for thread in asking:
        thread.join(5)
    assert redis.ping()  # of the two that there may be, one is not kept
    me = line.ask([("CLIENT", "ID")])

    assert sorted(map(str, found)) == [str([[b"list", b"1"]]), str([[b"list", b"2"]])]
    assert [line.ask([("CLIENT", "ID")]) for _ in range(3)] == [me] * 3


def blocked(redis: Redis) -> int:
    told: Any = redis.info("clients")
    return int(told["blocked_clients"])


def test_one_connection_is_kept_at_most(redis: Redis):
    line = RedisPipeline(redis)
    for _ in range(3):
        with pytest.raises(ResponseError):
            line.ask([("NO SUCH COMMAND",)])

    assert redis.ping()  # over the other one of the two that there may be


def test_a_forked_process_has_a_connection_of_its_own(
    line: RedisPipeline, monkeypatch: pytest.MonkeyPatch
):
    parents = line.ask([("CLIENT", "ID")])
    monkeypatch.setattr("rendezvous.redis_store.pipeline.os.getpid", lambda: -1)

    assert line.ask([("CLIENT", "ID")]) != parents


def test_a_server_that_is_gone_is_told():
    redis = open_redis("redis://127.0.0.1:1/0", tls_verify=True, max_connections=1)
    line = RedisPipeline(redis)

    for _ in range(3):
        with pytest.raises(ConnectionError):
            line.ask([("GET", "a")])
