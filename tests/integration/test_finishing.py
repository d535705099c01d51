"""A server that stops, and a worker that is replaced, under load: nobody is reset."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from settings import RESERVED_THREADS
from tests.integration.crowd import Ask, Crowd, ask_on_kept_alive_connections, ask_once
from tests.integration.standin import StandIn, ask, post, standin
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

SLOTS = 4
WAITERS = 2 * SLOTS  # in two workers
NEWCOMERS = 12
ROUNDS = 5


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


ASKING: dict[bool, Ask] = {False: ask_once, True: ask_on_kept_alive_connections}
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
        Crowd(server, NEWCOMERS, ASKING[kept_alive]) as crowd,
    ):
        for _ in range(ROUNDS):
            served, started = crowd.endings["200"], len(server.worker_pids())
            replace(server)
            assert wait_until(lambda: len(server.worker_pids()) > started, 10)  # noqa: B023
            assert wait_until(lambda: crowd.endings["200"] > served + 100, 10)  # noqa: B023

    assert set(crowd.endings) == {"200"}, crowd.endings
