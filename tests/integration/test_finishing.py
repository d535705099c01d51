"""A server that stops, and a worker that is replaced, under load: nobody is reset."""

import http.client
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devstack.ports import LOOPBACK
from devstack.waiting import wait_until
from settings import RESERVED_THREADS
from tests.integration.standin import StandIn, ask, post, standin

pytestmark = pytest.mark.integration

SLOTS = 4
WAITERS = 2 * SLOTS  # in two workers
NEWCOMERS = 12
ROUNDS = 5


class Crowd:
    """Clients that come one after the other, each over a connection of its own, and never stop."""

    def __init__(self, server: StandIn, clients: int, kept_alive: bool = False) -> None:
        self._server = server
        self._ask = ask_on_kept_alive_connections if kept_alive else ask_once
        self._stopping = threading.Event()
        self.endings: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._come) for _ in range(clients)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _come(self) -> None:
        while not self._stopping.is_set():
            for ending in self._ask(self._server):
                self.endings[ending] += 1
                if ending == "ConnectionRefusedError":
                    return
                if self._stopping.is_set():
                    break


def ask_once(server: StandIn) -> Iterator[str]:
    yield ask(server, post("/echo", b"x" * 200))


def ask_on_kept_alive_connections(server: StandIn) -> Iterator[str]:
    """Use one connection for as long as the server keeps it."""
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=10)
    try:
        while True:
            connection.request("POST", "/echo", b"x")
            response = connection.getresponse()
            response.read()
            yield str(response.status)
            if response.headers["Connection"] == "close":
                return
    except OSError as error:
        yield type(error).__name__
    finally:
        connection.close()


def wait_for_reply(server: StandIn) -> str:
    """Return how a slow request ends; where too many are in a worker, try the other one."""
    while (ending := ask(server, post("/echo?delay_s=4"))) == "503":
        continue
    return ending


def is_full(server: StandIn) -> bool:
    """Say whether newcomers hear that all slots are taken, or do not even get a connection."""
    endings = (ask(server, post("/echo"), 0.5) for _ in range(8))
    first = next(endings)
    return first == "TimeoutError" or (first == "503" and set(endings) == {"503"})


SIGNALLED: dict[str, Callable[[StandIn], None]] = {
    "the master alone": lambda server: server.signal_master(signal.SIGTERM),
    "every process": lambda server: server.child.terminate(),
}


@pytest.mark.parametrize("signalled", SIGNALLED)
@pytest.mark.parametrize("connections", [100, SLOTS], ids=["slots full", "queue full"])
def test_whoever_comes_while_the_server_stops_is_answered_or_refused(
    tmp_path: Path, signalled: str, connections: int
):
    env = {"WEB_CONCURRENCY": "2", "THREADS": str(SLOTS + RESERVED_THREADS)}
    options = f"--worker-connections {connections}"
    newcomers: Counter[str] = Counter()
    waiters: Counter[str] = Counter()
    for _ in range(ROUNDS):
        with standin(tmp_path, options, **env) as server, ThreadPoolExecutor(WAITERS) as clients:
            slow = [clients.submit(wait_for_reply, server) for _ in range(WAITERS)]
            assert wait_until(lambda: is_full(server), 5)
            with Crowd(server, NEWCOMERS) as crowd:
                assert wait_until(lambda: connections == SLOTS or crowd.endings["503"] > 10, 5)
                SIGNALLED[signalled](server)
                assert server.child.wait(30) == 0
            newcomers += crowd.endings
            waiters += Counter(future.result() for future in slow)

    assert set(newcomers) <= {"200", "503", "ConnectionRefusedError"}, newcomers
    assert newcomers["ConnectionRefusedError"] == ROUNDS * NEWCOMERS
    # Whoever got in is answered; the others tried until they were refused.
    assert set(waiters) <= {"200", "ConnectionRefusedError"}, waiters
    assert waiters["200"] >= SLOTS * ROUNDS


REPLACED: dict[str, tuple[str, Callable[[StandIn], None]]] = {
    "reload": ("", lambda server: server.signal_master(signal.SIGHUP)),
    "one worker": ("", lambda server: os.kill(server.worker_pids()[-1], signal.SIGTERM)),
    "max requests": ("--max-requests 50", lambda server: None),
}


@pytest.mark.parametrize("kept_alive", [False, True], ids=["new connections", "kept alive"])
@pytest.mark.parametrize("how", REPLACED)
def test_nobody_notices_that_a_worker_is_replaced(tmp_path: Path, how: str, kept_alive: bool):
    options, replace = REPLACED[how]
    with (
        standin(tmp_path, options, WEB_CONCURRENCY="2") as server,
        Crowd(server, NEWCOMERS, kept_alive) as crowd,
    ):
        for _ in range(ROUNDS):
            served, started = crowd.endings["200"], len(server.worker_pids())
            replace(server)
            assert wait_until(lambda: len(server.worker_pids()) > started, 10)  # noqa: B023
            assert wait_until(lambda: crowd.endings["200"] > served + 100, 10)  # noqa: B023

    assert set(crowd.endings) == {"200"}, crowd.endings
