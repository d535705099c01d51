"""Malformed requests with each LOG_FORMAT: each is answered and logged, and costs no thread."""

import json
import re
import socket
from collections.abc import Iterator

import pytest

from settings import RESERVED_THREADS
from tests.e2e.http.malformed_requests import REQUESTS, RawRequest
from tests.integration.standin import StandIn, post, read_to_end, send, standin
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

THREADS = RESERVED_THREADS + 2
#: Those for /orders need its responder.
NAMES = [name for name in REQUESTS if not name.startswith("JSON")]
STATUS = re.compile(rb"HTTP/1\.\d (\d{3}) ")


@pytest.fixture(scope="module", params=["json", "text"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A server with THREADS threads; its log must have no traceback at the end."""
    env = {"LOG_FORMAT": request.param, "WEB_CONCURRENCY": "1", "THREADS": str(THREADS)}
    with standin(tmp_path_factory.mktemp("malformed"), **env) as found:
        yield found
        log = found.logged()
    assert "Traceback" not in log
    if request.param == "json":
        assert len(list(access_events(log))) > len(NAMES) / 2


def access_events(log: str) -> Iterator[object]:
    for line in log.splitlines():
        if line.startswith('{"time": "[') and (event := json.loads(line))["event"] == "access":
            yield event


@pytest.mark.parametrize("name", NAMES)
def test_a_malformed_request_is_answered_and_costs_no_thread(server: StandIn, name: str):
    raw: RawRequest = REQUESTS[name]
    for _ in range(THREADS + 1):
        statuses = send_raw(server, raw)
        if raw.ends != "leaves":
            assert statuses == list(raw.responses)

    # Requests whose client has left may hold all slots for a moment.
    assert wait_until(lambda: send(server, post("/echo")) == "200", 10)


def send_raw(server: StandIn, raw: RawRequest) -> list[int]:
    """Return the statuses of the responses to *raw*, in order."""
    with server.connect() as client:
        client.sendall(raw.sent)
        if raw.ends == "leaves":
            return []
        if raw.ends == "half-closes":
            client.shutdown(socket.SHUT_WR)
        return [int(status) for status in STATUS.findall(read_to_end(client))]
