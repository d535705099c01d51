"""Shutdown and crashes of processes under load."""

import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from settings import RESERVED_THREADS
from tests.support.deployment import Deploy, Deployment, Gateway
from tests.support.load import OWN, Load
from tests.support.records import correlation_ids
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

SLOW_S = 4.0
TIMEOUT_S = 8.0
SLOW_ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": SLOW_S}).encode()


def test_a_stopping_gateway_answers_pending_requests_and_rejects_new_ones(deploy: Deploy):
    slots = 8
    env = {
        "WEB_CONCURRENCY": "1",
        "THREADS": str(slots + RESERVED_THREADS),
        "QUEUE_LENGTH": "0",
        "REPLY_TIMEOUT_S": str(TIMEOUT_S),
    }
    with deploy(env=env) as deployment, ThreadPoolExecutor(slots) as clients:
        gateway = deployment.gateway
        waiting = [clients.submit(gateway.post, "/orders", SLOW_ORDER) for _ in range(slots)]
        # All orders are published, and all slots taken.
        assert wait_until(lambda: len(issued_ids(deployment)) == slots, SLOW_S)
        overloaded = gateway.post("/echo", b"x")
        assert overloaded.json["type"] == "/problems/overloaded"
        assert overloaded.json["sent"] == "no"
        assert gateway.get("/livez").status == 200

        stopped_s = time.monotonic()
        gateway.child.terminate()
        rejected = wait_until(lambda: is_rejected(gateway), 2)
        # Connections that no worker accepts any more must not hang either.
        late = [is_rejected(gateway) for _ in range(3)]
        statuses = Counter(future.result().status for future in waiting)
        code = gateway.child.wait(TIMEOUT_S + 5)
        took_s = time.monotonic() - stopped_s

        assert statuses == {201: slots}
        assert rejected
        assert all(late)
        assert code == 0
        assert took_s < TIMEOUT_S + 2


def is_rejected(gateway: Gateway) -> bool:
    """Return whether a new request is refused by the kernel or gets a 503."""
    try:
        # Longer than the second after which the kernel repeats an unanswered handshake.
        response = gateway.request("POST", "/echo", b"late", timeout_s=3)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    assert response.status in (200, 503)
    return response.status == 503 and response.json["type"] == "/problems/shutting-down"


def test_no_request_fails_when_replies_and_responders_are_replaced_under_load(deploy: Deploy):
    with (
        deploy(replies=2, responders=2, env={"REPLY_TIMEOUT_S": "20"}) as deployment,
        Load([deployment.gateway], keep_alive=False) as load,
    ):
        for name in ("replies", "responder"):
            for process in deployment.named(name):
                load.wait_for(50)
                assert process.child.stop(15) == 0
                deployment.start(name)
        load.wait_for(50)

    assert set(load.outcomes) == {OWN}


def test_in_broadcast_mode_a_killed_replies_process_delays_no_request(deploy: Deploy):
    # Below the session timeout of 6 s, for which a group would not read the partitions.
    env = {"REPLIES_MODE": "broadcast", "REPLY_TIMEOUT_S": "4"}
    with deploy(replies=2, env=env) as deployment, ThreadPoolExecutor(8) as clients:
        for process in deployment.named("replies"):
            responses = [clients.submit(deployment.gateway.post, "/echo", b"x") for _ in range(100)]
            process.child.kill()
            assert Counter(response.result().status for response in responses) == {200: 100}
            successor = deployment.start("replies")
            assert wait_until(lambda: "storing replies" in successor.logged(), 30)  # noqa: B023


def test_a_killed_worker_disconnects_only_its_own_clients(deploy: Deploy):
    clients_n = 16
    env = {"WEB_CONCURRENCY": "2", "REPLY_TIMEOUT_S": str(TIMEOUT_S)}
    with deploy(env=env) as deployment, ThreadPoolExecutor(clients_n) as clients:
        gateway = deployment.gateway
        issued_before = issued_ids(deployment)

        def order(_: int) -> int | str:
            try:
                return gateway.post("/orders", SLOW_ORDER).status
            except OSError as error:
                return type(error).__name__

        waiting = [clients.submit(order, n) for n in range(clients_n)]
        # All orders are published; the handlers sleep.
        assert wait_until(lambda: len(issued_ids(deployment) - issued_before) == clients_n, SLOW_S)
        os.kill(gateway.worker_pids()[0], signal.SIGKILL)
        statuses = Counter(future.result() for future in waiting)
        ids = issued_ids(deployment) - issued_before

        assert set(statuses) - {201} <= {"RemoteDisconnected", "ConnectionResetError"}
        assert 0 < statuses[201] < clients_n
        # The replies for the disconnected clients can be fetched too, from any worker.
        for correlation_id in ids:
            path = f"/replies/{correlation_id}"
            assert wait_until(lambda: fetched(gateway, path) == 201, 10)  # noqa: B023


def issued_ids(deployment: Deployment) -> set[str]:
    """Return the correlation ids of all orders in Kafka."""
    return set(correlation_ids(deployment, "orders"))


def fetched(gateway: Gateway, path: str) -> int | None:
    try:
        return gateway.get(path).status
    except OSError:
        return None  # the killed worker's successor is starting


@pytest.mark.parametrize(
    ("web", "workers"),
    [("gunicorn --preload wsgi:app", 2), ("gunicorn wsgi:app", 5)],
    ids=["preload", "more workers than cores"],
)
def test_the_first_request_to_each_worker_is_answered(deploy: Deploy, web: str, workers: int):
    env = {"WEB_CONCURRENCY": str(workers), "REPLY_TIMEOUT_S": "10"}
    with deploy(gateways=0, web=web, env=env) as deployment:
        # No readiness request and no probe has reached this gateway.
        gateway = deployment.start_gateway()
        assert wait_until(gateway.responds, 30)

        statuses: Counter[int] = Counter()
        nodes: set[str] = set()

        def all_workers_have_responded() -> bool:
            responses = clients.map(lambda _: gateway.post("/echo", b"first"), range(4 * workers))
            for response in responses:
                statuses[response.status] += 1
                nodes.add(response.correlation_id.partition(".")[0])
            return len(nodes) == workers

        with ThreadPoolExecutor(4 * workers) as clients:
            # Workers begin to accept one after the other.
            assert wait_until(all_workers_have_responded, 30), nodes
        assert set(statuses) == {200}, statuses
