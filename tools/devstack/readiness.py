"""Probes whether the gateway answers requests, and reports the problem if not."""

import contextlib
import http.client
import json
import re
from collections.abc import Sequence
from http import HTTPStatus

from gateway.routing.table import Route
from tools.devstack.ports import LOOPBACK
from tools.devstack.request_lines import PROBE_ID

BODY = b"hello"
ECHO = "/echo"
#: Connections per worker after which a worker that took none is assumed not to exist.
MAX_CONNECTIONS_PER_WORKER = 25
#: Time for a request in addition to the reply timeout, in seconds.
SPARE_S = 2.0


class GatewayProbe:
    """
    Sends requests to the gateway like a client, each over a new connection.

    Args:
        port: of the gateway on this machine.
        path: of a route with POST, or None to request /readyz only.
        workers: number of workers on the port; each must be ready.
        reply_timeout_s: reply timeout of the gateway.
        key: API key; without one, 401 for the POST counts as success.
    """

    def __init__(
        self, port: int, path: str | None, workers: int, reply_timeout_s: float, key: str = ""
    ) -> None:
        self._port = port
        self._path = path
        self._workers = workers
        self._key = key
        self._timeout_s = reply_timeout_s + SPARE_S
        self._ready_nodes: set[str] = set()
        self.problem = "the gateway was not probed yet"

    def is_ready(self) -> bool:
        """Return whether all requests succeed; ``problem`` has the reason if not."""
        self._ready_nodes.clear()
        for _ in range(MAX_CONNECTIONS_PER_WORKER * self._workers):
            if not self._succeeds():
                return False
            if len(self._ready_nodes) >= self._workers:
                return True
        return True  # fewer workers, for example by an option of gunicorn

    def _succeeds(self) -> bool:
        try:
            return self._is_ready_itself() and self._replies()
        except (OSError, http.client.HTTPException) as error:
            self.problem = f"the gateway does not answer on port {self._port}: {error}"
            return False

    def _is_ready_itself(self) -> bool:
        status, body = self._request("GET", "/readyz")
        self.problem = f"GET /readyz returned {status}: {_text(body)}"
        if status == 200:
            with contextlib.suppress(ValueError, KeyError):  # another gateway may not report it
                self._ready_nodes.add(json.loads(body)["node"])
        return status == 200

    def _replies(self) -> bool:
        if self._path is None:
            return True
        status, body = self._request("POST", self._path, BODY)
        self.problem = f"POST {self._path} returned {status}: {_text(body)}"
        if status == HTTPStatus.UNAUTHORIZED and not self._key:
            return True
        if self._path == ECHO:
            return (status, body) == (200, BODY)
        # The user's responder may reject this body; a 400 is a reply too.
        return status < 500

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=self._timeout_s)
        headers = {"Connection": "close", "X-Request-ID": PROBE_ID}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        if body is not None:
            headers["Content-Type"] = "text/plain"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def example_path(routes: Sequence[Route]) -> str | None:
    """Return a path that accepts POST, preferably /echo, with "1" for parameters."""
    paths = [route.path for route in routes if "POST" in route.methods]
    if not paths:
        return None
    return ECHO if ECHO in paths else re.sub(r"<[^>]*>", "1", paths[0])


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip()[:2000]
