"""Faults of the proxy, on existing and new connections."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.tcp_proxy import TcpProxy
from tools.devstack.waiting import wait_until

LIMIT_S = 10.0
#: Time without data that counts as silence, in seconds.
SILENCE_S = 0.3


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(65_536):
                self.server.received += data  # type: ignore[attr-defined]
                self.request.sendall(data)
        except ConnectionError:
            pass


class Target(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    received = b""


@pytest.fixture
def target() -> Iterator[Target]:
    with Target((LOOPBACK, 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(target: Target) -> Iterator[TcpProxy]:
    with TcpProxy(target.server_address[1]) as proxy:
        yield proxy


@contextmanager
def connected(proxy: TcpProxy) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, proxy.port), LIMIT_S) as connection:
        yield connection


def echo(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    received = b""
    while len(received) < len(data) and (part := connection.recv(65_536)):
        received += part
    return received


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(SILENCE_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(LIMIT_S)
    return False


def is_reset(connection: socket.socket) -> bool:
    try:
        connection.recv(1)
    except ConnectionResetError:
        return True
    return False


def works(proxy: TcpProxy) -> bool:
    with connected(proxy) as connection:
        return echo(connection, b"hello") == b"hello"


def test_data_passes_in_both_directions(proxy: TcpProxy):
    data = bytes(range(256)) * 4_000
    with connected(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        received = b""
        while len(received) < len(data):
            received += connection.recv(65_536)
        sender.join()

    assert received == data


def test_the_end_of_a_stream_is_forwarded_after_its_data(proxy: TcpProxy):
    with connected(proxy) as connection:
        connection.sendall(b"last bytes")
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(100):
            received += part

    assert received == b"last bytes"
    assert wait_until(lambda: proxy.connections == 0, LIMIT_S)


def test_a_delay_applies_to_both_directions_of_existing_and_new_connections(proxy: TcpProxy):
    with connected(proxy) as existing:
        assert echo(existing, b"before") == b"before"
        proxy.delay(0.1)
        with connected(proxy) as new:
            for connection in (existing, new):
                started_s = time.monotonic()
                assert echo(connection, b"delayed") == b"delayed"
                assert time.monotonic() - started_s >= 0.2


def test_delays_do_not_add_up(proxy: TcpProxy):
    proxy.delay(0.5)
    with connected(proxy) as connection:
        started_s = time.monotonic()
        sent = b""
        while time.monotonic() - started_s < 0.45:
            connection.sendall(b"x")
            sent += b"x"
            time.sleep(0.01)
        while len(sent) > 0:
            sent = sent[len(connection.recv(65_536)) :]
        elapsed_s = time.monotonic() - started_s

    assert 1.0 <= elapsed_s < 3.0


def test_a_blackhole_forwards_nothing_and_healing_resets(proxy: TcpProxy, target: Target):
    with connected(proxy) as existing:
        assert echo(existing, b"before") == b"before"
        proxy.blackhole()
        with connected(proxy) as new:
            for connection in (existing, new):
                connection.sendall(b"lost")
                assert is_silent(connection)
            proxy.heal()
            assert is_reset(existing)
            assert is_reset(new)

    assert works(proxy)
    assert target.received == b"beforehello"


def test_a_blackhole_of_one_direction_forwards_the_other(proxy: TcpProxy, target: Target):
    proxy.blackhole(upstream=False)
    with connected(proxy) as connection:
        connection.sendall(b"data")
        assert wait_until(lambda: target.received == b"data", LIMIT_S)
        assert is_silent(connection)
        proxy.heal()
        assert is_reset(connection)

    with connected(proxy) as connection:
        assert echo(connection, b"a") == b"a"
        proxy.blackhole(downstream=False)
        connection.sendall(b"b")
        assert is_silent(connection)
    assert target.received == b"dataa"


def test_a_reset_affects_existing_connections_only(proxy: TcpProxy):
    with connected(proxy) as connection:
        assert echo(connection, b"before") == b"before"
        proxy.reset()
        assert is_reset(connection)

    assert works(proxy)


async def accept_and_reset(proxy: TcpProxy) -> None:
    assert proxy._listener is not None
    proxy._accept(proxy._listener)
    await proxy._reset()


def test_a_just_accepted_connection_is_reset_too(proxy: TcpProxy):
    assert proxy._listener is not None
    proxy._loop.call_soon_threadsafe(proxy._loop.remove_reader, proxy._listener)
    with connected(proxy) as connection:
        proxy._do(accept_and_reset(proxy))
        assert is_reset(connection)


def test_refusing_resets_and_rejects_connections_until_healed(proxy: TcpProxy):
    with connected(proxy) as connection:
        assert echo(connection, b"before") == b"before"
        proxy.refuse()
        assert is_reset(connection)
    with pytest.raises(ConnectionRefusedError), connected(proxy):
        pass

    proxy.refuse()
    proxy.heal()
    assert works(proxy)


def test_a_connection_that_was_idle_for_long_is_forgotten_without_a_word(
    proxy: TcpProxy, target: Target
):
    proxy.forget_idle(SILENCE_S)
    with connected(proxy) as connection:
        assert echo(connection, b"1") == b"1"
        assert is_silent(connection)
        time.sleep(0.05)
        connection.sendall(b"2")

        assert is_silent(connection)
        assert target.received == b"1"
        assert works(proxy)


def test_a_new_target_is_for_new_connections(proxy: TcpProxy, target: Target):
    with connected(proxy) as connection:
        assert echo(connection, b"1") == b"1"
        proxy.target_port = free_port()

        assert echo(connection, b"2") == b"2"
        assert is_reset_immediately(proxy)


def is_reset_immediately(proxy: TcpProxy) -> bool:
    try:
        with connected(proxy) as connection:
            return is_reset(connection)
    except ConnectionResetError:  # already in create_connection()
        return True


def test_a_target_that_is_down_resets_the_client():
    with TcpProxy(free_port()) as proxy:
        assert is_reset_immediately(proxy)


def test_a_target_that_starts_later_is_reached(target: Target):
    port = free_port()
    with TcpProxy(port) as proxy:
        assert is_reset_immediately(proxy)
        with Target((LOOPBACK, port), Echo) as late:
            thread = threading.Thread(target=late.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            assert works(proxy)
            late.shutdown()
            thread.join()


def test_no_thread_and_no_listener_remain(target: Target):
    threads = threading.active_count()
    with TcpProxy(target.server_address[1]) as proxy, connected(proxy) as connection:
        assert echo(connection, b"x") == b"x"
        proxy.blackhole()
        port = proxy.port
    assert wait_until(lambda: threading.active_count() <= threads, LIMIT_S)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port), LIMIT_S)
