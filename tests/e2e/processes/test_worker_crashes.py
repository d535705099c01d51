"""A gateway worker that is killed at each step of a request: what happened is what can be found."""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from settings import RESERVED_THREADS
from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deploy, Deployment, Gateway
from tests.support.records import records_of
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.procfs import unread_bytes
from tools.devstack.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    on_embedded_broker,
]

LIMIT_S = 15.0
#: One request fills the gateway: that the next is turned away says that it is in flight.
ENV = {
    "WEB_CONCURRENCY": "1",
    "THREADS": str(RESERVED_THREADS + 1),
    "REPLY_TIMEOUT_S": "15",
}
#: A request that is turned away once it has a place, and so gives it back at once.
NO_KEY = "two words"
#: More than all that other processes say to the broker meanwhile.
BODY = b"published, not acknowledged" * 1_000


def test_killed_while_the_body_arrives_a_worker_has_published_nothing(
    deploy: Deploy,
):
    with deploy(env=ENV) as deployment:
        with sent(deployment.gateway, b"half of it", declared=20) as client:
            kill_worker(deployment.gateway)
            assert rest_of(client) == b""

        assert deployment.gateway.post("/echo", b"next").body == b"next"
        assert b"half of it" not in echoes(deployment)


def test_killed_before_it_has_found_a_broker_a_worker_has_published_nothing(
    deploy: Deploy,
):
    with deploy(env=ENV) as deployment:
        deployment.kafka.pause()
        try:
            gateway = deployment.start_gateway()
            assert wait_until(lambda: listens(gateway), LIMIT_S)
            with sent(gateway, b"never published") as client:
                kill_worker(gateway)
                assert rest_of(client) == b""
        finally:
            deployment.kafka.resume()

        assert wait_until(lambda: deployment.gateway.post("/echo", b"next").status == 200, LIMIT_S)
        assert b"never published" not in echoes(deployment)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_killed_before_the_broker_has_acknowledged_a_worker_leaves_a_request_that_is_answered(
    deploy: Deploy,
):
    with deploy(env=ENV) as deployment:
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

        # The broker takes what the kernel still holds for it.
        assert wait_until(lambda: BODY in echoes(deployment), LIMIT_S)
        assert answer_later(gateway, id_of(deployment, BODY)) == BODY


def test_killed_after_it_has_read_the_reply_a_worker_leaves_it_to_be_fetched(
    deploy: Deploy,
):
    # Between reading and writing no signal can be aimed; that a read reply stays is what counts.
    with deploy(env=ENV) as deployment:
        response = deployment.gateway.post("/echo", b"read")
        kill_worker(deployment.gateway)

        assert response.body == b"read"
        assert answer_later(deployment.gateway, response.correlation_id) == b"read"


def head(length: int) -> bytes:
    return b"POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % length


@contextmanager
def sent(gateway: Gateway, body: bytes, declared: int | None = None) -> Iterator[socket.socket]:
    """Send *body*, all that was *declared* or a part, and go on when it is in flight, or read."""
    while True:
        with socket.create_connection((LOOPBACK, gateway.port), LIMIT_S) as client:
            client.sendall(head(declared or len(body)) + body)
            # The worker reads what comes in its order: by then it has read the body too.
            assert gateway.get("/livez").status == 200
            if declared is not None or has_the_place(client, gateway):
                yield client
                return


def has_the_place(client: socket.socket, gateway: Gateway) -> bool:
    """
    Return whether what *client* has sent is in flight, and nothing else can be.

    It is not when one of our probes had the place just then; *client* has its answer in that case.
    """

    def answered() -> bool:
        return bool(select.select([client], [], [], 0)[0])

    assert wait_until(
        lambda: answered() or gateway.post("/echo", Idempotency_Key=NO_KEY).status == 503, LIMIT_S
    )
    return not answered()


def kill_worker(gateway: Gateway) -> None:
    (pid,) = gateway.worker_pids()
    os.kill(pid, signal.SIGKILL)


def rest_of(client: socket.socket) -> bytes:
    """Return what still comes until the connection ends."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65_536):
            received += part
    return received


def echoes(deployment: Deployment) -> list[bytes]:
    return [record.value for record in echo_records(deployment)]


def id_of(deployment: Deployment, body: bytes) -> str:
    """Return the id of the request with *body*, which its client never got to know."""
    (found,) = [record for record in echo_records(deployment) if record.value == body]
    return str(dict(found.headers)["correlation-id"], "ascii")


def echo_records(deployment: Deployment) -> list[Any]:
    return records_of(deployment, "echo")


def listens(gateway: Gateway) -> bool:
    try:
        return gateway.get("/livez").status == 200
    except OSError:
        return False


def answer_later(gateway: Gateway, correlation_id: str) -> bytes:
    """Return the reply once the successor of the killed worker hands it out."""
    path = f"/replies/{correlation_id}"
    assert wait_until(lambda: fetched(gateway, path) is not None, LIMIT_S)
    return fetched(gateway, path) or b""


def fetched(gateway: Gateway, path: str) -> bytes | None:
    try:
        response = gateway.get(path)
    except OSError:
        return None  # nobody serves just now
    return response.body if response.status == 200 else None
