"""The gunicorn worker, in this process: limits on its clients, and the responses they get."""

import errno
import os
import signal
import socket
import threading
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from gateway.server import worker as worker_module
from gateway.server.http import channel as channel_module
from gateway.server.http import connections as connections_module
from gateway.server.http import listener as listener_module
from gateway.server.http import refusals
from gateway.server.http.refusals import Limits
from gateway.server.shutdown import ShutdownState
from gateway.server.threads import RequestThreads
from gateway.server.worker import GatewayWorker
from tests.fakes import eventually

MAX_BODY_BYTES = 1_000
THREADS = 2
MAX_CONNECTIONS = 8
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
KEEP_ALIVE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
LARGE = 50_000_000


class FailingListener(socket.socket):
    """A listening socket that cannot accept while *failures* are left."""

    failures = 0

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def application(environ, start_response):
    """Respond with the length of the body, or with a large body, or fail."""
    if environ["PATH_INFO"] == "/fails":
        raise environ["test.failure"]
    body = environ["wsgi.input"].read()
    response = b"x" * LARGE if environ["PATH_INFO"] == "/large" else b"%d" % len(body)
    start_response("200 OK", [("Content-Length", str(len(response)))])
    return [response]


class Running:
    """A worker whose main loop runs in a thread, on the socket of *listener*."""

    def __init__(self, listener, **settings):
        cfg = Config()
        defaults = {"threads": THREADS, "keepalive": 5, "worker_connections": MAX_CONNECTIONS}
        for name, value in (defaults | settings).items():
            cfg.set(name, value)
        self.address = listener.getsockname()
        # gunicorn wraps each socket.
        sockets = [SimpleNamespace(sock=listener)]
        self.worker = GatewayWorker(1, os.getppid(), sockets, None, 30, cfg, Logger(cfg))
        self.worker.limits = Limits(MAX_BODY_BYTES, 20.0)
        self.worker.shutdown_state = ShutdownState()
        self.worker.wsgi = application
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()
        eventually(lambda: self.worker.servers)

    @property
    def connections(self):
        return self.worker.connections

    def connect(self):
        return socket.create_connection(self.address, 10)

    def response_to(self, request):
        with self.connect() as client:
            client.sendall(request)
            return read_to_end(client)

    def stop(self):
        self.worker.handle_exit(signal.SIGTERM, None)

    def ended(self):
        return not self._thread.is_alive()

    def close(self):
        self.worker.drain_delay_s = 0.0
        self.stop()
        self._thread.join(10)
        assert self.ended()
        self.worker.tmp.close()


def read_to_end(client):
    return b"".join(iter(lambda: client.recv(65_536), b""))


def exchanged(client, request, end):
    """Send *request*; return the response once it ends with *end*."""
    client.sendall(request)
    response = b""
    while not response.endswith(end):
        received = client.recv(65_536)
        assert received, response
        response += received
    return response


@pytest.fixture
def listener():
    with FailingListener() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        yield found


@pytest.fixture
def warnings(monkeypatch):
    """Everything that is logged from WARNING up."""
    found: list[str] = []
    for name in ("warning", "error", "exception"):
        monkeypatch.setattr(Logger, name, lambda _, text, *args: found.append(text % args))
    return found


@pytest.fixture
def new_running(listener, warnings, monkeypatch):
    """Run a worker with other gunicorn settings."""
    monkeypatch.setattr(worker_module, "SWEEP_INTERVAL_S", 0.02)
    monkeypatch.setattr(connections_module, "DRAIN_READ_S", 0.2)
    monkeypatch.setattr(channel_module, "LINGERING_CLOSE_S", 0.2)
    found = []

    def run(**settings):
        found.append(Running(listener, **settings))
        return found[-1]

    yield run
    for running in found:
        running.close()


@pytest.fixture
def running(new_running):
    return new_running()


def request(size, sent=None):
    return HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * (size if sent is None else sent)


# Responses that are not read


def test_a_client_that_does_not_read_its_response_holds_no_thread(running, monkeypatch):
    running.connections.max_held_bytes = 10 * LARGE
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
    running.connections.max_held_bytes = 10 * LARGE
    clients = [running.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: len(warnings) == 3)

    assert all(text.endswith("its response is not read; closing") for text in warnings)
    eventually(lambda: not running.connections.channels)
    for client in clients:
        client.close()


def test_unread_responses_have_a_limit_of_memory(running, warnings):
    running.connections.max_held_bytes = LARGE
    clients = [running.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: sum("unread_bytes=" in text for text in warnings) == 2)

    assert len(running.connections.channels) == 1
    for client in clients:
        client.close()


def test_pipelined_requests_are_answered_one_after_the_other_as_they_are_read(running):
    """Else the responses to one packet of requests could fill the memory."""
    running.connections.max_held_bytes = 10 * LARGE
    with running.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        eventually(lambda: any(c.total_outbufs_len for c in running.connections.channels))
        [channel] = running.connections.channels

        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
        assert channel.responses <= 1
        assert channel.total_outbufs_len < 2 * LARGE


# Incomplete requests


def test_incomplete_requests_hold_at_most_one_body_per_thread(running):
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


# Too many connections


def test_at_the_limit_the_longest_silent_connection_is_closed(running):
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
    assert warnings == ["no connection can be accepted: Too many open files"] * 3


def test_while_file_descriptors_are_missing_the_worker_pauses(running, listener, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("gateway.server.http.listener.time.sleep", pauses.append)
    listener.failures = 1
    running.response_to(request(3))

    assert pauses == [listener_module.OUT_OF_FILES_PAUSE_S]


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
