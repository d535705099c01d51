"""A round trip to a real Redis: the answers are those asked for, whatever went wrong before."""

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from devstack.server import Server
from devstack.valkey import EmbeddedRedis
from replies.round_trip import round_trip
from replies.store import open_redis

pytestmark = pytest.mark.integration


@pytest.fixture
def server() -> Iterator[Server]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    client = open_redis(server.url, tls_verify=True, max_connections=1)
    yield client
    client.close()


def test_answers_come_in_the_order_of_the_commands(redis: Redis):
    large = b"x" * 500_000

    assert round_trip(redis, [("SET", "a", large), ("GET", "a"), ("GET", "b"), ("TTL", "a")]) == [
        b"OK",
        large,
        None,
        -1,
    ]


def test_a_refused_command_does_not_keep_the_others_from_being_done(redis: Redis):
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        round_trip(redis, [("SET", "a", "1"), ("LPUSH", "a", "2"), ("SET", "b", "3")])

    assert round_trip(redis, [("MGET", "a", "b")]) == [[b"1", b"3"]]


def test_a_late_answer_is_not_taken_for_the_next_one(
    redis: Redis, server: Server, monkeypatch: pytest.MonkeyPatch
):
    round_trip(redis, [("SET", "mine", "1")])
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "PAUSE", 100, "ALL")

    def interrupted(connection: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("replies.round_trip._answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            round_trip(redis, [("GET", "not mine")])

    assert round_trip(redis, [("GET", "mine")]) == [b"1"]


def test_a_connection_that_the_server_has_closed_is_opened_anew(redis: Redis, server: Server):
    round_trip(redis, [("SET", "a", "1")])
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    assert round_trip(redis, [("GET", "a")]) == [b"1"]


def test_no_connection_is_kept_from_the_others(redis: Redis):
    for _ in range(3):
        with pytest.raises(ResponseError):
            round_trip(redis, [("NO SUCH COMMAND",)])

    assert redis.ping()  # over the only connection that it may have


def test_a_server_that_is_gone_is_told():
    redis = open_redis("redis://127.0.0.1:1/0", tls_verify=True, max_connections=1)

    for _ in range(3):
        with pytest.raises(ConnectionError):
            round_trip(redis, [("GET", "a")])
