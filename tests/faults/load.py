"""Requests that keep coming, and what became of each."""

import http.client
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tests.support.deployment import Gateway, Process, Response
from tools.devstack.waiting import wait_until

#: No gateway takes longer; who does has left a client hanging.
CLIENT_LIMIT_S = 30.0


@dataclass
class Attempt:
    """One request; times are those of the monotonic clock."""

    body: bytes
    started_s: float
    response: Response | None = None
    broken: str = ""  # why there is no answer

    @property
    def status(self) -> int:
        return self.response.status if self.response is not None else 0

    @property
    def is_own(self) -> bool:
        """Whether it was answered with what it sent."""
        return self.response is not None and self.response.status == 200 and self.is_its_body

    @property
    def is_its_body(self) -> bool:
        return self.response is not None and self.response.body == self.body

    @property
    def ended_s(self) -> float:
        return self.started_s + (self.response.elapsed_s if self.response is not None else 0)

    @property
    def sent(self) -> str:
        """What an error says of it; empty when there is no error."""
        if self.response is None or self.response.status == 200:
            return ""
        return str(self.response.json.get("sent", ""))

    def reply_arrives(self, gateway: Gateway, limit_s: float) -> bool:
        """Say whether the reply to what timed out can be fetched within *limit_s*."""
        assert self.response is not None
        path = f"/replies/{self.response.correlation_id}"

        def is_there() -> bool:
            found = gateway.get(path)
            return (found.status, found.body) == (200, self.body)

        return wait_until(is_there, limit_s)

    def __str__(self) -> str:
        if self.response is None:
            return f"no answer: {self.broken}"
        words = "" if self.status == 200 else self.response.body.decode("utf-8", "replace")
        return f"{self.status} after {self.response.elapsed_s:.2f} s {words}"


class Load:
    """
    Posts different bodies to /echo, from *clients* threads, until the ``with`` block ends.

    Args:
        rate: requests per second, all clients together; a client that waits falls behind.
    """

    def __init__(self, gateways: Sequence[Gateway], clients: int, rate: float) -> None:
        self.attempts: list[Attempt] = []
        self._gateways = gateways
        self._pause_s = clients / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def since(self, started_s: float) -> list[Attempt]:
        """Return what was begun since *started_s* and has ended."""
        with self._lock:
            return [attempt for attempt in self.attempts if attempt.started_s >= started_s]

    def _run(self, number: int) -> None:
        gateway = self._gateways[number % len(self._gateways)]
        due_s = time.monotonic() + self._pause_s * number / len(self._threads)
        count = 0
        while not self._stop.wait(max(due_s - time.monotonic(), 0)):
            count += 1
            attempt = attempted(gateway, f"request {count} of client {number}".encode())
            with self._lock:
                self.attempts.append(attempt)
            due_s = max(due_s + self._pause_s, time.monotonic())


def attempted(gateway: Gateway, body: bytes) -> Attempt:
    """Post *body* to /echo; a connection that breaks is an ending too."""
    attempt = Attempt(body, time.monotonic())
    try:
        attempt.response = gateway.request("POST", "/echo", body, timeout_s=CLIENT_LIMIT_S)
    except (OSError, http.client.HTTPException) as error:
        attempt.broken = repr(error)
    return attempt


def without_reply(attempts: Sequence[Attempt], gateway: Gateway, limit_s: float) -> list[Attempt]:
    """Return those of *attempts* whose reply cannot be fetched within *limit_s* for all of them."""
    until_s = time.monotonic() + limit_s
    return [a for a in attempts if not a.reply_arrives(gateway, max(until_s - time.monotonic(), 0))]


def expired(responder: Process) -> int:
    """Return how many requests came too late to *responder* to begin, as its last summary says."""
    counts = re.findall(r"requests so far: .*\bexpired (\d+)", responder.logged())
    return int(counts[-1]) if counts else 0
