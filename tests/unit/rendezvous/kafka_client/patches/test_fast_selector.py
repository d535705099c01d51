"""The fast selector does what the platform's does, without describing missing sockets."""

import socket
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from rendezvous.kafka_client.patches.fast_selector import FastSelector


class SocketWithoutRepr(socket.socket):
    """A socket whose description is an error."""

    def __repr__(self):
        raise AssertionError("the socket was described")


@pytest.fixture
def sock():
    near, far = socket.socketpair()
    with near, far, SocketWithoutRepr(fileno=near.detach()) as sock:
        far.send(b"x")
        yield sock


@pytest.fixture
def selector():
    with FastSelector() as selector:
        yield selector


def test_a_missing_key_is_a_key_error_without_a_description(selector, sock):
    with pytest.raises(KeyError):
        selector.get_key(sock)


def test_the_key_of_a_registered_socket_is_the_current_one(selector, sock):
    key = selector.register(sock, EVENT_READ, "reader")
    assert selector.get_key(sock) == key
    assert selector.select(0) == [(key, EVENT_READ)]

    key = selector.modify(sock, EVENT_READ | EVENT_WRITE, "both")
    assert selector.get_key(sock) == key
    assert selector.select(0) == [(key, EVENT_READ | EVENT_WRITE)]

    assert selector.unregister(sock) == key
    assert selector.select(0) == []
    with pytest.raises(KeyError):
        selector.get_key(sock)


def test_a_closed_socket_can_be_unregistered(selector, sock):
    key = selector.register(sock, EVENT_READ)
    sock.close()

    assert selector.unregister(sock) == key
    with pytest.raises(KeyError):
        selector.get_key(sock)


def test_a_socket_that_cannot_be_registered_has_no_key(selector, sock):
    sock.close()

    with pytest.raises(ValueError, match="file descriptor"):
        selector.register(sock, EVENT_READ)
    with pytest.raises(KeyError):
        selector.get_key(sock)
