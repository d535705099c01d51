"""Whichever replica Kafka hands a reply to, each client gets its own."""

import http.client
import re
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.deployment import Deploy, Gateway, Process, exchange
from tools.devstack.ports import LOOPBACK

pytestmark = pytest.mark.e2e

CLIENTS = 48
REQUESTS = 20_000
TAKEN = re.compile(r"stored for nodes: (.*)")


def test_every_answer_is_its_own_whichever_replica_took_the_reply(
    deploy: Deploy, record_property: Callable[[str, object], None]
):
    # Twice the default timeout: the point is whose answers come, on a machine that may be slow.
    env = {"REPLY_TIMEOUT_S": "20"}
    with deploy(gateways=2, replies=2, responders=2, env=env) as deployment:
        gateways = deployment.all_gateways
        endings, nodes = _many_requests(gateways)
        takers = [_stopped(process) for process in deployment.named("replies")]

    assert endings == {"own": REQUESTS}
    # Replies process i belongs to the same replica as gateway i.
    crossed = sum(
        taken
        for replica, taker in enumerate(takers)
        for node, taken in _stored_by_node(taker).items()
        if node in nodes[1 - replica]
    )
    record_property("replies taken by the other replica", crossed)
    assert crossed > REQUESTS / 10


def _many_requests(gateways: list[Gateway]) -> tuple[Counter[str], list[set[str]]]:
    """Send all requests; return how they ended and the nodes that waited, for each gateway."""
    endings: Counter[str] = Counter()
    nodes: list[set[str]] = [set() for _ in gateways]
    lock = threading.Lock()

    def client(number: int) -> None:
        replica = number % len(gateways)
        connection = http.client.HTTPConnection(LOOPBACK, gateways[replica].port, timeout=60)
        for n in range(number, REQUESTS, CLIENTS):
            body = f"request {n} of client {number}".encode() * (1 + n % 20)
            response = exchange(connection, "POST", "/echo", body)
            own = response.status == 200 and response.body == body
            ending = (
                "own" if own else "mixed up" if response.status == 200 else str(response.status)
            )
            with lock:
                endings[ending] += 1
                nodes[replica].add(response.correlation_id.partition(".")[0])
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return endings, nodes


def _stopped(process: Process) -> Process:
    assert process.child.stop(10) == 0
    return process


def _stored_by_node(process: Process) -> dict[str, int]:
    found = TAKEN.search(process.logged())
    assert found is not None, process.logged()
    pairs = (pair.split() for pair in found[1].split(", "))
    return {node: int(count) for node, count in pairs}
