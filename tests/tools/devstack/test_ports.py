"""Ports are free, and no two servers of a process get the same one."""

import random
import socket
from collections import deque

import pytest

from tools.devstack import ports
from tools.devstack.ports import LOOPBACK, free_port


@pytest.fixture
def drawn(monkeypatch):
    """Set the random numbers, and forget the ports that were chosen."""

    def set_drawn(*numbers):
        left = iter(numbers)
        monkeypatch.setattr(random, "randint", lambda *_: next(left))

    monkeypatch.setattr(ports, "_chosen", deque())
    return set_drawn


def test_a_port_is_not_chosen_twice_before_its_server_listens(drawn):
    drawn(20_101, 20_101, 20_102)

    assert [free_port(), free_port()] == [20_101, 20_102]


def test_a_port_with_a_listener_is_not_chosen(drawn):
    with socket.create_server((LOOPBACK, 0)) as server:
        drawn(server.getsockname()[1], 20_103)

        assert free_port() == 20_103


def test_without_a_free_port_an_error_says_where_it_was_searched(drawn):
    drawn(*[20_104] * 200)
    free_port()

    with pytest.raises(OSError, match="between 20000 and 32000"):
        free_port()
