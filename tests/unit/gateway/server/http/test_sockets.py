"""The main loop: what it asks of connections, how often it turns, and what comes early."""

import socket
import threading
import time
from contextlib import ExitStack, closing

import pytest

from gateway.server import worker as worker_module
from gateway.server.http.channel import EARLY_BYTES, Channel
from gateway.server.http.connections import Connections
from gateway.server.http.sockets import Sockets
from tests.fakes import eventually, raising
from tests.unit.gateway.server.running_worker import (
    KEEP_ALIVE,
    LARGE,
    exchanged,
    read_to_end,
    request,
    reset,
)

REQUEST = KEEP_ALIVE % 3 + b"xxx"
#: The end of the response to it.
END = b"\r\n\r\n3"


class Blocking:
    """An application that responds when the test lets it."""

    def __init__(self):
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read()
        self.begun.release()
        self.go_on.acquire(timeout=10)
        response = b"%d" % len(body)
        start_response("200 OK", [("Content-Length", str(len(response)))])
        return [response]


@pytest.fixture
def blocking():
    return Blocking()


@pytest.fixture
def turns(monkeypatch):
    """One item for each turn of the main loop."""
    found: list[int] = []
    turn = Sockets.turn

    def counted(self, timeout_s):
        found.append(1)
        turn(self, timeout_s)

    monkeypatch.setattr(Sockets, "turn", counted)
    return found


@pytest.fixture
def slow_sweep(new_running, monkeypatch):
    """Let no search for slow clients turn the loop, which would do what was left undone."""
    with monkeypatch.context() as patched:
        patched.setattr(worker_module, "SWEEP_INTERVAL_S", 60.0)
        patched.setattr(worker_module, "HEARTBEAT_INTERVAL_S", 60.0)
        yield


def test_idle_connections_are_not_asked_for_each_request(new_running, slow_sweep, monkeypatch):
    running = new_running(worker_connections=100)
    asked: list[Channel] = []
    readable = Channel.readable

    def ask(self):
        asked.append(self)
        return readable(self)

    monkeypatch.setattr(Channel, "readable", ask)
    idle = [running.connect() for _ in range(50)]
    with running.connect() as client:
        exchanged(client, REQUEST, END)
        eventually(lambda: len(running.connections.channels) == 51)
        time.sleep(0.05)
        del asked[:]
        for _ in range(20):
            exchanged(client, REQUEST, END)

    assert len(set(asked)) == 1
    for client in idle:
        client.close()


def test_a_response_that_is_sent_whole_does_not_wake_the_main_loop(new_running, slow_sweep, turns):
    running = new_running()
    woken: list[object] = []
    trigger = running.worker.servers[0].trigger
    pull = trigger.pull_trigger

    def note(thunk=None):
        woken.append(thunk)
        pull(thunk)

    trigger.pull_trigger = note
    with running.connect() as client:
        exchanged(client, REQUEST, END)
        begun = len(turns)
        for _ in range(20):
            time.sleep(0.005)  # so that the thread is done, and nothing comes early
            exchanged(client, REQUEST, END)
        turned = len(turns) - begun

    assert woken == []
    assert turned == 20


def test_a_client_that_closes_its_side_early_gets_its_response(
    new_running, slow_sweep, blocking, turns
):
    running = new_running(wsgi=blocking)
    with running.connect() as client:
        client.sendall(REQUEST)
        blocking.begun.acquire()
        begun = len(turns)
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        turned = len(turns) - begun
        blocking.go_on.release()

        assert read_to_end(client).endswith(END)
    assert turned <= 2  # it is not woken again by what it does not read
    eventually(lambda: not running.connections.channels)


def test_a_client_that_is_gone_early_leaves_no_connection(new_running, slow_sweep, blocking, turns):
    running = new_running(wsgi=blocking)
    client = running.connect()
    client.sendall(REQUEST)
    blocking.begun.acquire()
    begun = len(turns)
    reset(client)
    time.sleep(0.1)
    turned = len(turns) - begun
    blocking.go_on.release()

    eventually(lambda: not running.connections.channels)
    assert turned <= 2


def test_requests_that_come_early_are_answered_in_order(new_running, slow_sweep, blocking, turns):
    running = new_running(wsgi=blocking)
    early = range(10, 20)
    with running.connect() as client:
        client.sendall(REQUEST)
        blocking.begun.acquire()
        begun = len(turns)
        for size in early:
            client.sendall(KEEP_ALIVE % size + b"x" * size)
            time.sleep(0.005)
        time.sleep(0.1)
        turned = len(turns) - begun
        for _ in range(11):
            blocking.go_on.release()
        response = b""
        while not response.endswith(b"\r\n\r\n19"):
            response += client.recv(65_536) or pytest.fail(str(response))

    lengths = [int(part.split(b"\r\n\r\n")[1]) for part in response.split(b"HTTP/1.1 200 OK")[1:]]
    assert lengths == [3, *early]
    assert turned <= 3


def test_a_request_that_came_early_is_answered_although_its_client_has_closed_its_side(
    new_running, slow_sweep, monkeypatch
):
    wake = Channel._wake_main_loop

    def wake_late(self):
        time.sleep(0.005)  # the main loop learns first that the client has closed its side
        wake(self)

    monkeypatch.setattr(Channel, "_wake_main_loop", wake_late)
    running = new_running()
    for _ in range(10):
        with running.connect() as client:
            first = exchanged(client, REQUEST + KEEP_ALIVE % 4 + b"xxxx", END)
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(client).endswith(b"\r\n\r\n4"), first


def test_of_a_request_that_comes_early_a_part_is_received(new_running, slow_sweep, blocking):
    """Else those behind all requests under way would fill the memory."""
    size = 3 * EARLY_BYTES
    running = new_running(wsgi=blocking, max_body_bytes=size)
    with running.connect() as client:
        client.sendall(REQUEST)
        blocking.begun.acquire()
        [channel] = running.connections.channels
        client.sendall(KEEP_ALIVE % size + b"x" * size)
        eventually(lambda: channel._ahead)
        held = len(channel._ahead)
        for _ in range(2):
            blocking.go_on.release()
        response = b""
        while not response.endswith(b"\r\n\r\n%d" % size):
            response += client.recv(65_536) or pytest.fail(str(response))

    assert held <= EARLY_BYTES


def test_a_connection_that_closes_with_its_response_closes_at_once(new_running, slow_sweep):
    assert b"200 OK" in new_running().response_to(request(3))


def test_the_main_loop_sends_what_a_thread_could_not(new_running, slow_sweep):
    running = new_running()
    running.connections.max_unread_bytes = 10 * LARGE

    assert len(running.response_to(b"GET /large HTTP/1.0\r\n\r\n")) > LARGE


def test_connections_that_are_left_to_others_do_not_wake_the_main_loop(
    new_running, slow_sweep, turns, monkeypatch
):
    running = new_running()
    monkeypatch.setattr(Connections, "room", 0)
    begun = len(turns)
    with running.connect() as client:
        exchanged(client, REQUEST, END)

    assert len(turns) - begun < 100  # one for each ms of YIELD_S


def test_a_log_that_fails_does_not_take_off_the_next_request(new_running, monkeypatch):
    """The request was taken off before; another thread may be answering the next one."""
    running = new_running()
    logged, next_is_read = threading.Event(), threading.Event()

    def fail(*args):
        if not logged.is_set():
            logged.set()
            next_is_read.wait(10)
            raise RuntimeError("a fault")

    monkeypatch.setattr(running.connections.log, "access", fail)
    with running.connect() as client:
        first = exchanged(client, REQUEST, END)
        logged.wait(10)
        client.sendall(KEEP_ALIVE % 4 + b"xxxx")
        response = client.recv(65_536)
        next_is_read.set()
        eventually(lambda: not running.worker.threads.queue)
        third = exchanged(client, REQUEST, END)

    assert [b"200 OK" in each for each in (first, response, third)] == [True] * 3


def test_urgent_data_does_not_wake_the_main_loop(new_running, slow_sweep, turns):
    running = new_running()
    with running.connect() as client:
        exchanged(client, REQUEST, END)
        begun = len(turns)
        client.send(b"x", socket.MSG_OOB)
        time.sleep(0.1)
        turned = len(turns) - begun
        response = exchanged(client, REQUEST, END)

    assert b"200 OK" in response
    assert turned <= 1


def test_a_worker_drains_as_soon_as_it_has_max_requests(new_running, slow_sweep):
    running = new_running(max_requests=1)
    with running.connect() as client:
        client.sendall(REQUEST)

        eventually(lambda: running.connections.draining)


def test_a_drain_ends_with_the_last_line_of_the_access_log(new_running, slow_sweep, monkeypatch):
    running = new_running()
    monkeypatch.setattr(running.connections.log, "access", lambda *args: time.sleep(0.05))
    with running.connect() as client:
        exchanged(client, REQUEST, END)
    eventually(lambda: not running.connections.channels)
    running.stop()

    eventually(running.ended)


class Closing:
    """A socket whose events close all others in its table."""

    accepting = False

    def __init__(self, sock, sockets, handled):
        self.socket, self.sockets, self.handled = sock, sockets, handled
        sockets[sock.fileno()] = self

    def readable(self):
        return True

    def writable(self):
        return False

    def handle_read_event(self):
        self.handled.append(1)
        for other in set(self.sockets) - {self.socket.fileno()}:
            del self.sockets[other]


def test_a_socket_that_an_event_of_another_one_closes_is_left_alone():
    handled: list[int] = []
    pairs = [socket.socketpair() for _ in range(2)]
    with closing(Sockets()) as sockets, ExitStack() as stack:
        for ours, theirs in pairs:
            stack.enter_context(ours)
            stack.enter_context(theirs)
            Closing(ours, sockets, handled)
            theirs.send(b"x")
        sockets.turn(1.0)

    assert handled == [1]


def test_a_socket_that_the_system_cannot_watch_now_is_watched_later(monkeypatch):
    handled: list[int] = []
    ours, theirs = socket.socketpair()
    with closing(Sockets()) as sockets, ours, theirs:
        Closing(ours, sockets, handled)
        theirs.send(b"x")
        with monkeypatch.context() as patched:
            patched.setattr(sockets._selector, "register", raising(OSError("no memory")))
            sockets.turn(0.0)
        assert handled == []
        sockets.turn(1.0)

    assert handled == [1]
