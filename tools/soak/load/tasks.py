"""
What each numbered request asks for, and what has to come back.

All of it follows from the number and the seed, so that the client, the responder and the oracle
agree without telling each other.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from random import Random

TOPIC = "soak"
PATH = "/soak"
CONTENT_TYPE = "application/octet-stream"

#: Shares of the requests, in per cent, and what they get; the rest is small, prompt and well.
LARGE, MIDDLING = 0.7, 12.0
BEYOND_TIMEOUT, SLOW = 0.1, 10.0
REFUSED, FAILED = 2.0, 2.0
#: The body sizes of small, middling and large requests and replies.
SMALL_BYTES, MIDDLING_BYTES, LARGE_BYTES = (0, 1_000), (8_000, 12_000), (150_000, 250_000)
SLOW_S = (0.05, 0.5)
#: A delay beyond the timeout is longer than it by this much.
BEYOND_S = (0.5, 1.5)
ERROR_STATUSES = (404, 409, 418, 500)
REFUSED_STATUS = 422


@dataclass(frozen=True)
class Task:
    """
    One request and its answer.

    Args:
        seed: of the whole run.
        number: what makes the request unlike all others.
        timeout_s: how long the gateway waits for a reply.
    """

    seed: int
    number: int
    timeout_s: float

    @cached_property
    def body(self) -> bytes:
        """The body of the request: the number and its padding."""
        return self._filled(f"{self.number}\n".encode(), "request")

    @cached_property
    def delay_s(self) -> float:
        """How long the handler takes."""
        random = self._random("delay")
        share = random.uniform(0, 100)
        if share < BEYOND_TIMEOUT:
            return self.timeout_s + random.uniform(*BEYOND_S)
        return random.uniform(*SLOW_S) if share < BEYOND_TIMEOUT + SLOW else 0.0

    @property
    def is_beyond_timeout(self) -> bool:
        """Say whether the reply is meant to come too late."""
        return self.delay_s > self.timeout_s

    @cached_property
    def status(self) -> int:
        """The HTTP status of the answer."""
        random = self._random("status")
        share = random.uniform(0, 100)
        if share < REFUSED:
            return REFUSED_STATUS
        return random.choice(ERROR_STATUSES) if share < REFUSED + FAILED else 200

    @property
    def is_refused(self) -> bool:
        """Say whether the handler raises instead of replying."""
        return self.status == REFUSED_STATUS

    @property
    def refusal(self) -> str:
        """What the handler says when it refuses."""
        return f"number {self.number} is refused"

    def reply(self, body: bytes) -> bytes:
        """Return the body of the reply to a request that arrived as *body*."""
        return self._filled(f"{self.number} {sha256(body).hexdigest()}\n".encode(), "reply")

    def answer(self, correlation_id: str) -> bytes:
        """Return the body of the right answer under *correlation_id*."""
        if not self.is_refused:
            return self.reply(self.body)
        problem = {
            "type": "about:blank",
            "title": "Request refused",
            "status": self.status,
            "detail": self.refusal,
            "correlation_id": correlation_id,
        }
        return json.dumps(problem).encode()

    def _filled(self, head: bytes, purpose: str) -> bytes:
        random = self._random(purpose)
        share = random.uniform(0, 100)
        size = LARGE_BYTES if share < LARGE else MIDDLING_BYTES
        if share >= LARGE + MIDDLING:
            size = SMALL_BYTES
        return head + random.randbytes(random.randint(*size))

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.seed}/{self.number}/{purpose}")


def number_in(body: bytes) -> int | None:
    """Return the number that the body of a request or a reply begins with, if it does."""
    head = body[:100].partition(b"\n")[0].partition(b" ")[0]
    return int(head) if head.isdigit() and len(head) <= 18 else None


def digest(body: bytes) -> str:
    """Return what stands for *body* in the records."""
    return sha256(body).hexdigest()
