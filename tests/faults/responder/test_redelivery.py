"""Duplicate records and redelivery, with several responders that are replaced or killed."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

from rendezvous.contract import Request
from rendezvous.correlation import CorrelationIds, epoch_ms, new_node
from tests.faults.responder.side_effects import JOURNALS, TIMEOUT_S, SideEffectDeployment
from tests.support.deployment import Process, Response
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.parametrize("journal", JOURNALS)]

PARTITIONS = 4
CLIENTS = 12


@pytest.fixture
def deployment(
    kafka: Server, redis_server: Server, tmp_path: Path
) -> Iterator[SideEffectDeployment]:
    with SideEffectDeployment(kafka, redis_server, tmp_path, partitions=PARTITIONS) as deployment:
        yield deployment


@pytest.mark.parametrize("partitions", [(0, 0), (0, 1)], ids=["one partition", "two partitions"])
def test_a_duplicate_record_has_one_effect_and_two_equal_replies(
    deployment: SideEffectDeployment, journal: str, partitions: tuple[int, int]
):
    for _ in range(2):
        deployment.start_responder(journal, EFFECTS_PAUSE_S="1")
    requests = [new_request(deployment) for _ in range(10)]
    publish(deployment, requests, partitions)
    replies = replies_to(deployment, requests)

    ids = {request.correlation_id for request in requests}
    assert deployment.effects.counts() == dict.fromkeys(ids, 1)
    for cid in ids:
        first = replies[cid][0]
        assert set(replies[cid]) == {first}
        stored = deployment.gateway.fetch(cid)
        assert (stored.status, stored.body) == (201, first)


def new_request(deployment: SideEffectDeployment) -> Request:
    deadline_ms = epoch_ms() + round(TIMEOUT_S * 1000)
    return Request(
        CorrelationIds(deployment.secret_key).issue(new_node(), deadline_ms),
        deployment.prefix + "effects",
        deployment.prefix + "replies",
        deadline_ms,
    )


def publish(
    deployment: SideEffectDeployment, requests: list[Request], partitions: tuple[int, int]
) -> None:
    """Append each request once to each of *partitions*."""
    producer = KafkaProducer(**deployment.settings.kafka_connection())
    try:
        for request in requests:
            key, value, headers = request.encode()
            for partition in partitions:
                producer.send(
                    request.topic, value, key=key, headers=headers, partition=partition
                ).get(timeout=20)
    finally:
        producer.close()


def replies_to(deployment: SideEffectDeployment, requests: list[Request]) -> dict[str, list[bytes]]:
    """Return the bodies of the replies by correlation id once there are two or more to each."""
    found: dict[str, list[bytes]] = {request.correlation_id: [] for request in requests}
    consumer = KafkaConsumer(
        deployment.prefix + "replies",
        **deployment.settings.kafka_connection(),
        auto_offset_reset="earliest",
        fetch_max_wait_ms=5,
    )

    def all_there() -> bool:
        for records in consumer.poll(timeout_ms=200).values():
            for record in records:
                found[dict(record.headers)["correlation-id"].decode()].append(record.value)
        # More than two after a rebalance.
        return all(len(bodies) >= 2 for bodies in found.values())

    try:
        assert wait_until(all_there, TIMEOUT_S), deployment.logs()
    finally:
        consumer.close()
    return found


class Clients:
    """Post to /effects from CLIENTS threads until stop()."""

    def __init__(self, deployment: SideEffectDeployment) -> None:
        self.responses: list[Response] = []
        self._gateway = deployment.gateway
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._running = [self._pool.submit(self._post) for _ in range(CLIENTS)]

    def wait_for_more(self, count: int) -> None:
        """Return when *count* more responses have come."""
        goal = len(self.responses) + count
        assert wait_until(lambda: len(self.responses) >= goal, 2 * TIMEOUT_S)

    def stop(self) -> list[Response]:
        """Return all responses once none is pending."""
        self._stop.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()
        return self.responses

    def _post(self) -> None:
        while not self._stop.is_set():
            self.responses.append(self._gateway.post("/effects", b"x"))


def under_load(deployment: SideEffectDeployment, do: Callable[[Clients], None]) -> list[Response]:
    """Return the responses to clients while *do* runs."""
    clients = Clients(deployment)
    try:
        clients.wait_for_more(CLIENTS)
        do(clients)
        clients.wait_for_more(CLIENTS)
    finally:
        responses = clients.stop()
    return responses


def started(deployment: SideEffectDeployment, journal: str, pause_s: str) -> Process:
    """Return a new responder once it has got a request."""
    process = deployment.start_responder(journal, EFFECTS_PAUSE_S=pause_s)
    # Members that join while others leave keep the embedded broker from completing a rebalance.
    assert wait_until(lambda: deployment.effects.has_delivery_to(process), TIMEOUT_S)
    return process


def test_each_request_has_one_effect_while_responders_are_replaced_under_load(
    deployment: SideEffectDeployment, journal: str
):
    responders = [deployment.start_responder(journal, EFFECTS_PAUSE_S="0.05") for _ in range(2)]

    def replace(clients: Clients) -> None:
        for _ in range(5):
            deployment.stop(responders.pop(0))
            responders.append(started(deployment, journal, "0.05"))
            clients.wait_for_more(CLIENTS)

    responses = under_load(deployment, replace)

    assert_one_effect_each(deployment, responses)


def test_no_request_is_lost_while_responders_are_killed_under_load(
    deployment: SideEffectDeployment, journal: str
):
    responders = [deployment.start_responder(journal, EFFECTS_PAUSE_S="0.3") for _ in range(2)]

    def kill(clients: Clients) -> None:
        for _ in range(3):
            # Handlers are at random points of their work.
            time.sleep(random.random() * 0.3)
            responders.pop(0).child.kill()
            responders.append(started(deployment, journal, "0.3"))
            clients.wait_for_more(CLIENTS)

    responses = under_load(deployment, kill)

    repeated = deployment.effects.counts("deliveries").total() - len(responses)
    assert [response.status for response in responses] == [201] * len(responses), deployment.logs()
    if journal == "sql":
        assert_one_effect_each(deployment, responses)
        assert repeated > 0
    # Redis: no effect is lost; one killed between effect and save is repeated.
    assert set(deployment.effects.counts()) == {response.correlation_id for response in responses}


def assert_one_effect_each(deployment: SideEffectDeployment, responses: list[Response]) -> None:
    assert [response.status for response in responses] == [201] * len(responses), deployment.logs()
    ids = {response.correlation_id for response in responses}
    assert len(ids) == len(responses)
    assert deployment.effects.counts() == dict.fromkeys(ids, 1)
