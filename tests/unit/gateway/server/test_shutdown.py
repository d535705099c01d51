"""How a server stops: the door is shut before it is closed."""

import os
import signal
import socket
import sys
import time
from types import SimpleNamespace

import pytest

from gateway.server import shutdown as draining
from gateway.server.shutdown import SharedFlag, install_graceful_shutdown, let_no_handshake_begin


@pytest.fixture(autouse=True)
def short_limit(monkeypatch):
    monkeypatch.setattr(draining, "LIMIT_S", 0.5)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def server(listener):
    """An arbiter, as far as stopping goes."""
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


def test_whoever_waits_at_the_door_is_told_in_http(server, listener):
    install_graceful_shutdown(server)
    with connected(listener) as client:
        client.sendall(b"POST / HTTP/1.1\r\n\r\n")
        server.stop()
        answer = read_to_end(client)

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b'"type": "/problems/shutting-down"' in answer
    assert b'"sent": "no"' in answer
    assert b"\r\nRetry-After: " in answer
    assert server.stops == [True]


def test_whoever_comes_when_the_door_is_closed_is_refused(server, listener):
    address = listener.getsockname()
    install_graceful_shutdown(server)
    server.stop()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has socket filters")
def test_behind_a_shut_door_no_handshake_begins(listener):
    with connected(listener) as before:
        let_no_handshake_begin(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), 0.2)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"still served")
            served = before.recv(100)

    assert served == b"still served"


def test_without_socket_filters_the_door_is_closed_all_the_same(server, listener, monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr(draining, "_attach", refuse)
    address = listener.getsockname()
    install_graceful_shutdown(server)
    with connected(listener) as client:
        server.stop()
        assert read_to_end(client).startswith(b"HTTP/1.1 503 ")

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)


def test_a_guest_who_does_not_hang_up_keeps_nobody_waiting_for_long(server, listener):
    install_graceful_shutdown(server)
    with connected(listener):
        started_s = time.monotonic()
        server.stop()

        assert time.monotonic() - started_s < 3


@pytest.mark.parametrize(
    "others", [{"reexec_pid": 7}, {"master_pid": 7}, {"systemd": True}, {"LISTENERS": []}], ids=str
)
def test_where_others_go_on_listening_nobody_is_turned_away(server, others):
    vars(server).update(others)
    stopping = install_graceful_shutdown(server).stopping
    server.stop()

    assert server.stops == [True]
    assert not stopping.is_set()


def test_whoever_is_in_a_hurry_stops_at_once(server):
    stopping = install_graceful_shutdown(server).stopping
    server.stop(graceful=False)

    assert server.stops == [False]
    assert not stopping.is_set()


def test_the_workers_learn_that_the_whole_server_stops(server):
    stopping = install_graceful_shutdown(server).stopping
    before = stopping.is_set()
    server.stop()

    assert (before, stopping.is_set()) == (False, True)


class Draining:
    """What an arbiter does while it serves on."""

    def __init__(self, server, ending, *signals):
        self._signals = list(signals)
        self.states = []
        self.calls: list[str] = []
        server.wait_for_signals = self._wait
        for name in ("reap_workers", "murder_workers", "manage_workers"):
            setattr(server, name, lambda name=name: self.calls.append(name))
        self._server, self._ending = server, ending

    def _wait(self, timeout):
        ending = self._ending
        self.states.append(
            (ending.draining.is_set(), ending.stopping.is_set(), list(self._server.stops))
        )
        time.sleep(min(timeout, 0.02))
        return [self._signals.pop()] if self._signals else []


def test_with_a_drain_delay_it_serves_on_and_only_says_that_it_is_not_ready(server):
    ending = install_graceful_shutdown(server, drain_delay_s=0.2)
    draining = Draining(server, ending, signal.SIGTERM, signal.SIGCHLD)
    started_s = time.monotonic()
    server.stop()

    assert time.monotonic() - started_s >= 0.2
    assert set(map(str, draining.states)) == {str((True, False, []))}
    # A worker that dies meanwhile is replaced.
    assert draining.calls[:3] == ["reap_workers", "murder_workers", "manage_workers"]
    assert ending.stopping.is_set()
    assert server.stops == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_drain_delay_can_be_cut_short(server, number):
    ending = install_graceful_shutdown(server, drain_delay_s=60)
    Draining(server, ending, number)
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
