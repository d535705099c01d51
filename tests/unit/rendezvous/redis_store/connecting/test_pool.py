"""The bounded pool of connections."""

import os
import threading
import time

import pytest
from redis import exceptions as redis_errors

from rendezvous.redis_store.client import store_unavailable
from rendezvous.redis_store.connecting import pool as pool_module
from rendezvous.redis_store.connecting.pool import WaitingPool


class Connection:
    """A connection that leads nowhere; see redis.connection.AbstractConnection."""

    def __init__(self, fails: list[Exception], **options: object) -> None:
        self.pid = os.getpid()
        self._fails = fails

    def connect(self) -> None:
        if self._fails:
            raise self._fails.pop()

    def can_read(self) -> bool:
        return False

    def should_reconnect(self) -> bool:
        return False

    def disconnect(self) -> None:
        pass

    def re_auth(self) -> None:
        pass


@pytest.fixture
def fails() -> list[Exception]:
    """Errors of the next connections."""
    return []


@pytest.fixture
def pool(fails: list[Exception]) -> WaitingPool:
    return WaitingPool(connection_class=Connection, max_connections=2, fails=fails)


def test_a_thread_gets_the_connection_that_becomes_free(pool):
    taken = [pool.get_connection() for _ in range(2)]
    release = threading.Timer(0.05, pool.release, taken[:1])
    release.start()

    assert pool.get_connection() is taken[0]
    release.join()


def test_a_thread_that_waits_in_vain_gets_an_error_that_names_the_setting(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "FREE_WAIT_S", 0.05)
    for _ in range(2):
        pool.get_connection()
    began_s = time.monotonic()

    with pytest.raises(redis_errors.MaxConnectionsError, match="none of 2 connections") as caught:
        pool.get_connection()

    assert 0.05 <= time.monotonic() - began_s < 2
    assert "raise REDIS_MAX_CONNECTIONS" in store_unavailable(caught.value).advice


def test_failed_connections_take_no_place(pool, fails, monkeypatch):
    monkeypatch.setattr(pool_module, "FREE_WAIT_S", 0.05)
    fails += [redis_errors.ConnectionError("refused")] * 5
    for _ in range(5):
        with pytest.raises(redis_errors.ConnectionError, match="refused"):
            pool.get_connection()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "connection_class", None)
        pool.reset()
        for _ in range(2):
            with pytest.raises(TypeError):
                pool.get_connection()
    pool.reset()

    assert {pool.get_connection() for _ in range(2)}


def test_a_connection_given_back_twice_makes_no_second_place(pool, monkeypatch):
    monkeypatch.setattr(pool_module, "FREE_WAIT_S", 0.05)
    first, _ = (pool.get_connection() for _ in range(2))
    for _ in range(2):
        pool.release(first)
    pool.get_connection()

    with pytest.raises(redis_errors.MaxConnectionsError):
        pool.get_connection()
