"""Request bodies: published unchanged up to the size limit, rejected above it."""

import http.client
import socket
from collections.abc import Iterator

import pytest

from tests.support.deployment import Deploy, Gateway, exchange
from tools.devstack.ports import LOOPBACK

pytestmark = pytest.mark.e2e

LIMIT = 200_000


@pytest.fixture(scope="module")
def gateway(deploy_for_module: Deploy) -> Iterator[Gateway]:
    with deploy_for_module(env={"MAX_BODY_BYTES": str(LIMIT)}) as deployment:
        yield deployment.gateway


def test_a_body_is_published_unchanged_up_to_the_limit_and_rejected_above_it(gateway: Gateway):
    sizes = {LIMIT - 1: 200, LIMIT: 200, LIMIT + 1: 413, 2 * LIMIT: 413}
    seen = {}
    for size, status in sizes.items():
        body = bytes(i % 251 for i in range(size))
        for framing in ("content-length", "chunked"):
            response = post_body(gateway, body, framing)
            seen[size, framing] = response.status
            # The echo handler returns the record's value.
            assert status != 200 or response.body == body
            if status == 413:
                assert response.json["type"] == "/problems/too-large"
                assert response.json["sent"] == "no"

    assert seen == {(s, f): c for s, c in sizes.items() for f in ("content-length", "chunked")}


def post_body(gateway: Gateway, body: bytes, framing: str):
    connection = http.client.HTTPConnection(LOOPBACK, gateway.port, timeout=30)
    try:
        if framing == "content-length":
            return exchange(connection, "POST", "/echo", body)
        chunks = (body[i : i + 10_000] for i in range(0, len(body), 10_000))
        return exchange(connection, "POST", "/echo", chunks)
    finally:
        connection.close()


def test_a_body_with_invalid_framing_is_a_400(gateway: Gateway):
    with socket.create_connection((LOOPBACK, gateway.port), timeout=10) as client:
        client.sendall(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n"
        )

        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
