"""All slots of all workers are used, and a queue takes what exceeds them for a moment."""

import http.client
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from settings import RESERVED_THREADS
from tests.integration.standin import StandIn, send, standin
from tests.integration.test_connection_spread import serves, wait_until_closed
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

WORKERS, SLOTS = 2, 8
#: Of all workers together.
ALL_SLOTS = WORKERS * SLOTS
#: How long each request takes, in seconds.
DELAY_S = 0.5
PROBE = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def environment(queue_length: int, workers: int = WORKERS) -> dict[str, str]:
    return {
        "WEB_CONCURRENCY": str(workers),
        "THREADS": str(SLOTS + RESERVED_THREADS),
        "QUEUE_LENGTH": str(queue_length),
        "REPLY_TIMEOUT_S": "8",  # more than a loaded machine needs
    }


class Client:
    """A client with one connection, kept alive."""

    def __init__(self, server: StandIn, barrier: threading.Barrier) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=30)
        self._barrier = barrier
        self.rejections: list[tuple[float, dict[str, str]]] = []

    def run(self, requests: int, delay_s: float) -> Counter[int]:
        """Send *requests* slow ones, each at the same time as the other clients."""
        statuses: Counter[int] = Counter()
        with closing(self._connection) as connection:
            connection.connect()
            for _ in range(requests):
                self._barrier.wait(30)
                statuses[self._exchange(connection, delay_s)] += 1
        return statuses

    def _exchange(self, connection: http.client.HTTPConnection, delay_s: float) -> int:
        began_s = time.monotonic()
        connection.request("POST", f"/echo?delay_s={delay_s}", b"x")
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            self.rejections.append((time.monotonic() - began_s, json.loads(body)))
        return response.status


def run(server: StandIn, clients: int, requests: int) -> tuple[Counter[int], list[Client]]:
    """Run *clients* at once, and return the statuses of their responses."""
    barrier = threading.Barrier(clients)
    all_clients = [Client(server, barrier) for _ in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client.run, requests, DELAY_S) for client in all_clients]
        probes = Counter(send(server, PROBE) for _ in range(10))
        counts = Counter(status for job in running for status in job.result().elements())
    assert probes == {"200": 10}
    return counts, all_clients


def test_requests_that_do_not_exceed_the_slots_get_no_503(tmp_path: Path):
    """One more or less in a worker, since connections are spread to within one, may wait."""
    with standin(tmp_path, **environment(queue_length=2)) as server:
        assert wait_until(lambda: serves(server, WORKERS), 20)
        wait_until_closed(server)
        statuses, _ = run(server, ALL_SLOTS, requests=3)

    assert statuses == {200: 3 * ALL_SLOTS}


def test_requests_that_do_not_exceed_slots_and_queue_get_no_503(tmp_path: Path):
    with standin(tmp_path, **environment(queue_length=SLOTS, workers=1)) as server:
        statuses, _ = run(server, 2 * SLOTS, requests=2)

    assert statuses == {200: 4 * SLOTS}


def test_requests_above_slots_and_queue_get_a_503_at_once(tmp_path: Path):
    above = 10
    with standin(tmp_path, **environment(queue_length=SLOTS, workers=1)) as server:
        statuses, clients = run(server, 2 * SLOTS + above, requests=1)

    rejections = [rejection for client in clients for rejection in client.rejections]
    assert statuses == {200: 2 * SLOTS, 503: above}
    assert {problem["type"] for _, problem in rejections} == {"/problems/overloaded"}
    assert {problem["sent"] for _, problem in rejections} == {"no"}
    assert sorted(took_s for took_s, _ in rejections)[above // 2] < DELAY_S / 2


def test_a_request_waits_for_a_slot_for_a_share_of_its_deadline(tmp_path: Path):
    env = environment(queue_length=SLOTS, workers=1) | {
        "QUEUE_SHARE": "0.1",
        "REPLY_TIMEOUT_S": "2",
    }
    with standin(tmp_path, **env) as server:
        statuses, clients = run(server, 2 * SLOTS, requests=1)

    rejections = [rejection for client in clients for rejection in client.rejections]
    assert statuses == {200: SLOTS, 503: SLOTS}
    assert all(took_s >= 0.2 for took_s, _ in rejections)
    assert all("none of them ended within 0.2" in problem["detail"] for _, problem in rejections)


def test_as_many_clients_as_slots_and_queue_keep_their_connections(tmp_path: Path):
    """Beside the connections that may be slow or idle."""
    clients = 300
    with (
        standin(tmp_path, **environment(queue_length=clients, workers=1)) as server,
        ExitStack() as stack,
    ):
        connections = [
            stack.enter_context(closing(http.client.HTTPConnection(LOOPBACK, server.port)))
            for _ in range(clients)
        ]
        for connection in connections:
            connection.connect()
        statuses: Counter[int] = Counter()
        for connection in connections * 2:
            connection.request("POST", "/echo", b"x")
            response = connection.getresponse()
            response.read()
            statuses[response.status] += 1

    assert statuses == {200: 2 * clients}
