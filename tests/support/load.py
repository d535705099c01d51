"""Load: concurrent clients, and the outcome of each of their requests."""

import http.client
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tests.support.deployment import Gateway, Process, Response, exchange
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

#: Outcome of a request whose response has the request's own body.
OWN = "own"
#: Client timeout in seconds, above any time that a gateway takes.
CLIENT_TIMEOUT_S = 30.0


@dataclass
class Attempt:
    """One echo request and its outcome; times are monotonic."""

    body: bytes
    started_s: float
    response: Response | None = None
    error: str = ""  # set if there is no response

    @property
    def status(self) -> int:
        return self.response.status if self.response is not None else 0

    @property
    def is_own(self) -> bool:
        """Whether the response is 200 with the body of this request."""
        return self.status == 200 and self.has_own_body

    @property
    def has_own_body(self) -> bool:
        return self.response is not None and self.response.body == self.body

    @property
    def outcome(self) -> str:
        """OWN, "another's", a problem type, or the client's error."""
        if self.response is None:
            return self.error
        if self.status == 200:
            return OWN if self.has_own_body else "another's"
        return str(self.response.json["type"])

    @property
    def elapsed_s(self) -> float:
        return self.response.elapsed_s if self.response is not None else 0

    @property
    def ended_s(self) -> float:
        return self.started_s + self.elapsed_s

    @property
    def sent(self) -> str:
        """The problem's ``sent``; empty if there is no problem."""
        if self.response is None or self.status == 200:
            return ""
        return str(self.response.json.get("sent", ""))

    def reply_arrives(self, gateway: Gateway, limit_s: float) -> bool:
        """Return whether the late reply can be fetched within *limit_s*."""
        assert self.response is not None
        path = f"/replies/{self.response.correlation_id}"

        def is_there() -> bool:
            found = gateway.get(path)
            return (found.status, found.body) == (200, self.body)

        return wait_until(is_there, limit_s)

    def __str__(self) -> str:
        if self.response is None:
            return f"no response: {self.error}"
        problem = "" if self.status == 200 else self.response.body.decode("utf-8", "replace")
        return f"{self.status} after {self.elapsed_s:.2f} s {problem}"


class Load:
    """
    Posts distinct bodies to /echo until the ``with`` block ends.

    Args:
        gateways: client *n* uses gateway *n* modulo their number.
        clients: number of threads; each waits for its response before it sends again.
        rate: requests per second of all clients together; without it, as many as possible.
        keep_alive: one connection per client instead of one per request.
    """

    def __init__(
        self,
        gateways: Sequence[Gateway],
        clients: int = 8,
        rate: float = 0.0,
        keep_alive: bool = True,
    ) -> None:
        self.attempts: list[Attempt] = []
        self.outcomes: Counter[str] = Counter()
        self._name = secrets.token_hex(4)
        self._pause_s = clients / rate if rate else 0.0
        self._keep_alive = keep_alive
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(gateways[n % len(gateways)], n, clients))
            for n in range(clients)
        ]

    def __enter__(self) -> Self:
        self._started_s = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.elapsed_s = time.monotonic() - self._started_s

    @property
    def slowest_s(self) -> float:
        return max((attempt.elapsed_s for attempt in self.attempts), default=0.0)

    def wait_for(self, requests: int = 50, within_s: float = 60.0) -> None:
        """Return after *requests* more responses with the request's own body."""
        target = self.outcomes[OWN] + requests
        assert wait_until(lambda: self.outcomes[OWN] >= target, within_s), self.outcomes

    def since(self, started_s: float) -> list[Attempt]:
        """Return the finished requests that began at *started_s* or later."""
        with self._lock:
            return [attempt for attempt in self.attempts if attempt.started_s >= started_s]

    def summary(self) -> str:
        rate = len(self.attempts) / self.elapsed_s
        return f"{rate:.0f} requests/s, slowest {self.slowest_s:.2f} s, {dict(self.outcomes)}"

    def _run(self, gateway: Gateway, number: int, clients: int) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, gateway.port, timeout=CLIENT_TIMEOUT_S)
        due_s = time.monotonic() + self._pause_s * number / clients
        count = 0
        while not self._stop.wait(max(due_s - time.monotonic(), 0)):
            count += 1
            attempt = _attempt(
                connection, f"{self._name}: request {count} of client {number}".encode()
            )
            if attempt.response is None or not self._keep_alive:
                connection.close()
            with self._lock:
                self.attempts.append(attempt)
                self.outcomes[attempt.outcome] += 1
            # A client that had to wait does not catch up.
            due_s = max(due_s + self._pause_s, time.monotonic())
        connection.close()


def post_echo(gateway: Gateway, body: bytes) -> Attempt:
    """Post *body* to /echo over a new connection."""
    connection = http.client.HTTPConnection(LOOPBACK, gateway.port, timeout=CLIENT_TIMEOUT_S)
    try:
        return _attempt(connection, body)
    finally:
        connection.close()


def _attempt(connection: http.client.HTTPConnection, body: bytes) -> Attempt:
    attempt = Attempt(body, time.monotonic())
    try:
        attempt.response = exchange(connection, "POST", "/echo", body)
    except (OSError, http.client.HTTPException) as error:
        attempt.error = repr(error)
    return attempt


def missing_replies(attempts: Sequence[Attempt], gateway: Gateway, limit_s: float) -> list[Attempt]:
    """Return the *attempts* whose replies cannot be fetched; *limit_s* holds for all together."""
    until_s = time.monotonic() + limit_s
    return [a for a in attempts if not a.reply_arrives(gateway, max(until_s - time.monotonic(), 0))]


def expired_count(responder: Process) -> int:
    """Return the number of expired requests in the last summary of *responder*."""
    counts = re.findall(r"requests so far: .*\bexpired (\d+)", responder.logged())
    return int(counts[-1]) if counts else 0
