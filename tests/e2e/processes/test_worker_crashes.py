"""A gateway worker is killed at each step of a request."""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from settings import RESERVED_THREADS
from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deploy, Deployment, Gateway
from tests.support.records import records_of
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.procfs import unread_bytes
from tools.devstack.waiting import wait_until

# Sockets of Apache Kafka are in /proc/net/tcp6, where unread_bytes() does not read.
pytestmark = [pytest.mark.e2e, on_embedded_broker]

LIMIT_S = 15.0
#: One slot: if a second request is rejected, the first is in flight.
ENV = {"WEB_CONCURRENCY": "1", "THREADS": str(RESERVED_THREADS + 1), "REPLY_TIMEOUT_S": "15"}
#: Invalid idempotency key: a request with it is rejected after it has got a slot.
BAD_KEY = "two words"
#: Larger than all that other processes send to the broker meanwhile.
BODY = b"published, not acknowledged" * 1_000


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    with deploy_for_module(env=ENV) as deployment:
        yield deployment


def test_a_worker_killed_while_reading_the_body_publishes_nothing(deployment: Deployment):
    with sent(deployment.gateway, b"half of it", declared=20) as client:
        kill_worker(deployment.gateway)
        assert rest_of(client) == b""

    assert deployment.gateway.post("/echo", b"next").body == b"next"
    assert b"half of it" not in published(deployment)


def test_a_worker_killed_before_it_reaches_a_broker_publishes_nothing(deployment: Deployment):
    deployment.kafka.pause()
    try:
        gateway = deployment.start_gateway()
        assert wait_until(gateway.responds, LIMIT_S)
        with sent(gateway, b"never published") as client:
            kill_worker(gateway)
            assert rest_of(client) == b""
    finally:
        deployment.kafka.resume()

    assert wait_until(lambda: deployment.gateway.post("/echo", b"next").status == 200, LIMIT_S)
    assert b"never published" not in published(deployment)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_the_request_of_a_worker_killed_before_the_acknowledgement_gets_its_reply(
    deployment: Deployment,
):
    gateway = deployment.gateway
    deployment.kafka.pause()
    try:
        before = unread_bytes(deployment.kafka.port)
        with sent(gateway, BODY) as client:
            assert wait_until(
                lambda: unread_bytes(deployment.kafka.port) - before > len(BODY), LIMIT_S
            )
            kill_worker(gateway)
            assert rest_of(client) == b""
    finally:
        deployment.kafka.resume()

    # The broker reads what is still in its socket buffer.
    assert wait_until(lambda: BODY in published(deployment), LIMIT_S)
    assert fetch_later(gateway, id_of(deployment, BODY)) == BODY


def test_a_reply_can_be_fetched_after_the_worker_that_read_it_is_killed(deployment: Deployment):
    # No signal can be timed between reading and writing; this checks that the reply is kept.
    response = deployment.gateway.post("/echo", b"read")
    kill_worker(deployment.gateway)

    assert response.body == b"read"
    assert fetch_later(deployment.gateway, response.correlation_id) == b"read"


def head(length: int) -> bytes:
    return b"POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % length


@contextmanager
def sent(gateway: Gateway, body: bytes, declared: int | None = None) -> Iterator[socket.socket]:
    """Send *body*, complete or shorter than *declared*; yield once it is in flight, or read."""
    while True:
        with socket.create_connection((LOOPBACK, gateway.port), LIMIT_S) as client:
            client.sendall(head(declared or len(body)) + body)
            # The worker reads connections in order, so that it has read the body before this one.
            assert gateway.get("/livez").status == 200
            if declared is not None or has_the_slot(client, gateway):
                yield client
                return


def has_the_slot(client: socket.socket, gateway: Gateway) -> bool:
    """
    Return whether the request of *client* has the only slot.

    It has not if one of the requests below had it first; then *client* is rejected.
    """

    def answered() -> bool:
        return bool(select.select([client], [], [], 0)[0])

    assert wait_until(
        lambda: answered() or gateway.post("/echo", Idempotency_Key=BAD_KEY).status == 503, LIMIT_S
    )
    return not answered()


def kill_worker(gateway: Gateway) -> None:
    (pid,) = gateway.worker_pids()
    os.kill(pid, signal.SIGKILL)


def rest_of(client: socket.socket) -> bytes:
    """Return the bytes received until the connection closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65_536):
            received += part
    return received


def published(deployment: Deployment) -> list[bytes]:
    return [record.value for record in records_of(deployment, "echo")]


def id_of(deployment: Deployment, body: bytes) -> str:
    """Return the correlation id of the request with *body*."""
    (found,) = [record for record in records_of(deployment, "echo") if record.value == body]
    return str(dict(found.headers)["correlation-id"], "ascii")


def fetch_later(gateway: Gateway, correlation_id: str) -> bytes:
    """Return the reply once the successor of the killed worker serves it."""
    path = f"/replies/{correlation_id}"
    assert wait_until(lambda: fetched(gateway, path) is not None, LIMIT_S)
    return fetched(gateway, path) or b""


def fetched(gateway: Gateway, path: str) -> bytes | None:
    try:
        response = gateway.get(path)
    except OSError:
        return None  # the successor is starting
    return response.body if response.status == 200 else None
