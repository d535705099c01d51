"""Whether the gateway answers real requests, and if not, what is missing."""

import contextlib
import http.client
import json
import re
from collections.abc import Sequence
from http import HTTPStatus

from gateway.routing.table import Route
from tools.devstack.ports import LOOPBACK

BODY = b"hello"
ECHO = "/echo"
#: Which worker takes a connection is chance: one that has taken none of so many is not there.
MOST_PER_WORKER = 25
#: On top of the reply timeout, for the HTTP around it.
SPARE_S = 2.0


class GatewayProbe:
    """
    Asks the gateway the way a client does, each time over a fresh connection.

    Args:
        port: of the gateway on this machine.
        path: takes a POST; None when no route does, then /readyz alone is asked.
        workers: how many of them share the port; each gets ready by itself.
        reply_timeout_s: how long the gateway may wait for a reply.
        key: an API key; without one, a gateway that asks for it is ready when /readyz says so.
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
        self.missing = "the gateway has not been asked yet"

    def is_ready(self) -> bool:
        """Say whether all requests succeed; the reason why not is in ``missing``."""
        self._ready_nodes.clear()
        for _ in range(MOST_PER_WORKER * self._workers):
            if not self._succeeds():
                return False
            if len(self._ready_nodes) >= self._workers:
                return True
        return True  # there are fewer of them, say by an option of gunicorn

    def _succeeds(self) -> bool:
        try:
            return self._ready() and self._replies()
        except (OSError, http.client.HTTPException) as error:
            self.missing = f"the gateway does not answer on port {self._port}: {error}"
            return False

    def _ready(self) -> bool:
        status, body = self._ask("GET", "/readyz")
        self.missing = f"GET /readyz gives {status}: {_shown(body)}"
        if status == 200:
            with contextlib.suppress(ValueError, KeyError):  # a user's own gateway need not say it
                self._ready_nodes.add(json.loads(body)["node"])
        return status == 200

    def _replies(self) -> bool:
        if self._path is None:
            return True
        status, body = self._ask("POST", self._path, BODY)
        self.missing = f"POST {self._path} gives {status}: {_shown(body)}"
        if status == HTTPStatus.UNAUTHORIZED and not self._key:
            return True
        if self._path == ECHO:
            return (status, body) == (200, BODY)
        # What a responder of the user thinks of our body is its affair: a 400 is a reply too.
        return status < 500

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=self._timeout_s)
        headers = {"Connection": "close", "X-Request-ID": "devstack"}
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


def path_to_try(routes: Sequence[Route]) -> str | None:
    """Return a path that takes a POST, /echo if there is one, with "1" for each parameter."""
    paths = [route.path for route in routes if "POST" in route.methods]
    if not paths:
        return None
    return ECHO if ECHO in paths else re.sub(r"<[^>]*>", "1", paths[0])


def _shown(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip()[:2000]
