"""The Redis client: its options, the check of the server, and the advice for each error."""

import contextlib
import socket
import ssl
import threading
import time
from typing import Any

import pytest
from redis import exceptions as redis_errors

from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.client import (
    eviction_policy,
    execute,
    ping,
    store_unavailable,
)
from rendezvous.redis_store.connecting.opening import open_redis
from tests.fakes import raising


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (redis_errors.AuthenticationError("WRONGPASS"), "correct REDIS_URL"),
        (redis_errors.NoPermissionError("NOPERM"), "allow SET, GET, MGET"),
        (redis_errors.OutOfMemoryError("OOM"), "raise maxmemory"),
        (redis_errors.ReadOnlyError("READONLY"), "point REDIS_URL at the primary"),
        (redis_errors.BusyLoadingError("LOADING"), "wait"),
        (redis_errors.TimeoutError("Timeout reading"), "does not answer"),
        (redis_errors.ConnectionError("Error 111"), "cannot be reached"),
        (redis_errors.MasterDownError("MASTERDOWN"), "lost its primary"),
        (redis_errors.ResponseError("Command # 1: NOREPLICAS Not enough"), "bring them back"),
        (redis_errors.ResponseError("MISCONF Valkey is configured"), "cannot write to its disk"),
        (redis_errors.ConnectionError("max number of clients reached"), "raise maxclients"),
        (redis_errors.MaxConnectionsError("none was free"), "raise REDIS_MAX_CONNECTIONS"),
        (redis_errors.ConnectionError("no Sentinel answers: Timeout connecting"), "no Sentinel"),
        (
            redis_errors.ConnectionError("no Sentinel answers: [SSL: CERTIFICATE_VERIFY_FAILED]"),
            "set REDIS_TLS_VERIFY=no",
        ),
        (redis_errors.MovedError("1 h:1"), "write redis+cluster://"),
        (redis_errors.ClusterDownError("CLUSTERDOWN"), "has a shard without a primary"),
        (redis_errors.ResponseError("ERR something new"), "Redis refused"),
    ],
)
def test_an_error_is_explained_with_advice_and_keeps_its_message(error, advice):
    explained = store_unavailable(error)

    assert advice in explained.advice
    assert str(error) in str(explained)


def test_a_pipeline_and_a_ping_that_fail_raise_store_unavailable(redis, redis_server):
    redis_server.connected = False
    pipeline = redis.pipeline(transaction=False)
    pipeline.get("a")

    for call in (lambda: execute(pipeline), lambda: ping(redis)):
        with pytest.raises(StoreUnavailable, match="cannot be reached") as caught:
            call()
        assert isinstance(caught.value.__cause__, redis_errors.ConnectionError)


def test_a_refused_command_raises_without_its_arguments_and_the_others_are_executed(redis):
    pipeline = redis.pipeline(transaction=False)
    pipeline.set("a", "a secret")
    pipeline.lpush("a", "a secret")
    pipeline.set("b", "2")

    with pytest.raises(StoreUnavailable, match="WRONGTYPE") as caught:
        execute(pipeline)
    assert "a secret" not in str(caught.value)
    assert redis.get("b") == b"2"


def test_an_unreachable_redis_is_reported_without_retries():
    # Port 1 of this machine refuses; the retries of redis-py would take seconds.
    with (
        contextlib.closing(open_redis("redis://127.0.0.1:1/0")) as redis,
        pytest.raises(StoreUnavailable, match="cannot be reached"),
    ):
        ping(redis)


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "closes"])
def test_a_failed_command_is_not_repeated(hangs):
    connections, stop = [], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.02)

        def serve():
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connections.append(server.accept()[0])
                    if not hangs:
                        connections[-1].close()

        thread = threading.Thread(target=serve)
        thread.start()
        redis = open_redis(f"redis://127.0.0.1:{server.getsockname()[1]}")
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer" if hangs else "reached"):
            ping(redis)
        took_s = time.monotonic() - began_s
        redis.close()
        stop.set()
        thread.join(10)
    for connection in connections:
        connection.close()

    assert len(connections) == 1
    assert took_s < 5


def test_opening_a_client_connects_to_nothing():
    open_redis("redis://a.host.that.is.not.there.invalid:1/0").close()


@pytest.mark.parametrize(
    ("url", "tls_verify", "required"),
    [
        ("rediss://h:1", True, ssl.CERT_REQUIRED),
        ("rediss://h:1", False, ssl.CERT_NONE),
        ("redis://h:1", False, None),
    ],
)
def test_certificates_are_verified_unless_disabled(url, tls_verify, required):
    with contextlib.closing(open_redis(url, tls_verify=tls_verify)) as redis:
        connection = redis.connection_pool.make_connection()

    assert getattr(connection, "cert_reqs", None) == required


def test_connections_use_tcp_keepalive():
    """Without it a subscription would never notice that a NAT has dropped it."""
    with contextlib.closing(open_redis("redis://h:1")) as redis:
        connection: Any = redis.connection_pool.make_connection()

    assert connection.socket_keepalive
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux
        options = connection.socket_keepalive_options
        idle_s, interval_s = options[socket.TCP_KEEPIDLE], options[socket.TCP_KEEPINTVL]
        assert idle_s + interval_s * options[socket.TCP_KEEPCNT] <= 60


def test_a_unix_socket_is_accepted():
    with contextlib.closing(open_redis("unix:///run/redis.sock")) as redis:
        assert redis.connection_pool.make_connection()


@pytest.mark.parametrize(
    ("configured", "policy"),
    [
        ({"maxmemory-policy": "noeviction"}, None),
        ({"maxmemory-policy": "allkeys-lru"}, "allkeys-lru"),
        ({}, None),
    ],
)
def test_an_eviction_policy_that_can_drop_replies_is_returned(
    redis, monkeypatch, configured, policy
):
    monkeypatch.setattr(redis, "config_get", lambda name: configured)

    assert eviction_policy(redis) == policy


def test_an_undisclosed_eviction_policy_counts_as_none(redis, monkeypatch):
    monkeypatch.setattr(redis, "config_get", raising(redis_errors.NoPermissionError("NOPERM")))

    assert eviction_policy(redis) is None
