"""A deploy under load: who waits is answered, who comes is told, and nothing is lost."""

import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaConsumer, TopicPartition

from settings import RESERVED_THREADS
from tests.support.deployment import Deploy, Deployment, Gateway
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

SLOW_S = 4.0
TIMEOUT_S = 8.0
SLOW_ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": SLOW_S}).encode()


def test_a_stopped_gateway_answers_all_who_wait_and_turns_away_who_comes(
    deploy: Deploy,
):
    slots = 8
    env = {
        "WEB_CONCURRENCY": "1",
        "THREADS": str(slots + RESERVED_THREADS),
        "REPLY_TIMEOUT_S": str(TIMEOUT_S),
    }
    with deploy(env=env) as deployment, ThreadPoolExecutor(slots) as clients:
        gateway = deployment.gateway
        waiting = [clients.submit(gateway.post, "/orders", SLOW_ORDER) for _ in range(slots)]
        # Full means that all of them are in flight, and in Kafka.
        assert wait_until(lambda: len(issued_ids(deployment)) == slots, SLOW_S)
        overloaded = gateway.post("/echo", b"x")
        assert overloaded.json["type"] == "/problems/overloaded"
        assert overloaded.json["sent"] == "no"
        assert gateway.get("/livez").status == 200

        stopped_s = time.monotonic()
        gateway.child.terminate()
        newcomer = wait_until(lambda: refused(gateway), 2)
        # Also those who come when nobody accepts any more: they must not be left hanging.
        latecomers = [refused(gateway) for _ in range(3)]
        statuses = Counter(future.result().status for future in waiting)
        code = gateway.child.wait(TIMEOUT_S + 5)
        took_s = time.monotonic() - stopped_s

        assert statuses == {201: slots}
        assert newcomer
        assert all(latecomers)
        assert code == 0
        assert took_s < TIMEOUT_S + 2


def refused(gateway: Gateway) -> bool:
    """Say whether a newcomer is turned away: by the kernel, or with 503."""
    try:
        # Above the second after which a kernel repeats a handshake that was not taken up.
        response = gateway.request("POST", "/echo", b"late", timeout_s=3)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    assert response.status in (200, 503)
    return response.status == 503 and response.json["type"] == "/problems/shutting-down"


def test_nothing_is_lost_when_replies_and_responders_are_replaced_under_load(
    deploy: Deploy,
):
    env = {"REPLY_TIMEOUT_S": "20"}
    with deploy(replies=2, responders=2, env=env) as deployment:
        endings: Counter[object] = Counter()
        stop = threading.Event()

        def client(number: int) -> None:
            n = 0
            while not stop.is_set():
                body = f"{number}-{n}".encode()
                response = deployment.gateway.post("/echo", body)
                endings["own" if response.body == body else response.status] += 1
                n += 1

        clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in clients:
            thread.start()
        try:
            for name in ("replies", "responder"):
                for process in deployment.named(name):
                    served = endings.total()
                    assert wait_until(lambda: endings.total() > served + 50, 30)  # noqa: B023
                    assert process.child.stop(15) == 0
                    deployment.start(name)
            served = endings.total()
            assert wait_until(lambda: endings.total() > served + 50, 60)
        finally:
            stop.set()
            for thread in clients:
                thread.join()

        assert set(endings) == {"own"}


def test_in_broadcast_mode_the_death_of_a_replies_process_goes_unnoticed(
    deploy: Deploy,
):
    # Far below the session timeout of 6 s, for which a group would leave its partitions alone.
    env = {"REPLIES_MODE": "broadcast", "REPLY_TIMEOUT_S": "4"}
    with deploy(replies=2, env=env) as deployment, ThreadPoolExecutor(8) as clients:
        for process in deployment.named("replies"):
            responses = [clients.submit(deployment.gateway.post, "/echo", b"x") for _ in range(100)]
            process.child.kill()
            assert Counter(response.result().status for response in responses) == {200: 100}
            successor = deployment.start("replies")
            assert wait_until(lambda: "carrying replies" in successor.logged(), 30)  # noqa: B023


def test_a_killed_worker_takes_only_its_own_clients_with_it(deploy: Deploy):
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
        # The handlers have taken all of them up, and sleep.
        assert wait_until(lambda: len(issued_ids(deployment) - issued_before) == clients_n, SLOW_S)
        os.kill(gateway.worker_pids()[0], signal.SIGKILL)
        endings = Counter(future.result() for future in waiting)
        ids = issued_ids(deployment) - issued_before

        assert set(endings) - {201} <= {"RemoteDisconnected", "ConnectionResetError"}
        assert 0 < endings[201] < clients_n
        # Also the replies to those who were cut off can be fetched, from whoever answers now.
        for correlation_id in ids:
            path = f"/replies/{correlation_id}"
            assert wait_until(lambda: fetched(gateway, path) == 201, 10)  # noqa: B023


def issued_ids(deployment: Deployment) -> set[str]:
    """Return the ids of all orders in Kafka."""
    settings = deployment.settings
    consumer = KafkaConsumer(
        deployment.prefix + "orders",
        **settings.kafka_connection(),
        auto_offset_reset="earliest",
        fetch_max_wait_ms=5,
    )
    try:
        partitions = [
            TopicPartition(deployment.prefix + "orders", number)
            for number in consumer.partitions_for_topic(deployment.prefix + "orders")
        ]
        ends = consumer.end_offsets(partitions)
        found: set[str] = set()
        while len(found) < sum(ends.values()):
            for records in consumer.poll(timeout_ms=500).values():
                found |= {dict(r.headers)["correlation-id"].decode() for r in records}
        return found
    finally:
        consumer.close()


def fetched(gateway: Gateway, path: str) -> int | None:
    try:
        return gateway.get(path).status
    except OSError:
        return None  # the killed worker's successor is not there yet


@pytest.mark.parametrize(
    ("web", "workers"),
    [("gunicorn --preload wsgi:app", 2), ("gunicorn wsgi:app", 5)],
    ids=["preload", "more workers than cores"],
)
def test_the_first_request_to_each_worker_is_answered(deploy: Deploy, web: str, workers: int):
    env = {"WEB_CONCURRENCY": str(workers), "REPLY_TIMEOUT_S": "10"}
    with deploy(web=web, env=env) as deployment:
        # Made by nobody before: no readiness was asked of this one.
        gateway = deployment.start_gateway()
        assert wait_until(lambda: listens(gateway), 30)

        endings: Counter[int] = Counter()
        nodes: set[str] = set()

        def all_have_answered() -> bool:
            responses = clients.map(lambda _: gateway.post("/echo", b"first"), range(4 * workers))
            for response in responses:
                endings[response.status] += 1
                nodes.add(response.correlation_id.partition(".")[0])
            return len(nodes) == workers

        with ThreadPoolExecutor(4 * workers) as clients:
            # They begin to listen one after the other; until then others answer for them.
            assert wait_until(all_have_answered, 30), nodes
        assert set(endings) == {200}, endings


def listens(gateway: Gateway) -> bool:
    try:
        return gateway.get("/livez").status == 200
    except OSError:
        return False
