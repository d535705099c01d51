"""The quiet selector does what the platform's does, and describes nothing that is missing."""

import socket
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from rendezvous.kafka_client.patches.fast_selector import FastSelector


class Undescribed(socket.socket):
    """A socket that nobody may describe."""

    def __repr__(self):
        raise AssertionError("somebody describes a socket")


@pytest.fixture
def sock():
    near, far = socket.socketpair()
    with near, far, Undescribed(fileno=near.detach()) as undescribed:
        far.send(b"x")
        yield undescribed


@pytest.fixture
def selector():
    with FastSelector() as selector:
        yield selector


def test_what_is_not_watched_is_missing_without_being_described(selector, sock):
    with pytest.raises(KeyError):
        selector.get_key(sock)


def test_what_is_watched_is_found_as_it_is_now(selector, sock):
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


def test_a_socket_that_was_closed_meanwhile_can_be_let_go(selector, sock):
    key = selector.register(sock, EVENT_READ)
    sock.close()

    assert selector.unregister(sock) == key
    with pytest.raises(KeyError):
        selector.get_key(sock)


def test_what_cannot_be_watched_is_not_taken_for_watched(selector, sock):
    sock.close()

    with pytest.raises(ValueError, match="file descriptor"):
        selector.register(sock, EVENT_READ)
    with pytest.raises(KeyError):
        selector.get_key(sock)
