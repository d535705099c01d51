"""The connections of a worker: which goes when there are too many."""

import logging
import time
from types import SimpleNamespace
from typing import Any

from gateway.server import worker as worker_module
from gateway.server.connection_counts import ConnectionCounts, FairShare
from gateway.server.http import channel as channel_module
from gateway.server.http import listener as listener_module
from gateway.server.http.connections import Connections
from gateway.server.http.refusals import Limits
from tests.fakes import eventually
from tests.unit.gateway.server.running_worker import (
    KEEP_ALIVE,
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    exchanged,
    read_to_end,
    request,
    reset,
)


def test_at_the_limit_the_longest_silent_connection_is_closed(running, monkeypatch):
    monkeypatch.setattr(channel_module, "SILENT_S", 0.0)
    with running.connect() as used:
        exchanged(used, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3")
        silent = [running.connect() for _ in range(MAX_CONNECTIONS - 1)]
        eventually(lambda: len(running.connections.channels) == MAX_CONNECTIONS)

        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
        assert read_to_end(silent[0]) == b""
        exchanged(used, KEEP_ALIVE % 4 + b"xxxx", b"\r\n\r\n4")
    for client in silent:
        client.close()


def test_without_file_descriptors_new_connections_wait_and_others_are_served(
    running, listener, warnings, monkeypatch
):
    monkeypatch.setattr(running.connections, "close_one", lambda: None)
    with running.connect() as before:
        before.sendall(request(MAX_BODY_BYTES, sent=10))
        eventually(lambda: running.connections.held_bytes)
        listener.failures = 3
        response = running.response_to(request(3))
        before.sendall(b"x" * (MAX_BODY_BYTES - 10))
        assert read_to_end(before).endswith(b"\r\n\r\n1000")

    assert response.endswith(b"\r\n\r\n3")
    assert warnings == ["no connection can be accepted: Too many open files"]  # not three times


def test_while_file_descriptors_are_missing_the_worker_pauses(running, listener, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("gateway.server.http.listener.time.sleep", pauses.append)
    listener.failures = 1
    running.response_to(request(3))

    assert pauses == [listener_module.OUT_OF_RESOURCES_PAUSE_S]


def test_what_happened_to_a_closed_connection_is_not_done_to_the_next_one(running, monkeypatch):
    """The system gives its file descriptor to the next connection, in the same turn."""
    monkeypatch.setattr(channel_module, "SILENT_S", 0.0)
    silent = [running.connect() for _ in range(MAX_CONNECTIONS)]
    eventually(lambda: len(running.connections.channels) == MAX_CONNECTIONS)
    with running.paused():
        reset(silent.pop(0))
        new = [running.connect() for _ in range(4)]
        for client in new:
            client.sendall(request(3))

    for client in new:
        assert read_to_end(client).endswith(b"\r\n\r\n3")
    for client in (*silent, *new):
        client.close()


def test_at_the_limit_several_connections_are_accepted_in_a_turn(running, monkeypatch):
    """Else an attacker who opens them faster than that keeps the others waiting."""
    monkeypatch.setattr(channel_module, "SILENT_S", 0.0)
    monkeypatch.setattr(worker_module, "SWEEP_INTERVAL_S", 0.0)
    silent = [running.connect() for _ in range(MAX_CONNECTIONS)]
    eventually(lambda: len(running.connections.channels) == MAX_CONNECTIONS)
    added: list[object] = []
    add = running.connections.add

    def noted_add(channel):
        added.append(channel)
        add(channel)

    monkeypatch.setattr(running.connections, "add", noted_add)
    with running.paused():
        new = [running.connect() for _ in range(5)]
    with running.paused():
        assert len(added) == 5
    for client in (*silent, *new):
        client.close()


class Held:
    """A connection whose bytes are counted."""

    def __init__(self, connections, begun_s, size):
        self.connections, self.begun_s, self.held_bytes = connections, begun_s, 0
        self.refused = False
        connections.add(self)
        connections.hold(self, size)

    def refuse(self, problem):
        self.connections.release(self)
        self.refused = True


def test_as_many_incomplete_requests_are_refused_as_hold_too_much():
    unused: Any = None
    connections: Any = Connections(
        Limits(MAX_BODY_BYTES),
        threads=1,
        max_connections=8,
        keepalive_s=5,
        log=SimpleNamespace(error_log=logging.getLogger()),
        share=FairShare(ConnectionCounts(1), 0),
        count_request=unused,
        reads_body=unused,
    )
    now_s = time.monotonic()
    slow = [Held(connections, now_s - 20.0, 10) for _ in range(3)]
    large = Held(connections, now_s, connections.max_held_bytes - 15)

    assert sum(channel.refused for channel in slow) == 2
    assert not large.refused
    assert connections.held_bytes <= connections.max_held_bytes


def test_a_second_request_that_has_just_begun_is_worth_more_than_an_idle_connection(running):
    with running.connect() as begun, running.connect() as idle:
        exchanged(begun, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3")
        eventually(lambda: len(answered_by(running)) == 1)
        [channel] = answered_by(running)
        channel.since_s -= 50.0
        exchanged(idle, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3")
        eventually(lambda: len(answered_by(running)) == 2)
        begun.sendall(b"POST")
        eventually(lambda: channel.request)
        with running.paused():
            running.connections.close_one()
            assert channel in running.connections.channels


def answered_by(running):
    return {channel for channel in running.connections.channels if channel.responses}
