"""Who is expected is told of once, whoever asks; who is registered, always."""

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


def told(poller: Any, timeout_s: float = 0) -> list[Any]:
    return [(key.fileobj, key.data) for key, _ in poller.select(timeout_s)]


def test_who_is_registered_is_told_of_until_it_is_not_any_more(poller: Any, pair: Any):
    near, far = pair
    poller.register(near, EVENT_READ, "data")
    assert told(poller) == []
    far.send(b"x")
    assert told(poller) == told(poller) == [(near, "data")]
    poller.unregister(near)
    assert told(poller) == []
    poller.register(near.fileno(), EVENT_READ, "again")
    assert told(poller) == [(near.fileno(), "again")]


def test_who_is_expected_is_told_of_once_for_each_time(poller: Any, pair: Any):
    near, far = pair
    poller.expect(near, "data")
    assert told(poller) == []
    far.send(b"x")
    assert told(poller) == [(near, "data")]
    assert told(poller) == []
    far.send(b"y")
    assert told(poller) == [], "nobody has asked"
    poller.expect(near, "data")
    assert told(poller) == [(near, "data")], "what has come before counts as well"


def test_to_expect_twice_is_to_be_told_once(poller: Any, pair: Any):
    near, far = pair
    poller.expect(near, "data")
    poller.expect(near, "data")
    far.send(b"x")
    assert told(poller) == [(near, "data")]
    assert told(poller) == []


def test_that_a_client_hung_up_is_told(poller: Any, pair: Any):
    near, far = pair
    poller.expect(near, "data")
    far.close()
    assert told(poller) == [(near, "data")]


def test_who_is_forgotten_is_not_told_of_and_another_may_have_its_number(poller: Any):
    near, far = socket.socketpair()
    number = near.fileno()
    poller.expect(near, "first")
    poller.forget(near)
    poller.forget(near)
    far.send(b"x")
    assert told(poller) == []
    near.close()
    far.close()

    near, far = socket.socketpair()
    with near, far:
        assert number in (near.fileno(), far.fileno())
        again, other = (near, far) if near.fileno() == number else (far, near)
        poller.expect(again, "second")
        other.send(b"x")
        assert told(poller) == [(again, "second")]


def test_another_thread_may_ask_while_the_loop_waits(poller: Any, pair: Any):
    near, far = pair
    far.send(b"x")
    asking = threading.Timer(0.05, poller.expect, (near, "data"))
    asking.start()
    assert told(poller, SOON_S) == [(near, "data")]
    asking.join()


def test_without_epoll_there_is_another(monkeypatch: pytest.MonkeyPatch):
    found = new_poller()
    assert isinstance(found, EpollPoller)
    found.close()
    monkeypatch.delattr(select, "epoll")
    found = new_poller()
    assert isinstance(found, PortablePoller)
    found.close()
