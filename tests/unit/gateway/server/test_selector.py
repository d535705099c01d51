"""A socket that is expected is reported once; one that is registered, always."""

import select
import socket
import threading
from collections.abc import Iterator
from selectors import EVENT_READ
from typing import Any

import pytest

from gateway.server.selector import EpollPoller, PortablePoller, new_poller

SOON_S = 5.0


@pytest.fixture(params=[EpollPoller, PortablePoller])
def poller(request: Any) -> Iterator[Any]:
    found = request.param()
    yield found
    found.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def reported(poller: Any, timeout_s: float = 0) -> list[Any]:
    return [(key.fileobj, key.data) for key, _ in poller.select(timeout_s)]


def test_a_registered_socket_is_reported_until_it_is_unregistered(poller: Any, pair: Any):
    near, far = pair
    poller.register(near, EVENT_READ, "data")
    assert reported(poller) == []
    far.send(b"x")
    assert reported(poller) == reported(poller) == [(near, "data")]
    poller.unregister(near)
    assert reported(poller) == []
    poller.register(near.fileno(), EVENT_READ, "again")
    assert reported(poller) == [(near.fileno(), "again")]


def test_an_expected_socket_is_reported_once_per_request(poller: Any, pair: Any):
    near, far = pair
    poller.expect(near, "data")
    assert reported(poller) == []
    far.send(b"x")
    assert reported(poller) == [(near, "data")]
    assert reported(poller) == []
    far.send(b"y")
    assert reported(poller) == [], "it is not expected"
    poller.expect(near, "data")
    assert reported(poller) == [(near, "data")], "earlier data counts as well"


def test_a_socket_expected_twice_is_reported_once(poller: Any, pair: Any):
    near, far = pair
    poller.expect(near, "data")
    poller.expect(near, "data")
    far.send(b"x")
    assert reported(poller) == [(near, "data")]
    assert reported(poller) == []


def test_a_closed_connection_is_reported(poller: Any, pair: Any):
    near, far = pair
    poller.expect(near, "data")
    far.close()
    assert reported(poller) == [(near, "data")]


def test_a_forgotten_socket_is_not_reported_and_its_number_may_be_reused(poller: Any):
    near, far = socket.socketpair()
    number = near.fileno()
    poller.expect(near, "first")
    poller.forget(near)
    poller.forget(near)
    far.send(b"x")
    assert reported(poller) == []
    near.close()
    far.close()

    near, far = socket.socketpair()
    with near, far:
        assert number in (near.fileno(), far.fileno())
        again, other = (near, far) if near.fileno() == number else (far, near)
        poller.expect(again, "second")
        other.send(b"x")
        assert reported(poller) == [(again, "second")]


def test_another_thread_may_expect_a_socket_while_the_loop_waits(poller: Any, pair: Any):
    near, far = pair
    far.send(b"x")
    expecting = threading.Timer(0.05, poller.expect, (near, "data"))
    expecting.start()
    assert reported(poller, SOON_S) == [(near, "data")]
    expecting.join()


def test_without_epoll_the_portable_poller_is_used(monkeypatch: pytest.MonkeyPatch):
    found = new_poller()
    assert isinstance(found, EpollPoller)
    found.close()
    monkeypatch.delattr(select, "epoll")
    found = new_poller()
    assert isinstance(found, PortablePoller)
    found.close()
