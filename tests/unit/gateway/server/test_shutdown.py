"""Graceful shutdown: late connections get a 503, then none is accepted."""

import os
import signal
import socket
import sys
import time
from types import SimpleNamespace

import pytest

from gateway.server import shutdown
from gateway.server.shutdown import SharedFlag, drop_new_handshakes, install_graceful_shutdown
from tests.fakes import raising


@pytest.fixture(autouse=True)
def short_limit(monkeypatch):
    monkeypatch.setattr(shutdown, "LATE_CONNECTIONS_S", 0.5)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def server(listener):
    """The part of an arbiter that stops."""
    found = SimpleNamespace(
        LISTENERS=[listener], reexec_pid=0, master_pid=0, systemd=False, stops=[]
    )

    def stop(graceful=True):
        found.stops.append(graceful)
        listener.close()

    found.stop = stop
    return found


def connected(listener):
    return socket.create_connection(listener.getsockname(), 5)


def read_to_end(client):
    return b"".join(iter(lambda: client.recv(10_000), b""))


def test_a_connection_that_waits_at_shutdown_gets_a_503(server, listener):
    install_graceful_shutdown(server)
    with connected(listener) as client:
        client.sendall(b"POST / HTTP/1.1\r\n\r\n")
        server.stop()
        response = read_to_end(client)

    assert response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b'"type": "/problems/shutting-down"' in response
    assert b'"sent": "no"' in response
    assert b"\r\nRetry-After: " in response
    assert server.stops == [True]


def test_a_connection_after_the_shutdown_is_refused(server, listener):
    address = listener.getsockname()
    install_graceful_shutdown(server)
    server.stop()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has socket filters")
def test_with_the_socket_filter_no_handshake_begins_and_older_connections_are_accepted(listener):
    with connected(listener) as before:
        drop_new_handshakes(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), 0.2)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"still served")
            served = before.recv(100)

    assert served == b"still served"


def test_without_socket_filters_late_connections_get_a_503_too(server, listener, monkeypatch):
    monkeypatch.setattr(shutdown, "_attach_filter", raising(OSError()))
    address = listener.getsockname()
    install_graceful_shutdown(server)
    with connected(listener) as client:
        server.stop()
        assert read_to_end(client).startswith(b"HTTP/1.1 503 ")

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


def test_a_late_connection_that_stays_open_delays_the_shutdown_little(server, listener):
    install_graceful_shutdown(server)
    with connected(listener):
        started_s = time.monotonic()
        server.stop()

        assert time.monotonic() - started_s < 3


@pytest.mark.parametrize(
    "others", [{"reexec_pid": 7}, {"master_pid": 7}, {"systemd": True}, {"LISTENERS": []}], ids=str
)
def test_while_another_process_listens_no_connection_is_refused(server, others):
    vars(server).update(others)
    stopping = install_graceful_shutdown(server).stopping
    server.stop()

    assert server.stops == [True]
    assert not stopping.is_set()


def test_a_quick_stop_refuses_no_connections(server):
    stopping = install_graceful_shutdown(server).stopping
    server.stop(graceful=False)

    assert server.stops == [False]
    assert not stopping.is_set()


def test_a_flag_for_the_workers_is_set_when_the_server_stops(server):
    stopping = install_graceful_shutdown(server).stopping
    before = stopping.is_set()
    server.stop()

    assert (before, stopping.is_set()) == (False, True)


class Draining:
    """Records what an arbiter does during the drain delay."""

    def __init__(self, server, state, *signals):
        self._signals = list(signals)
        self.states = []
        self.calls: list[str] = []
        server.wait_for_signals = self._wait
        for name in ("reap_workers", "murder_workers", "manage_workers"):
            setattr(server, name, lambda name=name: self.calls.append(name))
        self._server, self._state = server, state

    def _wait(self, timeout):
        state = self._state
        self.states.append(
            (state.draining.is_set(), state.stopping.is_set(), list(self._server.stops))
        )
        time.sleep(min(timeout, 0.02))
        return [self._signals.pop()] if self._signals else []


def test_during_the_drain_delay_it_serves_but_is_not_ready(server):
    state = install_graceful_shutdown(server, drain_delay_s=0.2)
    draining = Draining(server, state, signal.SIGTERM, signal.SIGCHLD)
    started_s = time.monotonic()
    server.stop()

    assert time.monotonic() - started_s >= 0.2
    assert set(map(str, draining.states)) == {str((True, False, []))}
    # A worker that dies meanwhile is replaced.
    assert draining.calls[:3] == ["reap_workers", "murder_workers", "manage_workers"]
    assert state.stopping.is_set()
    assert server.stops == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_drain_delay_can_be_cut_short(server, number):
    state = install_graceful_shutdown(server, drain_delay_s=60)
    Draining(server, state, number)
    server.stop()

    assert server.stops == [False]


def test_a_flag_is_shared_with_processes_forked_later():
    flag = SharedFlag()
    pid = os.fork()
    if pid == 0:
        flag.set()
        os._exit(0)
    os.waitpid(pid, 0)

    assert flag.is_set()
