"""Shutdown and replacement of workers under load reset no connection."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from settings import RESERVED_THREADS
from tests.integration.endless_clients import EndlessClients, Exchange, send_once, send_until_closed
from tests.integration.standin import StandIn, post, send, standin
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

SLOTS = 4
PENDING = 2 * SLOTS  # in two workers
CLIENTS = 12
#: Stops or replacements in each test; all variants together make twenty.
ROUNDS = 2


def wait_for_reply(server: StandIn) -> str:
    """Return the outcome of a slow request; try again while the worker has no free slot."""
    while (outcome := send(server, post("/echo?delay_s=4"))) == "503":
        continue
    return outcome


def is_full(server: StandIn) -> bool:
    """Return whether all requests get a 503, or none gets a connection."""
    outcomes = (send(server, post("/echo"), 0.5) for _ in range(8))
    first = next(outcomes)
    return first == "TimeoutError" or (first == "503" and set(outcomes) == {"503"})


SIGNALLED: dict[str, Callable[[StandIn], None]] = {
    "the master alone": lambda server: server.signal_master(signal.SIGTERM),
    "every process": lambda server: server.child.terminate(),
}


@pytest.mark.parametrize("signalled", SIGNALLED)
@pytest.mark.parametrize("connections", [100, SLOTS], ids=["slots full", "queue full"])
def test_a_connection_during_shutdown_gets_a_response_or_is_refused(
    tmp_path: Path, signalled: str, connections: int
):
    # Without a queue, in which a request would wait while the other worker has a free slot.
    env = {"WEB_CONCURRENCY": "2", "THREADS": str(SLOTS + RESERVED_THREADS), "QUEUE_LENGTH": "0"}
    options = f"--worker-connections {connections}"
    late: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    for _ in range(ROUNDS):
        with standin(tmp_path, options, **env) as server, ThreadPoolExecutor(PENDING) as pool:
            slow = [pool.submit(wait_for_reply, server) for _ in range(PENDING)]
            assert wait_until(lambda: is_full(server), 5)
            with EndlessClients(server, CLIENTS) as clients:
                assert wait_until(lambda: connections == SLOTS or clients.outcomes["503"] > 10, 5)
                SIGNALLED[signalled](server)
                assert server.child.wait(30) == 0
            late += clients.outcomes
            pending += Counter(future.result() for future in slow)

    assert set(late) <= {"200", "503", "ConnectionRefusedError"}, late
    assert late["ConnectionRefusedError"] == ROUNDS * CLIENTS
    # Pending requests are answered; the others were retried until they were refused.
    assert set(pending) <= {"200", "ConnectionRefusedError"}, pending
    assert pending["200"] >= SLOTS * ROUNDS


EXCHANGES: dict[bool, Exchange] = {False: send_once, True: send_until_closed}
REPLACED: dict[str, tuple[str, Callable[[StandIn], None]]] = {
    "reload": ("", lambda server: server.signal_master(signal.SIGHUP)),
    "one worker": ("", lambda server: os.kill(server.worker_pids()[-1], signal.SIGTERM)),
    "max requests": ("--max-requests 50", lambda server: None),
}


@pytest.mark.parametrize("kept_alive", [False, True], ids=["new connections", "kept alive"])
@pytest.mark.parametrize("how", REPLACED)
def test_a_worker_is_replaced_without_a_failed_request(tmp_path: Path, how: str, kept_alive: bool):
    options, replace = REPLACED[how]
    with (
        standin(tmp_path, options, WEB_CONCURRENCY="2") as server,
        EndlessClients(server, CLIENTS, EXCHANGES[kept_alive]) as clients,
    ):
        for _ in range(ROUNDS):
            served, started = clients.outcomes["200"], len(server.worker_pids())
            replace(server)
            assert wait_until(lambda: len(server.worker_pids()) > started, 10)  # noqa: B023
            assert wait_until(lambda: clients.outcomes["200"] > served + 100, 10)  # noqa: B023

    assert set(clients.outcomes) == {"200"}, clients.outcomes
