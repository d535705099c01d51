"""The gunicorn worker, in this process: shutdown, failures, threads, settings."""

import select
import socket
import threading
from io import BytesIO
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from gateway.server import worker as worker_module
from gateway.server.http import connections as connections_module
from gateway.server.threads import RequestThreads
from gateway.server.worker import GatewayWorker
from tests.fakes import eventually
from tests.unit.gateway.server.running_worker import (
    HEAD,
    KEEP_ALIVE,
    THREADS,
    application,
    exchanged,
    read_to_end,
    request,
)

# Shutdown


@pytest.mark.parametrize("sent", [HEAD, request(100, sent=50)], ids=["head", "body"])
def test_a_request_that_is_incomplete_at_shutdown_gets_a_503(running, sent):
    with running.connect() as client:
        client.sendall(sent)
        eventually(lambda: running.connections.held_bytes)
        running.stop()
        response = read_to_end(client)

    assert response.startswith(b"HTTP/1.1 503 ")
    assert b'"type": "/problems/shutting-down"' in response
    assert b'"sent": "no"' in response
    eventually(running.ended)


def test_a_request_whose_rest_comes_soon_after_sigterm_is_answered(running):
    with running.connect() as client:
        client.sendall(request(100, sent=50))
        eventually(lambda: running.connections.held_bytes)
        running.stop()
        client.sendall(b"x" * 50)

        assert read_to_end(client).endswith(b"\r\n\r\n100")


def test_a_kept_connection_closes_with_its_next_response_after_sigterm(running, monkeypatch):
    monkeypatch.setattr(connections_module, "DRAIN_READ_S", 5.0)
    with running.connect() as client:
        exchanged(client, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3")
        running.stop()
        eventually(lambda: running.connections.draining)
        client.sendall(KEEP_ALIVE % 4 + b"xxxx")
        response = read_to_end(client)

    assert b"\r\nConnection: close\r\n" in response
    assert response.endswith(b"\r\n\r\n4")
    eventually(running.ended)


def test_with_a_drain_delay_a_signalled_worker_serves_until_the_server_stops(running):
    running.worker.drain_delay_s = 60.0
    running.stop()
    served = running.response_to(request(3))
    running.worker.shutdown_state.stopping.set()
    running.stop()

    assert served.endswith(b"\r\n\r\n3")
    eventually(running.ended)


def test_with_a_drain_delay_a_worker_that_is_signalled_alone_stops_after_it(running, monkeypatch):
    monkeypatch.setattr(worker_module, "DIRECT_STOP_DELAY_S", 0.1)
    running.worker.drain_delay_s = 0.1
    running.stop()

    eventually(running.ended)


def test_a_worker_without_its_arbiter_drains(running):
    running.worker.ppid = -1
    eventually(running.ended)


def test_after_max_requests_the_worker_ends(new_running):
    running = new_running(max_requests=3)
    for _ in range(3):
        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")

    eventually(running.ended)


def test_heartbeats_are_sent_at_an_interval_and_not_with_each_request(running, monkeypatch):
    heartbeats = []
    monkeypatch.setattr(running.worker.tmp, "notify", lambda: heartbeats.append(1))
    monkeypatch.setattr(worker_module, "HEARTBEAT_INTERVAL_S", 3_600.0)
    running.response_to(request(3))
    heartbeats.clear()
    for _ in range(20):
        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    assert len(heartbeats) <= 1

    monkeypatch.setattr(worker_module, "HEARTBEAT_INTERVAL_S", 0.01)
    running.worker.next_heartbeat_s = 0.0
    for _ in range(20):
        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: len(heartbeats) > 2)


def test_a_thread_that_outlives_the_drain_writes_to_no_file_of_others(
    new_running, monkeypatch, warnings
):
    """The pipe that wakes the main loop may have the file descriptor of another file by then."""
    monkeypatch.setattr(worker_module, "END_THREADS_S", 0.1)
    running = new_running(graceful_timeout=0)
    entered, go_on = threading.Event(), threading.Event()

    def slow(environ, start_response):
        entered.set()
        go_on.wait(10)
        return application(environ, start_response)

    server, threads = running.worker.servers[0], running.worker.threads
    server.application = slow
    with running.connect() as client:
        client.sendall(request(3))
        entered.wait(10)
        running.stop()
        eventually(running.ended)
        others = [socket.socketpair() for _ in range(4)]
        go_on.set()
        eventually(lambda: not threads.threads)

        exchanged(client, b"", b"\r\n\r\n3")
    ends = [end for pair in others for end in pair]
    assert select.select(ends, [], [], 0)[0] == []
    assert warnings == []
    server.trigger.close()
    for open_one in (*ends, *running.connections.channels):
        open_one.close()


# Failures of the application, threads, settings


@pytest.mark.filterwarnings("ignore")
class Unusual(BaseException):
    """Neither an Exception nor one that ends an interpreter."""


@pytest.mark.parametrize("failure", [ValueError(), SystemExit(1), Unusual(), GeneratorExit()])
def test_an_exception_of_any_kind_frees_thread_and_connection(running, failure):
    running.worker.servers[0].application = lambda environ, start: application(
        environ | {"test.failure": failure}, start
    )
    for _ in range(3 * THREADS):
        response = running.response_to(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n")
        assert response.startswith(b"HTTP/1.1 500 ") or not isinstance(failure, Exception)

    assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: not running.connections.channels)


@pytest.mark.parametrize("available", [1, 3])
def test_threads_that_cannot_be_started_are_told_and_done_without(monkeypatch, available):
    left = [available]
    start = threading.Thread.start

    def start_if_any(thread):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_any)
    errors: list[str] = []
    log = SimpleNamespace(error=lambda text, *args: errors.append(text % args))
    if available == 1:
        with pytest.raises(SystemExit, match="cannot start threads"):
            RequestThreads(5, log)
    else:
        threads = RequestThreads(5, log)
        eventually(lambda: threads.active_count == 0)
        threads.shutdown()
    assert errors[0].startswith(f"threads={available} of THREADS=5 could be started")


def test_with_keepalive_0_a_connection_is_closed_after_its_response(new_running):
    running = new_running(keepalive=0)
    with running.connect() as client:
        eventually(lambda: running.connections.channels)
        client.sendall(KEEP_ALIVE % 3 + b"xxx")
        response = read_to_end(client)

    assert b"\r\nConnection: close\r\n" in response
    assert response.endswith(b"\r\n\r\n3")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"certfile": "x", "keyfile": "y"}, "not supported; use a proxy for them"),
        ({"proxy_protocol": True}, "not supported; use a proxy for them"),
        ({"pre_request": lambda worker, req: None}, "pre_request is not supported"),
        ({"post_request": lambda worker, req: None}, "post_request is not supported"),
    ],
)
def test_unsupported_settings_end_the_start(settings, error):
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)

    with pytest.raises(SystemExit, match=error):
        GatewayWorker.check_config(cfg, Logger(cfg))


def test_gunicorns_default_settings_are_supported():
    cfg = Config()
    GatewayWorker.check_config(cfg, Logger(cfg))


@pytest.mark.parametrize(("method", "logged_bytes"), [("GET", 5_000), ("HEAD", 0)])
def test_the_access_log_has_the_bytes_of_a_response_sent_as_a_file(
    new_running, monkeypatch, method, logged_bytes
):
    sent: list[int] = []
    monkeypatch.setattr(Logger, "access", lambda _, resp, *rest: sent.append(resp.sent))

    def file_application(environ, start_response):
        start_response("200 OK", [("Content-Length", "5000")])
        return environ["wsgi.file_wrapper"](BytesIO(b"x" * 5_000))

    running = new_running(wsgi=file_application)
    running.response_to(f"{method} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    eventually(lambda: sent == [logged_bytes])
