"""The gunicorn worker, in this process: limits on its clients, and the responses they get."""

import errno
import os
import signal
import socket
import threading
from functools import partial
from selectors import DefaultSelector

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from gateway.server import connection as connection_module
from gateway.server import http
from gateway.server import worker as worker_module
from gateway.server.connection import Connection
from gateway.server.refusals import Limits
from gateway.server.shutdown import ShutdownState
from gateway.server.worker import GatewayWorker
from tests.fakes import eventually, raising, record_calls

MAX_BODY_BYTES = 1_000
THREADS = 2
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
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
        for name, value in ({"threads": THREADS, "keepalive": 5} | settings).items():
            cfg.set(name, value)
        self.address = listener.getsockname()
        self.worker = GatewayWorker(1, os.getppid(), [listener], None, 30, cfg, Logger(cfg))
        self.worker.limits = Limits(MAX_BODY_BYTES, 20.0)
        self.worker.shutdown_state = ShutdownState()
        self.worker.wsgi = application
        self.worker.tpool = self.worker.get_thread_pool()
        self.worker.poller = DefaultSelector()
        self.worker.method_queue.init()
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()

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
        self.worker.alive = False
        self.worker.method_queue.defer(int)  # wakes the loop
        self._thread.join(10)
        assert self.ended()
        self.worker.tpool.shutdown()
        self.worker.tmp.close()


def read_to_end(client):
    return b"".join(iter(lambda: client.recv(65_536), b""))


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
def running(listener, warnings, monkeypatch):
    monkeypatch.setattr(worker_module, "SWEEP_INTERVAL_S", 0.02)
    monkeypatch.setattr(worker_module, "DRAIN_READ_S", 0.2)
    monkeypatch.setattr(worker_module, "LINGERING_CLOSE_S", 0.2)
    found = Running(listener)
    yield found
    found.close()


def request(size, sent=None):
    return HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * (size if sent is None else sent)


def test_a_client_that_does_not_read_its_response_is_disconnected(running, warnings, monkeypatch):
    monkeypatch.setattr(http, "WRITE_TIMEOUT_S", 0.2)
    clients = [running.connect() for _ in range(THREADS)]
    for client in clients:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: sum("does not read its response" in text for text in warnings) == THREADS)

    # Their threads and connections are free again.
    assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: running.worker.nr_conns == 0)
    for client in clients:
        client.close()


def test_incomplete_requests_hold_at_most_one_body_per_thread(running):
    slow = [running.connect() for _ in range(THREADS)]
    for client in slow:
        client.sendall(request(MAX_BODY_BYTES, sent=MAX_BODY_BYTES - 100))
    eventually(lambda: running.worker._held_bytes > THREADS * (MAX_BODY_BYTES - 100))
    refused = running.response_to(request(MAX_BODY_BYTES, sent=500))
    for client in slow:
        client.sendall(b"x" * 100)
    responses = [read_to_end(client) for client in slow]

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"type": "/problems/overloaded"' in refused
    assert b'"sent": "no"' in refused
    assert [response.rpartition(b"\r\n")[2] for response in responses] == [b"1000"] * THREADS
    assert running.worker._held_bytes == 0
    assert running.response_to(request(MAX_BODY_BYTES)).endswith(b"\r\n\r\n1000")
    for client in slow:
        client.close()


def test_without_file_descriptors_new_connections_wait_and_others_are_served(
    running, listener, warnings
):
    with running.connect() as before:
        before.sendall(request(MAX_BODY_BYTES, sent=10))
        eventually(lambda: running.worker._held_bytes)
        listener.failures = 3
        response = running.response_to(request(3))
        before.sendall(b"x" * (MAX_BODY_BYTES - 10))
        assert read_to_end(before).endswith(b"\r\n\r\n1000")

    assert response.endswith(b"\r\n\r\n3")
    assert warnings == ["no connection can be accepted: Too many open files"] * 3


def test_while_file_descriptors_are_missing_the_worker_pauses(running, listener, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("gateway.server.worker.time.sleep", pauses.append)
    listener.failures = 1
    running.response_to(request(3))

    assert pauses == [worker_module.OUT_OF_FILES_PAUSE_S]


@pytest.mark.parametrize("sent", [HEAD, request(100, sent=50)], ids=["head", "body"])
def test_a_request_that_is_incomplete_at_shutdown_gets_a_503(running, sent):
    with running.connect() as client:
        client.sendall(sent)
        eventually(lambda: running.worker._held_bytes)
        running.stop()
        response = read_to_end(client)

    assert response.startswith(b"HTTP/1.1 503 ")
    assert b'"type": "/problems/shutting-down"' in response
    assert b'"sent": "no"' in response
    eventually(running.ended)


def test_a_request_whose_rest_comes_soon_after_sigterm_is_answered(running):
    with running.connect() as client:
        client.sendall(request(100, sent=50))
        eventually(lambda: running.worker._held_bytes)
        running.stop()
        client.sendall(b"x" * 50)

        assert read_to_end(client).endswith(b"\r\n\r\n100")


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


def test_heartbeats_are_sent_at_an_interval_and_not_with_each_request(running, monkeypatch):
    monkeypatch.setattr(worker_module, "HEARTBEAT_INTERVAL_S", 3_600.0)
    running.worker._next_heartbeat_s = 0.0
    heartbeats = []
    monkeypatch.setattr(running.worker.tmp, "notify", lambda: heartbeats.append(1))
    for _ in range(20):
        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    assert heartbeats == [1]

    monkeypatch.setattr(worker_module, "HEARTBEAT_INTERVAL_S", 0.01)
    running.worker._next_heartbeat_s = 0.0
    for _ in range(20):
        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: len(heartbeats) > 2)


KEEP_ALIVE = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def handed_over(running, monkeypatch):
    """A list with an element for each request that a thread got from the main loop."""
    monkeypatch.setattr(connection_module, "NEXT_REQUEST_WAIT_MS", 5_000)
    return record_calls(monkeypatch, running.worker, "_hand_over")


def exchanged(client, request, end):
    """Send *request*; return the response once it ends with *end*."""
    client.sendall(request)
    response = b""
    while not response.endswith(end):
        response += client.recv(65_536)
    return response


def test_a_connection_with_many_requests_is_idle_once(running, monkeypatch):
    monkeypatch.setattr(connection_module, "NEXT_REQUEST_WAIT_MS", 0)
    with running.connect() as client:
        for size in range(1, 6):
            exchanged(client, KEEP_ALIVE % size + b"x" * size, b"\r\n\r\n%d" % size)
        eventually(lambda: len(running.worker.keepalived_conns) == 1)
        client.sendall(KEEP_ALIVE % 3)
        eventually(lambda: running.worker._reading)
        assert not running.worker.keepalived_conns
        exchanged(client, b"xxx", b"\r\n\r\n3")
        eventually(lambda: len(running.worker.keepalived_conns) == 1)
    eventually(lambda: running.worker.nr_conns == 0)
    assert not running.worker.keepalived_conns


def test_a_connection_that_is_reported_but_has_no_data_is_expected_again(running, monkeypatch):
    receive = Connection.receive
    nothing_yet = [None, None]

    def receive_later(conn):
        return nothing_yet.pop() if nothing_yet else receive(conn)

    monkeypatch.setattr(Connection, "receive", receive_later)
    with running.connect() as client:
        eventually(lambda: running.worker.keepalived_conns)
        exchanged(client, KEEP_ALIVE % 3 + b"xxx", b"\r\n\r\n3")
    assert not nothing_yet


def still_discards(conn, expected_bytes):
    return conn.discard_bytes == expected_bytes


def test_after_a_refusal_the_request_is_discarded_until_the_client_has_the_response(running):
    with running.connect() as client:
        client.sendall(KEEP_ALIVE % (2 * MAX_BODY_BYTES))
        for _ in range(5):
            eventually(lambda: running.worker._lingering)
            [conn] = running.worker._lingering
            left_bytes = conn.discard_bytes
            client.sendall(b"x" * 100)
            eventually(partial(still_discards, conn, left_bytes - 100))
        assert read_to_end(client).startswith(b"HTTP/1.1 413")
    eventually(lambda: running.worker.nr_conns == 0)


def test_requests_in_quick_succession_bypass_the_main_loop(running, handed_over):
    with running.connect() as client:
        for size in range(1, 6):
            response = exchanged(client, KEEP_ALIVE % size + b"x" * size, b"\r\n\r\n%d" % size)
            assert response.count(b"HTTP/1.1 200") == 1

    # The first one, and the second one, which is the first that comes soon.
    assert len(handed_over) == 2
    eventually(lambda: running.worker.nr_conns == 0)


@pytest.fixture
def quick(running, handed_over):
    """A client whose next request bypasses the main loop."""
    with running.connect() as client:
        for _ in range(2):
            exchanged(client, KEEP_ALIVE % 1 + b"x", b"\r\n\r\n1")
        yield client


def test_the_rest_of_an_incomplete_request_is_read_by_the_main_loop(running, handed_over, quick):
    quick.sendall(KEEP_ALIVE % 3 + b"x")
    eventually(lambda: running.worker._reading)
    exchanged(quick, b"xx", b"\r\n\r\n3")

    assert len(handed_over) == 3


def test_two_requests_at_once_are_both_answered(quick):
    two = KEEP_ALIVE % 2 + b"xx" + KEEP_ALIVE % 3 + b"xxx"
    response = exchanged(quick, two, b"\r\n\r\n3")

    assert response.count(b"HTTP/1.1 200") == 2
    assert response.index(b"\r\n\r\n2") < response.index(b"\r\n\r\n3")


def test_a_quick_request_that_is_too_large_is_refused(quick):
    quick.sendall(KEEP_ALIVE % (MAX_BODY_BYTES + 1))
    assert read_to_end(quick).startswith(b"HTTP/1.1 413")


def test_not_all_threads_wait_for_quick_clients(running, handed_over, monkeypatch):
    monkeypatch.setattr(connection_module, "NEXT_REQUEST_WAIT_MS", 60_000)
    with running.connect() as first, running.connect() as second, running.connect() as third:
        for client in (first, second) * 2:
            exchanged(client, KEEP_ALIVE % 1 + b"x", b"\r\n\r\n1")
        # Each of the others may hold a thread for longer than this test waits.
        exchanged(third, KEEP_ALIVE % 1 + b"x", b"\r\n\r\n1")


def test_a_worker_that_drains_waits_for_quick_clients_no_longer(running, handed_over, monkeypatch):
    monkeypatch.setattr(connection_module, "NEXT_REQUEST_WAIT_MS", 100)
    with running.connect() as client:
        for _ in range(2):
            exchanged(client, KEEP_ALIVE % 1 + b"x", b"\r\n\r\n1")
        running.stop()
        assert read_to_end(client) == b""
    eventually(running.ended)


# Failures of the application and of hooks


@pytest.fixture
def new_running(listener, warnings):
    """Run a worker with other gunicorn settings."""
    found = []

    def run(**settings):
        found.append(Running(listener, **settings))
        return found[-1]

    yield run
    for running in found:
        running.close()


class Unusual(BaseException):
    """Neither an Exception nor one that ends an interpreter."""


@pytest.mark.parametrize("failure", [ValueError(), SystemExit(1), Unusual(), GeneratorExit()])
def test_an_exception_of_any_kind_frees_thread_and_connection(running, warnings, failure):
    serve = running.worker.wsgi
    running.worker.wsgi = lambda environ, start: serve(environ | {"test.failure": failure}, start)
    for _ in range(3 * THREADS):
        running.response_to(b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n")

    assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: running.worker.nr_conns == 0)
    assert len(warnings) == 3 * THREADS


def test_if_handling_an_error_fails_the_connection_is_closed(running, warnings, monkeypatch):
    monkeypatch.setattr(running.worker, "handle_error", raising(AttributeError("status_code")))
    for _ in range(3 * THREADS):
        assert running.response_to(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n") == b""

    assert running.response_to(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: running.worker.nr_conns == 0)
    assert set(warnings) == {"the request of 127.0.0.1 failed; closing its connection"}


def test_gunicorns_request_hooks_are_called(new_running):
    calls: list[object] = []
    running = new_running(
        pre_request=lambda worker, req: calls.append((worker, req.path)),
        post_request=lambda worker, req, environ, resp: calls.append(
            (worker, req.path, environ["REQUEST_METHOD"], resp.status)
        ),
    )
    running.response_to(request(3))

    worker = running.worker
    eventually(lambda: len(calls) == 2)
    assert calls == [(worker, "/"), (worker, "/", "POST", "200 OK")]


def test_a_request_hook_that_fails_affects_no_other_request(new_running, warnings):
    fail = raising(ValueError())
    running = new_running(post_request=lambda worker, req, environ, resp: fail())
    for _ in range(3 * THREADS):
        assert running.response_to(request(3)).endswith(b"\r\n\r\n3")

    eventually(lambda: warnings == ["the post_request hook failed"] * 3 * THREADS)


def test_with_keepalive_0_a_connection_is_closed_after_its_response(new_running):
    running = new_running(keepalive=0)
    with running.connect() as client:
        eventually(lambda: running.worker.keepalived_conns)
        client.sendall(KEEP_ALIVE % 3 + b"xxx")
        response = read_to_end(client)

    assert b"\r\nConnection: close\r\n" in response
    assert response.endswith(b"\r\n\r\n3")


@pytest.mark.parametrize(
    "settings", [{"certfile": "x", "keyfile": "y"}, {"proxy_protocol": True}], ids=["TLS", "PROXY"]
)
def test_unsupported_settings_end_the_start(settings):
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)

    with pytest.raises(SystemExit, match="not supported; use a proxy for them"):
        GatewayWorker.check_config(cfg, Logger(cfg))
