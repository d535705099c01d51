"""Requests above the in-flight limit wait for a slot, and hold no thread meanwhile."""

import socket
import threading
import time
from contextlib import ExitStack

import pytest

from gateway.clients.admission import Admission, Queueing, SlotWait
from gateway.clients.client import ANONYMOUS
from gateway.problems import Overloaded
from gateway.server import threads as threads_module
from gateway.server.request_queue import QueueLimits
from tests.fakes import eventually
from tests.unit.gateway.server.running_worker import exchanged, read_to_end

SLOTS, QUEUE = 2, 3
GET = b"GET %s HTTP/1.1\r\nHost: x\r\nX-Client: %s\r\n\r\n"
TIMEOUT_S = 20.0


class Gateway:
    """An application with slots, whose requests end when the test says so."""

    def __init__(self):
        self.admission = Admission(SLOTS)
        self.go_on = threading.Semaphore(0)
        self.reply_timeout_s = TIMEOUT_S
        #: Paths that were called with a slot, and those that were rejected.
        self.served: list[str] = []
        self.rejected: list[str] = []
        self.queued_s: list[float] = []

    def takes_slot(self, method, path):
        return path != "/livez"

    def slot_wait(self, method, path, headers):
        if path == "/unknown":
            return None
        return SlotWait(headers.get("X_CLIENT", ""), self.reply_timeout_s)

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        status = "200 OK"
        if path not in ("/livez", "/unknown"):
            status = self.exchange(path, Queueing.of(environ))
        body = path.encode()
        start_response(status, [("Content-Length", str(len(body)))])
        return [body]

    def exchange(self, path, queueing):
        self.queued_s.append(queueing.queued_s)
        try:
            with self.admission.admit(ANONYMOUS, queueing):
                self.served.append(path)
                assert self.go_on.acquire(timeout=10)
        except Overloaded:
            self.rejected.append(path)
            return "503 Overloaded"
        return "200 OK"


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def serving(new_running, gateway):
    # Two threads more than slots, as four are in a deployment.
    return new_running(
        wsgi=gateway,
        slot_rules=gateway,
        queue_limits=QueueLimits(QUEUE, 0.5),
        threads=SLOTS + 2,
        worker_connections=50,
    )


@pytest.fixture
def send(serving):
    """Send a request over a new connection, and return the connection."""
    with ExitStack() as stack:

        def connect_and_send(path, client="one"):
            connection = stack.enter_context(serving.connect())
            connection.sendall(GET % (path.encode(), client.encode()))
            return connection

        yield connect_and_send


def status_of(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65_536)
    return int(head.split()[1])


def waiting(serving):
    return len(serving.worker.threads.waiting)


def fill(send, serving, gateway, queued=QUEUE):
    """Take all slots, then add *queued* requests to the queue."""
    in_slots = [send(f"/slot{n}") for n in range(SLOTS)]
    eventually(lambda: len(gateway.served) == SLOTS)
    in_queue = []
    for n in range(queued):
        in_queue.append(send(f"/queued{n}"))
        eventually(lambda: waiting(serving) == len(in_queue))
    return in_slots, in_queue


def release(gateway, number=1):
    gateway.go_on.release(number)


def test_requests_up_to_slots_and_queue_are_served_in_order(send, serving, gateway):
    in_slots, in_queue = fill(send, serving, gateway)
    assert len(gateway.served) == SLOTS
    for n in range(QUEUE):
        release(gateway)
        eventually(lambda: len(gateway.served) == SLOTS + n + 1)  # noqa: B023
    release(gateway, SLOTS)

    assert [status_of(client) for client in in_slots + in_queue] == [200] * (SLOTS + QUEUE)
    assert gateway.served[SLOTS:] == ["/queued0", "/queued1", "/queued2"]
    assert gateway.rejected == []
    assert min(gateway.queued_s[SLOTS:]) > 0.0
    assert max(gateway.queued_s[:SLOTS]) == 0.0
    eventually(lambda: gateway.admission._in_flight == 0)


def test_a_client_that_sends_again_at_once_finds_the_slot_that_it_had(
    new_running, gateway, monkeypatch
):
    running = new_running(wsgi=gateway, slot_rules=gateway, threads=2 * SLOTS)
    monkeypatch.setattr(running.connections.log, "access", lambda *args: time.sleep(0.01))
    release(gateway, 20)
    with running.connect() as client:
        for n in range(20):
            exchanged(client, GET % (b"/%d" % n, b"one"), b"/%d" % n)

    assert gateway.rejected == []


def test_kept_alive_connections_use_all_slots_again_and_again(send, serving, gateway):
    release(gateway, 1_000)
    # A client may send again before the thread that answered it has released its slot.
    clients = [send(f"/first{n}") for n in range(QUEUE)]
    for _ in range(20):
        assert [status_of(client) for client in clients] == [200] * len(clients)
        for client in clients:
            client.sendall(GET % (b"/again", b"one"))
    assert [status_of(client) for client in clients] == [200] * len(clients)

    assert gateway.rejected == []
    eventually(lambda: gateway.admission._in_flight == 0)


def test_above_the_queue_requests_are_rejected_at_once(send, serving, gateway):
    fill(send, serving, gateway)

    assert [status_of(send(f"/above{n}")) for n in range(5)] == [503] * 5
    assert waiting(serving) == QUEUE
    release(gateway, SLOTS + QUEUE)


def test_probes_and_unknown_paths_are_answered_while_slots_and_queue_are_full(
    send, serving, gateway
):
    fill(send, serving, gateway)

    assert [status_of(send(path)) for path in ("/livez", "/unknown") * 10] == [200] * 20
    release(gateway, SLOTS + QUEUE)


def test_a_request_whose_time_in_the_queue_is_over_is_rejected(send, serving, gateway):
    gateway.reply_timeout_s = 0.2
    _, in_queue = fill(send, serving, gateway, queued=2)

    assert [status_of(client) for client in in_queue] == [503, 503]
    assert waiting(serving) == 0
    assert all(0.1 <= queued_s < 5.0 for queued_s in gateway.queued_s[SLOTS:])
    assert gateway.rejected == ["/queued0", "/queued1"]
    release(gateway, SLOTS)


def test_a_request_whose_client_has_left_the_queue_is_not_served(send, serving, gateway):
    _, in_queue = fill(send, serving, gateway)
    in_queue[0].close()
    in_queue[1].shutdown(socket.SHUT_WR)
    release(gateway, SLOTS + 1)

    assert b'"type": "/problems/overloaded"' in (told := read_to_end(in_queue[1]))
    assert b'"sent": "no"' in told
    assert status_of(in_queue[2]) == 200
    assert gateway.served[SLOTS:] == ["/queued2"]
    eventually(lambda: gateway.admission._in_flight == 0)


def test_a_full_queue_is_answered_at_shutdown(send, serving, gateway):
    in_slots, in_queue = fill(send, serving, gateway)
    serving.stop()
    eventually(lambda: serving.connections.draining)
    release(gateway, SLOTS + QUEUE)

    assert [status_of(client) for client in in_slots + in_queue] == [200] * (SLOTS + QUEUE)
    eventually(serving.ended)


def test_a_client_with_many_requests_leaves_room_for_others(send, serving, gateway):
    _, in_queue = fill(send, serving, gateway)
    other = send("/other", "two")

    assert status_of(in_queue[-1]) == 503  # its latest makes room
    release(gateway, 2)
    eventually(lambda: "/other" in gateway.served)
    assert gateway.served[SLOTS:] == ["/queued0", "/other"]
    release(gateway, SLOTS + 1)
    assert status_of(other) == 200


def test_a_slot_that_the_application_releases_goes_to_the_queue(send, serving, gateway):
    """Long polls take slots of their own accord."""
    with ExitStack() as polls:
        for _ in range(SLOTS):
            polls.enter_context(gateway.admission.admit())
        client = send("/queued")
        eventually(lambda: waiting(serving) == 1)
    release(gateway)

    assert status_of(client) == 200
    eventually(lambda: gateway.admission._in_flight == 0)


def test_waiting_requests_hold_no_thread(send, serving, gateway):
    fill(send, serving, gateway)

    assert serving.worker.threads.active_count == SLOTS
    release(gateway, SLOTS + QUEUE)


def test_a_failure_of_the_server_frees_the_slot(send, serving, gateway, monkeypatch):
    failed: list[object] = []

    def fail(_, channel):
        failed.append(channel)
        raise ValueError

    monkeypatch.setattr(threads_module._WithSlot, "_answer", fail)
    for n in range(SLOTS + 1):
        send(f"/{n}")
    eventually(lambda: len(failed) == SLOTS + 1 and gateway.admission._in_flight == 0)
    monkeypatch.undo()
    release(gateway)

    assert status_of(send("/after")) == 200


def test_the_access_log_has_the_time_in_the_queue(send, serving, gateway, monkeypatch):
    durations: list[float] = []
    monkeypatch.setattr(
        serving.worker.log, "access", lambda *args: durations.append(args[3].total_seconds())
    )
    fill(send, serving, gateway, queued=1)
    time.sleep(0.2)
    release(gateway, SLOTS + 1)

    eventually(lambda: len(durations) == SLOTS + 1)
    assert min(durations) >= 0.2


def test_a_queue_of_length_0_rejects_at_once(new_running, gateway):
    running = new_running(wsgi=gateway, slot_rules=gateway, threads=SLOTS + 2)
    with ExitStack() as stack:
        for n in range(SLOTS):
            client = stack.enter_context(running.connect())
            client.sendall(GET % (b"/%d" % n, b""))
        eventually(lambda: len(gateway.served) == SLOTS)
        with running.connect() as client:
            assert exchanged(client, GET % (b"/x", b""), b"/x").startswith(b"HTTP/1.1 503 ")
        release(gateway, SLOTS)
