"""The gateway's gunicorn worker, in this process: what bounds its clients, and what they hear."""

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

from gateway.server import worker as worker_module
from gateway.server.http_response import HttpResponse
from gateway.server.shutdown import ShutdownState
from gateway.server.worker import GatewayWorker, Limits
from tests.fakes import eventually

MAX_BODY_BYTES = 1_000
THREADS = 2
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
LARGE = 50_000_000


class ScarceListener(socket.socket):
    """A listening socket that cannot accept while *failures* are left."""

    failures = 0

    def accept(self):
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def application(environ, start_response):
    """Answer with the length of the body, or with very much."""
    body = environ["wsgi.input"].read()
    answer = b"x" * LARGE if environ["PATH_INFO"] == "/large" else b"%d" % len(body)
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


class Running:
    """A worker whose main loop turns in a thread, on the socket of *listener*."""

    def __init__(self, listener):
        cfg = Config()
        cfg.set("threads", THREADS)
        cfg.set("keepalive", 5)
        self.address = listener.getsockname()
        self.worker = GatewayWorker(1, os.getppid(), [listener], None, 30, cfg, Logger(cfg))
        self.worker.limits = Limits(MAX_BODY_BYTES, 20.0)
        self.worker.ending = ShutdownState()
        self.worker.wsgi = application
        self.worker.tpool = self.worker.get_thread_pool()
        self.worker.poller = DefaultSelector()
        self.worker.method_queue.init()
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()

    def connect(self):
        return socket.create_connection(self.address, 10)

    def ask(self, request):
        with self.connect() as client:
            client.sendall(request)
            return read_to_end(client)

    def stop(self):
        self.worker.handle_exit(signal.SIGTERM, None)

    def ended(self):
        return not self._thread.is_alive()

    def close(self):
        self.worker.alive = False
        self._thread.join(10)
        assert self.ended()
        self.worker.tpool.shutdown()
        self.worker.tmp.close()


def read_to_end(client):
    return b"".join(iter(lambda: client.recv(65_536), b""))


@pytest.fixture
def listener():
    with ScarceListener() as found:
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
    monkeypatch.setattr(worker_module, "SWEEP_S", 0.02)
    monkeypatch.setattr(worker_module, "FINISH_S", 0.2)
    monkeypatch.setattr(worker_module, "LINGERING_CLOSE_S", 0.2)
    found = Running(listener)
    yield found
    found.close()


def request(size, sent=None):
    return HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * (size if sent is None else sent)


def test_a_client_that_does_not_read_its_response_is_given_up(running, warnings, monkeypatch):
    monkeypatch.setattr(HttpResponse, "limit_s", 0.2)
    rude = [running.connect() for _ in range(THREADS)]
    for client in rude:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    eventually(lambda: sum("does not read its response" in text for text in warnings) == THREADS)

    # Its thread is free again, and so is its place.
    assert running.ask(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: running.worker.nr_conns == 0)
    for client in rude:
        client.close()


def test_requests_that_are_not_whole_hold_no_more_than_a_body_for_each_thread(running):
    slow = [running.connect() for _ in range(THREADS)]
    for client in slow:
        client.sendall(request(MAX_BODY_BYTES, sent=MAX_BODY_BYTES - 100))
    eventually(lambda: running.worker._held_bytes > THREADS * (MAX_BODY_BYTES - 100))
    refused = running.ask(request(MAX_BODY_BYTES, sent=500))
    for client in slow:
        client.sendall(b"x" * 100)
    answers = [read_to_end(client) for client in slow]

    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"type": "/problems/overloaded"' in refused
    assert b'"sent": "no"' in refused
    assert [answer.rpartition(b"\r\n")[2] for answer in answers] == [b"1000"] * THREADS
    assert running.worker._held_bytes == 0
    assert running.ask(request(MAX_BODY_BYTES)).endswith(b"\r\n\r\n1000")
    for client in slow:
        client.close()


def test_without_file_descriptors_newcomers_wait_and_nobody_else_is_harmed(
    running, listener, warnings
):
    with running.connect() as before:
        before.sendall(request(MAX_BODY_BYTES, sent=10))
        eventually(lambda: running.worker._held_bytes)
        listener.failures = 3
        answer = running.ask(request(3))
        before.sendall(b"x" * (MAX_BODY_BYTES - 10))
        assert read_to_end(before).endswith(b"\r\n\r\n1000")

    assert answer.endswith(b"\r\n\r\n3")
    assert warnings == ["no connection can be accepted: Too many open files"] * 3


def test_while_file_descriptors_are_missing_the_worker_pauses(running, listener, monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("gateway.server.worker.time.sleep", pauses.append)
    listener.failures = 1
    running.ask(request(3))

    assert pauses == [worker_module.OUT_OF_FILES_PAUSE_S]


@pytest.mark.parametrize("sent", [HEAD, request(100, sent=50)], ids=["head", "body"])
def test_a_request_that_is_half_sent_at_a_stop_is_told_so(running, sent):
    with running.connect() as client:
        client.sendall(sent)
        eventually(lambda: running.worker._held_bytes)
        running.stop()
        answer = read_to_end(client)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"type": "/problems/shutting-down"' in answer
    assert b'"sent": "no"' in answer
    eventually(running.ended)


def test_a_request_whose_rest_comes_soon_after_the_stop_is_answered(running):
    with running.connect() as client:
        client.sendall(request(100, sent=50))
        eventually(lambda: running.worker._held_bytes)
        running.stop()
        client.sendall(b"x" * 50)

        assert read_to_end(client).endswith(b"\r\n\r\n100")


def test_with_a_drain_delay_a_worker_that_others_stop_serves_on_until_the_server_stops(running):
    running.worker.drain_delay_s = 60.0
    running.stop()
    served = running.ask(request(3))
    running.worker.ending.stopping.set()
    running.stop()

    assert served.endswith(b"\r\n\r\n3")
    eventually(running.ended)


def test_with_a_drain_delay_a_worker_that_is_stopped_alone_ends_in_the_end(running, monkeypatch):
    monkeypatch.setattr(worker_module, "AFTER_YOU_S", 0.1)
    running.worker.drain_delay_s = 0.1
    running.stop()

    eventually(running.ended)


def test_the_arbiter_hears_of_a_worker_soon_and_not_with_each_request(running, monkeypatch):
    monkeypatch.setattr(worker_module, "NOTICE_PAUSE_S", 3_600.0)
    running.worker._next_notice_s = 0.0
    noticed = []
    monkeypatch.setattr(running.worker.tmp, "notify", lambda: noticed.append(1))
    for _ in range(20):
        assert running.ask(request(3)).endswith(b"\r\n\r\n3")
    assert noticed == [1]

    monkeypatch.setattr(worker_module, "NOTICE_PAUSE_S", 0.01)
    running.worker._next_notice_s = 0.0
    for _ in range(20):
        assert running.ask(request(3)).endswith(b"\r\n\r\n3")
    eventually(lambda: len(noticed) > 2)


KEPT = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def handed_over(running, monkeypatch):
    """Each request that a thread got from the main loop."""
    found: list[bytes] = []
    hand_over = running.worker._hand_over

    def noted(conn, verdict):
        found.append(conn.address)
        hand_over(conn, verdict)

    monkeypatch.setattr(running.worker, "_hand_over", noted)
    monkeypatch.setattr(worker_module, "SOON_MS", 5_000)
    return found


def exchanged(client, request, ending):
    """Send *request*, and return what comes up to *ending*."""
    client.sendall(request)
    answer = b""
    while not answer.endswith(ending):
        answer += client.recv(65_536)
    return answer


def test_who_asks_again_and_again_is_one_whose_next_request_is_waited_for(running, monkeypatch):
    monkeypatch.setattr(worker_module, "SOON_MS", 0)
    with running.connect() as client:
        for size in range(1, 6):
            exchanged(client, KEPT % size + b"x" * size, b"\r\n\r\n%d" % size)
        eventually(lambda: len(running.worker.keepalived_conns) == 1)
        client.sendall(KEPT % 3)
        eventually(lambda: running.worker._reading)
        assert not running.worker.keepalived_conns
        exchanged(client, b"xxx", b"\r\n\r\n3")
        eventually(lambda: len(running.worker.keepalived_conns) == 1)
    eventually(lambda: running.worker.nr_conns == 0)
    assert not running.worker.keepalived_conns


def test_a_client_that_is_told_of_and_has_sent_nothing_is_waited_for(running, monkeypatch):
    received = worker_module._received
    nothing_yet = [None, None]

    def later(sock):
        return nothing_yet.pop() if nothing_yet else received(sock)

    monkeypatch.setattr(worker_module, "_received", later)
    with running.connect() as client:
        eventually(lambda: running.worker.keepalived_conns)
        exchanged(client, KEPT % 3 + b"xxx", b"\r\n\r\n3")
    assert not nothing_yet


def has_left(parting, so_many_bytes):
    return parting.discard_bytes == so_many_bytes


def test_who_was_refused_is_listened_to_until_it_has_heard_of_it(running):
    with running.connect() as client:
        client.sendall(KEPT % (2 * MAX_BODY_BYTES))
        for _ in range(5):
            eventually(lambda: running.worker._parting)
            [parting] = running.worker._parting
            left_bytes = parting.discard_bytes
            client.sendall(b"x" * 100)
            eventually(partial(has_left, parting, left_bytes - 100))
        assert read_to_end(client).startswith(b"HTTP/1.1 413")
    eventually(lambda: running.worker.nr_conns == 0)


def test_who_asks_again_soon_is_answered_past_the_main_loop(running, handed_over):
    with running.connect() as client:
        for size in range(1, 6):
            answer = exchanged(client, KEPT % size + b"x" * size, b"\r\n\r\n%d" % size)
            assert answer.count(b"HTTP/1.1 200") == 1

    # The first one, and the second one, which is the first that comes soon.
    assert len(handed_over) == 2
    eventually(lambda: running.worker.nr_conns == 0)


def test_a_request_of_which_a_part_comes_soon_is_waited_for_by_the_main_loop(running, handed_over):
    with running.connect() as client:
        for _ in range(2):
            exchanged(client, KEPT % 1 + b"x", b"\r\n\r\n1")
        client.sendall(KEPT % 3 + b"x")
        eventually(lambda: running.worker._reading)
        exchanged(client, b"xx", b"\r\n\r\n3")

    assert len(handed_over) == 3


def test_two_requests_at_once_are_both_answered_past_the_main_loop_or_not(running, handed_over):
    with running.connect() as client:
        for _ in range(2):
            exchanged(client, KEPT % 1 + b"x", b"\r\n\r\n1")
        two = KEPT % 2 + b"xx" + KEPT % 3 + b"xxx"
        answer = exchanged(client, two, b"\r\n\r\n3")

    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b"\r\n\r\n2") < answer.index(b"\r\n\r\n3")


def test_a_request_that_is_too_large_is_refused_however_soon_it_comes(running, handed_over):
    with running.connect() as client:
        for _ in range(2):
            exchanged(client, KEPT % 1 + b"x", b"\r\n\r\n1")
        client.sendall(KEPT % (MAX_BODY_BYTES + 1))
        assert read_to_end(client).startswith(b"HTTP/1.1 413")


def test_there_is_always_a_thread_that_waits_for_nobody(running, handed_over, monkeypatch):
    monkeypatch.setattr(worker_module, "SOON_MS", 60_000)
    with running.connect() as first, running.connect() as second, running.connect() as third:
        for client in (first, second) * 2:
            exchanged(client, KEPT % 1 + b"x", b"\r\n\r\n1")
        # Longer than anybody waits here, the others may keep a thread each.
        exchanged(third, KEPT % 1 + b"x", b"\r\n\r\n1")


def test_a_worker_that_finishes_waits_no_longer_than_that(running, handed_over, monkeypatch):
    monkeypatch.setattr(worker_module, "SOON_MS", 100)
    with running.connect() as client:
        for _ in range(2):
            exchanged(client, KEPT % 1 + b"x", b"\r\n\r\n1")
        running.stop()
        assert read_to_end(client) == b""
    eventually(running.ended)
