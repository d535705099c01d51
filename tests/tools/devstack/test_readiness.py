"""Probes of the gateway."""

import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.devstack.support import GATEWAY, LIMIT_S, ignore
from tools.devstack.ports import LOOPBACK, accepts_connections, free_port
from tools.devstack.process.procfile import start_process
from tools.devstack.readiness import GatewayProbe
from tools.devstack.waiting import wait_until


def test_the_response_of_a_gateway_that_is_not_ready_is_reported(tmp_path: Path):
    (tmp_path / "front.py").write_text(GATEWAY)
    port = free_port()
    gateway = start_process("python front.py unready", {"PORT": str(port)}, ignore, tmp_path)
    probe = GatewayProbe(port, "/echo", workers=1, reply_timeout_s=1.0)
    assert wait_until(lambda: accepts_connections(LOOPBACK, port), LIMIT_S)

    assert not probe.is_ready()

    gateway.stop()
    assert probe.problem == "GET /readyz returned 503: no Kafka"
    assert not probe.is_ready()
    assert "does not answer" in probe.problem


class Workers(http.server.BaseHTTPRequestHandler):
    """Gateway workers that share a port; each request reports the next of *nodes*."""

    nodes: Iterator[str]
    requests = 0

    def do_GET(self) -> None:
        Workers.requests += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"node": "%s"}' % next(self.nodes).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("nodes", "requests"),
    [("aab", 3), ("ab", 2), ("a", 50)],
    ids=["one starts late", "both are ready", "only one exists"],
)
def test_the_gateway_is_ready_when_each_worker_is(nodes: str, requests: int):
    Workers.nodes = itertools.chain(nodes, itertools.repeat(nodes[-1]))
    with http.server.HTTPServer((LOOPBACK, 0), Workers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Workers.requests = 0
        probe = GatewayProbe(server.server_port, None, workers=2, reply_timeout_s=1.0)
        ready = probe.is_ready()
        server.shutdown()

    assert (ready, Workers.requests) == (True, requests)


class RequiringKey(http.server.BaseHTTPRequestHandler):
    """A gateway that requires an API key."""

    def do_GET(self) -> None:
        self._answer(200, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_known = self.headers["Authorization"] == "Bearer right"
        self._answer(200 if is_known else 401, body if is_known else b"no key")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("key", "ready"), [("", True), ("right", True), ("wrong", False)])
def test_a_gateway_that_requires_a_key_is_ready_unless_it_rejects_the_key(key: str, ready: bool):
    with http.server.HTTPServer((LOOPBACK, 0), RequiringKey) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        probe = GatewayProbe(server.server_port, "/echo", 1, 1.0, key)
        found = probe.is_ready()
        server.shutdown()

    assert found is ready
    assert ready or "POST /echo returned 401: no key" in probe.problem
