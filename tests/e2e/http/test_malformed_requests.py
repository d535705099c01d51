"""Malformed and unusual requests: the response and the effect of each."""

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from tests.e2e.http.malformed_requests import REQUESTS, RawRequest
from tests.support.deployment import Deployment
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

THREADS = 12
BODY = b"a good request"


@pytest.fixture(scope="module", params=["text", "json"])
def deployment(
    redis_server: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    """One gateway with one worker, so that later requests see what a request breaks."""
    env = {"WEB_CONCURRENCY": "1", "THREADS": str(THREADS + 4), "REPLY_TIMEOUT_S": "10"}
    env["LOG_FORMAT"] = request.param
    folder: Path = tmp_path_factory.mktemp("malformed-requests")
    with (
        EmbeddedBroker() as kafka,
        Deployment(kafka, redis_server, folder, env=env, partitions=1) as deployment,
    ):
        yield deployment


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_gets_its_response_and_publishes_only_its_body(
    deployment: Deployment, topics: "Topics", name: str
):
    request = REQUESTS[name]
    earlier = topics.ends()

    responses = send(deployment.gateway.port, request)

    if request.ends != "leaves":
        assert [status for status, _ in responses] == list(request.responses), responses
    for status, body in responses:
        assert status < 500 or status in (501, 505), body
    deployment.gateway.post("/echo", BODY)
    published = topics.since(earlier)
    assert published.pop(published.index(BODY)) == BODY
    if request.ends == "leaves":
        assert published in ([], list(request.published))
    else:
        assert published == list(request.published)


def test_every_thread_still_serves_requests_afterwards(deployment: Deployment):
    def post(_: int) -> int:
        return deployment.gateway.post("/echo", BODY).status

    with ThreadPoolExecutor(THREADS) as pool:
        assert set(pool.map(post, range(THREADS * 5))) == {200}
    assert " 500 " not in deployment.gateway.logged()
    assert "Traceback" not in deployment.gateway.logged()


def send(port: int, request: RawRequest) -> list[tuple[int, bytes]]:
    """Send *request*; return status and body of each response until the gateway closes."""
    with socket.create_connection((LOOPBACK, port), timeout=20) as client:
        # The gateway may close the connection before the request is complete.
        with contextlib.suppress(ConnectionError):
            client.sendall(request.sent)
            if request.ends == "leaves":
                return []
            if request.ends == "half-closes":
                client.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError):
            while part := client.recv(65_536):
                received += part
    return list(parse_responses(received))


def parse_responses(received: bytes) -> Iterator[tuple[int, bytes]]:
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        body = received[: int(headers.get(b"content-length", 0))]
        received = received[len(body) :]
        yield int(line.split()[1]), body


class Topics:
    """Reads the request topics of a deployment."""

    def __init__(self, deployment: Deployment, consumer: Any) -> None:
        self._consumer = consumer
        self._partitions = [
            TopicPartition(deployment.prefix + topic, 0) for topic in ("echo", "orders")
        ]
        consumer.assign(self._partitions)
        #: Offset behind the last record read. The embedded broker may report an end before it.
        self._read = dict.fromkeys(self._partitions, 0)

    def ends(self) -> dict[Any, int]:
        reported = self._consumer.end_offsets(self._partitions)
        return {p: max(int(end), self._read[p]) for p, end in reported.items()}

    def since(self, offsets: dict[Any, int]) -> list[bytes]:
        """Return the values behind *offsets*."""
        ends = self.ends()
        for partition in self._partitions:
            self._consumer.seek(partition, offsets[partition])
        count = sum(ends[p] - offsets[p] for p in self._partitions)
        found: list[bytes] = []

        def complete() -> bool:
            for partition, records in self._consumer.poll(timeout_ms=50).items():
                found.extend(record.value for record in records)
                self._read[partition] = records[-1].offset + 1
            return len(found) >= count

        assert wait_until(complete, 20)
        return found


@pytest.fixture(scope="module")
def topics(deployment: Deployment) -> Iterator[Topics]:
    consumer = KafkaConsumer(
        **deployment.settings.kafka_connection(), fetch_max_wait_ms=5, group_id=None
    )
    try:
        yield Topics(deployment, consumer)
    finally:
        consumer.close()
