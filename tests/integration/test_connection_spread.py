"""New connections are spread evenly over the workers, and wait for none that is stuck."""

import http.client
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.standin import StandIn, post, send, standin
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

#: Time that a stuck worker may cost all of STUCK_CONNECTIONS together, in seconds.
STUCK_LIMIT_S, STUCK_CONNECTIONS = 3.0, 20


def worker_that_answers(connection: http.client.HTTPConnection) -> str:
    """Return the node of a correlation id: the name of a worker process."""
    connection.request("POST", "/echo", b"x")
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    return response.headers["X-Correlation-ID"].partition(".")[0]


@contextmanager
def open_connections(server: StandIn, number: int) -> Iterator[Counter[str]]:
    """Open *number* connections at once and yield how many each worker has."""
    with ExitStack() as stack:
        connections = [
            http.client.HTTPConnection(LOOPBACK, server.port, timeout=10) for _ in range(number)
        ]
        for connection in connections:
            stack.callback(connection.close)
            connection.connect()
        with ThreadPoolExecutor(number) as pool:
            yield Counter(pool.map(worker_that_answers, connections))


def connections_of(server: StandIn) -> int:
    """Return how many connections the workers have not closed yet."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    open_states, port = {"01", "08"}, f"{server.port:04X}"  # ESTABLISHED, CLOSE_WAIT
    return sum(
        line.split()[1].endswith(f":{port}") and line.split()[3] in open_states for line in lines
    )


def wait_until_closed(server: StandIn) -> None:
    """Wait until no connection is left: workers would take earlier ones into account."""
    assert wait_until(lambda: connections_of(server) == 0, 20)


def serves(server: StandIn, workers: int) -> bool:
    """Return whether all *workers* answer."""
    with open_connections(server, 4 * workers) as per_worker:
        return len(per_worker) == workers


@pytest.mark.parametrize("workers", [2, 4])
def test_each_worker_gets_its_fair_share_of_the_connections(tmp_path: Path, workers: int):
    with standin(tmp_path, WEB_CONCURRENCY=str(workers)) as server:
        assert wait_until(lambda: serves(server, workers), 20)
        for number in (16, 64, 110):
            wait_until_closed(server)
            with open_connections(server, number) as per_worker:
                fair = number / workers
                assert len(per_worker) == workers
                assert max(per_worker.values()) <= fair * 1.1 + 2, per_worker
                assert min(per_worker.values()) >= fair * 0.9 - 2, per_worker


def test_a_worker_that_joins_gets_new_connections_until_all_have_as_many(tmp_path: Path):
    with standin(tmp_path, WEB_CONCURRENCY="2") as server:
        assert wait_until(lambda: serves(server, 2), 20)
        wait_until_closed(server)
        with open_connections(server, 40) as before:
            server.signal_master(signal.SIGTTIN)
            joined: set[str] = set()

            def has_joined() -> bool:
                with open_connections(server, 4) as per_worker:
                    joined.update(per_worker.keys() - before.keys())
                return bool(joined)

            assert wait_until(has_joined, 20)
            with open_connections(server, 20) as after:
                assert after[joined.pop()] >= 14, (before, after)


def test_connections_do_not_wait_for_a_worker_that_is_stuck(tmp_path: Path):
    with standin(tmp_path, WEB_CONCURRENCY="2") as server:
        assert wait_until(lambda: serves(server, 2), 20)
        stuck = server.worker_pids()[0]
        os.kill(stuck, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            outcomes = {send(server, post("/echo")) for _ in range(STUCK_CONNECTIONS)}
            took_s = time.monotonic() - began_s
        finally:
            os.kill(stuck, signal.SIGCONT)

        assert outcomes == {"200"}
        assert took_s < STUCK_LIMIT_S
