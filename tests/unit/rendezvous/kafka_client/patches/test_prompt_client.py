"""Writes wait only while the socket is full."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.net.selector import KernelEvent

from rendezvous.kafka_client.patches.fast_selector import FastSelector
from rendezvous.kafka_client.patches.prompt_client import PromptNetwork, prompt_client


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        yield near, far


@pytest.fixture
def network() -> Iterator[Any]:
    network = PromptNetwork(selector=FastSelector)
    yield network
    network.close()


def fill(sock: socket.socket) -> None:
    try:
        while sock.send(b"x" * 65_536):
            pass
    except BlockingIOError:
        pass


def test_a_writable_socket_is_not_waited_for(network: Any, pair: Any):
    assert list(network.wait_write(pair[0]).__await__()) == []


def test_a_full_socket_is_waited_for(network: Any, pair: Any):
    near, far = pair
    fill(near)
    assert isinstance(network.wait_write(near), KernelEvent)

    written: list[int] = []

    async def write() -> None:
        await network.wait_write(near)
        written.append(near.send(b"y"))

    network.call_soon(write())
    network.poll(timeout_ms=20)
    assert not written
    far.recv(10_000_000)
    for _ in range(3):
        network.poll(timeout_ms=100)
    assert written == [1]


def test_a_broken_socket_is_written_to_so_that_the_error_is_raised(network: Any, pair: Any):
    near, far = pair
    far.close()

    assert list(network.wait_write(near).__await__()) == []
    with pytest.raises(OSError, match="Broken pipe"):
        near.send(b"x")


def test_the_client_uses_the_patched_network_and_selector():
    client = prompt_client(bootstrap_servers="127.0.0.1:1", client_id="test")

    assert isinstance(client._net, PromptNetwork)
    assert isinstance(client._net._selector, FastSelector)
    assert client._net.config["client_id"] == "test"
    assert client._manager._net is client._net
    client.close()
