"""One connection: slow and broken clients, and the responses they get."""

import socket
import threading
import time

import pytest

from gateway.server.http import channel as channel_module
from gateway.server.http import refusals
from gateway.server.http.listener import SEND_BUFFER_BYTES
from gateway.server.http.refusals import Limits
from tests.fakes import eventually
from tests.unit.gateway.server.running_worker import (
    HEAD,
    KEEP_ALIVE,
    LARGE,
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    THREADS,
    application,
    exchanged,
    read_to_end,
    request,
    reset,
)

# Responses that are not read


def test_a_client_that_does_not_read_its_response_holds_no_thread(running, monkeypatch):
    running.connections.max_unread_bytes = 10 * LARGE
    clients = [running.connect() for _ in range(2 * THREADS)]
    for client in clients:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: sum(c.responses for c in running.connections.channels) >= 1)

    assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    for client in clients:
        client.close()


def test_a_client_that_does_not_read_its_response_is_disconnected(
    new_running, monkeypatch, warnings
):
    monkeypatch.setattr(channel_module, "UNREAD_LIMIT_S", 0.2)
    # Memory for all of them, so that only the time counts.
    running = new_running(threads=4)
    running.connections.max_unread_bytes = 10 * LARGE
    clients = [running.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: warnings and not running.connections.channels)

    [warning] = warnings  # not one for each, which could fill a disk
    assert warning.endswith("its response is not read; closing")
    for client in clients:
        client.close()


def test_unread_responses_have_a_limit_of_memory(running, warnings):
    # Room for one, also before its first byte is sent, and not for two.
    running.connections.max_unread_bytes = LARGE + LARGE // 2
    clients = [running.connect() for _ in range(3)]
    eventually(lambda: len(running.connections.channels) == 3)
    for client in clients:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: len(running.connections.channels) == 1)

    [warning] = warnings
    assert "unread_bytes=" in warning
    for client in clients:
        client.close()


def test_a_response_larger_than_the_limit_is_whole_for_a_client_that_reads(running, warnings):
    running.connections.max_unread_bytes = LARGE * 3 // 4
    with running.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        response = read_to_end(client)

    assert len(response) > LARGE
    assert warnings == []


def test_unread_responses_never_exceed_twice_the_limit(running, monkeypatch, warnings):
    monkeypatch.setattr(channel_module, "SLOW_S", 60.0)  # all of them count as read
    running.connections.max_unread_bytes = LARGE * 3 // 4
    clients = [running.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: len(running.connections.channels) == 1)

    for client in clients:
        client.close()


def test_pipelined_requests_are_answered_one_after_the_other_as_they_are_read(running):
    """Else the responses to one packet of requests could fill the memory."""
    running.connections.max_unread_bytes = 10 * LARGE
    with running.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        eventually(lambda: any(c.total_outbufs_len for c in running.connections.channels))
        [channel] = running.connections.channels

        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
        assert channel.responses <= 1
        held_bytes = channel.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert held_bytes <= 2 * SEND_BUFFER_BYTES  # Linux doubles it
        assert channel.total_outbufs_len < 2 * LARGE


# Incomplete requests


def test_heads_in_parts_are_no_burden_where_bodies_are_small(new_running):
    running = new_running(max_body_bytes=1)
    first, rest = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 1_000, b"\r\n\r\n"
    clients = [running.connect() for _ in range(MAX_CONNECTIONS)]
    for client in clients:
        client.sendall(first)
    eventually(lambda: running.connections.held_bytes == len(first) * len(clients))

    responses = [exchanged(client, rest, b"\r\n\r\n0") for client in clients]
    assert {response.split(b"\r\n")[0] for response in responses} == {b"HTTP/1.1 200 OK"}
    for client in clients:
        client.close()


def test_incomplete_requests_hold_at_most_one_request_per_thread(running):
    running.connections.max_held_bytes = THREADS * MAX_BODY_BYTES
    slow = [running.connect() for _ in range(THREADS)]
    for client in slow:
        client.sendall(request(MAX_BODY_BYTES, sent=MAX_BODY_BYTES - 100))
    enough = THREADS * (MAX_BODY_BYTES - 100)
    eventually(lambda: running.connections.held_bytes > enough)
    with running.connect() as another:
        another.sendall(request(MAX_BODY_BYTES, sent=500))
        # The largest and slowest goes, not the one that came last.
        refused = read_to_end(slow[0])
        another.sendall(b"x" * 500)
        answered = read_to_end(another)
    slow[1].sendall(b"x" * 100)

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"type": "/problems/overloaded"' in refused
    assert b'"sent": "no"' in refused
    assert answered.endswith(b"\r\n\r\n1000")
    assert read_to_end(slow[1]).endswith(b"\r\n\r\n1000")
    assert running.connections.held_bytes == 0
    for client in slow:
        client.close()


@pytest.mark.parametrize("sent", [HEAD, request(100, sent=50)], ids=["head", "body"])
def test_a_request_that_is_too_slow_gets_a_408(running, monkeypatch, sent):
    monkeypatch.setattr(refusals, "HEAD_TIMEOUT_S", 0.1)
    running.connections.limits = Limits(MAX_BODY_BYTES, 0.1)
    response = running.response_to(sent)

    assert response.startswith(b"HTTP/1.1 408 ")
    assert b"send faster" in response


def test_an_empty_line_behind_a_body_begins_no_request(running, monkeypatch):
    """RFC 9112, section 2.2: some clients send one."""
    monkeypatch.setattr(refusals, "HEAD_TIMEOUT_S", 0.01)
    sweep, swept_s = running.connections.sweep, []

    def noted_sweep(now_s):
        sweep(now_s)
        swept_s.append(now_s)

    running.connections.sweep = noted_sweep
    with running.connect() as client:
        exchanged(client, KEEP_ALIVE % 2 + b"xx\r\n", b"\r\n\r\n2")
        [channel] = running.connections.channels
        eventually(lambda: channel.request is not None)
        came_s = time.monotonic()
        eventually(lambda: swept_s and swept_s[-1] > came_s + refusals.HEAD_TIMEOUT_S)
        monkeypatch.setattr(refusals, "HEAD_TIMEOUT_S", 10.0)
        before_s = time.monotonic()

        assert exchanged(client, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3").startswith(b"HTTP/1.1 200")
        assert channel.begun_s > before_s


def test_a_connection_that_sends_nothing_is_closed(running, monkeypatch):
    monkeypatch.setattr(channel_module, "HEAD_TIMEOUT_S", 0.1)
    with running.connect() as client:
        assert read_to_end(client) == b""


def test_after_a_refusal_the_rest_is_discarded_until_the_client_has_the_response(running):
    with running.connect() as client:
        client.sendall(KEEP_ALIVE % (2 * MAX_BODY_BYTES) + b"x" * 500)
        eventually(lambda: any(c.is_lingering for c in running.connections.channels))
        client.sendall(b"x" * 500)
        assert read_to_end(client).startswith(b"HTTP/1.1 413")
    eventually(lambda: not running.connections.channels)


def test_what_follows_a_refused_request_is_no_request(running):
    with running.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + request(3))
        response = read_to_end(client)

    assert response.startswith(b"HTTP/1.1 400 ")
    assert response.count(b"HTTP/1.1") == 1


def test_two_requests_at_once_are_both_answered(running):
    two = KEEP_ALIVE % 2 + b"xx" + KEEP_ALIVE % 3 + b"xxx"
    with running.connect() as client:
        response = exchanged(client, two, b"\r\n\r\n3")

    assert response.count(b"HTTP/1.1 200") == 2
    assert response.index(b"\r\n\r\n2") < response.index(b"\r\n\r\n3")


def test_a_large_response_that_was_slow_to_come_is_not_cut(running, monkeypatch):
    """The time in which it is to be read begins when it is written, not with the request."""
    monkeypatch.setattr(channel_module, "UNREAD_LIMIT_S", 1.0)

    def slow(environ, start_response):
        time.sleep(1.2)
        return application(environ, start_response)

    running.worker.servers[0].application = slow
    running.connections.max_unread_bytes = 10 * LARGE
    with running.connect() as client:
        client.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        time.sleep(1.3)  # some sweeps pass before the client reads

        assert len(read_to_end(client)) > LARGE


def test_bytes_of_a_client_that_is_gone_before_100_continue_are_not_held(running, monkeypatch):
    entered, go = threading.Event(), threading.Event()
    advance = channel_module.Channel._advance

    def advance_later(channel):
        entered.set()
        go.wait()
        advance(channel)

    monkeypatch.setattr(channel_module.Channel, "_advance", advance_later)
    with running.connect() as client:
        client.sendall(HEAD + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
        entered.wait()
        reset(client)
    time.sleep(0.05)
    go.set()
    eventually(lambda: not running.connections.channels)

    assert running.connections.held_bytes == 0


def test_http_1_0_is_told_once_whether_the_connection_is_kept(new_running):
    running = new_running(keepalive=0)
    response = running.response_to(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

    assert response.lower().count(b"\r\nconnection:") == 1
    assert b"\r\nConnection: close\r\n" in response


def test_a_connection_is_idle_only_since_its_response_was_read(running):
    running.connections.keepalive_s = 0.2
    running.connections.max_unread_bytes = 10 * LARGE
    with running.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: any(c.total_outbufs_len for c in running.connections.channels))
        time.sleep(0.3)
        left = LARGE  # less the head, which is read with the next response
        while left:
            left -= len(client.recv(left)) or LARGE
        time.sleep(0.1)
        response = exchanged(client, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3")

    assert b"HTTP/1.1 200 " in response


def test_a_failure_of_the_application_has_no_body_for_head(running):
    response = running.response_to(b"HEAD /fails HTTP/1.1\r\nHost: x\r\n\r\n")

    assert response.startswith(b"HTTP/1.1 500 ")
    assert response.endswith(b"\r\n\r\n")


def test_a_client_whose_responses_have_one_size_is_not_cut_off(running, monkeypatch):
    """Its progress is that each of them is read, not that less and less is unread."""
    monkeypatch.setattr(channel_module, "UNREAD_LIMIT_S", 0.3)
    running.connections.max_unread_bytes = 10 * LARGE
    with running.connect() as client:
        for _ in range(4):
            client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.2)
            left = LARGE
            while left > 0:
                left -= len(client.recv(left)) or pytest.fail("the response was cut")
        response = exchanged(client, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3")

    assert b"HTTP/1.1 200 " in response
