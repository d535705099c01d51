"""
The content of each numbered request and of its correct response.

Both follow from number and seed, so client, responder and oracle agree without communication.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from random import Random

TOPIC = "soak"
PATH = "/soak"
CONTENT_TYPE = "application/octet-stream"

#: Shares of requests in per cent; the others are small, immediate and successful.
LARGE_PERCENT, MEDIUM_PERCENT = 0.7, 12.0
BEYOND_TIMEOUT_PERCENT, SLOW_PERCENT = 0.1, 10.0
REFUSED_PERCENT, FAILED_PERCENT = 2.0, 2.0
EXTRA_PERCENT = 2.0  # each of Extra
#: Share of the successful requests that are sent again with their idempotency key, if any are.
REPEATED_PERCENT = 5.0
#: Ranges of body sizes of requests and replies.
SMALL_BYTES, MEDIUM_BYTES, LARGE_BYTES = (0, 1_000), (8_000, 12_000), (150_000, 250_000)
SLOW_S = (0.05, 0.5)
#: Range by which a delay beyond the timeout exceeds it.
BEYOND_S = (0.5, 1.5)
ERROR_STATUSES = (404, 409, 418, 500)
REFUSED_STATUS = 422


class Extra(StrEnum):
    """What a responder publishes before its reply."""

    NOTHING = ""
    TWICE = "twice"  # the same reply in the same partition
    ASTRAY = "astray"  # the same reply in another partition
    DIFFERENT = "different"  # another reply in another partition


@dataclass(frozen=True)
class Task:
    """
    One request and its correct response.

    Args:
        seed: of the run.
        number: unique in the run.
        timeout_s: reply timeout of the gateway.
    """

    seed: int
    number: int
    timeout_s: float

    @cached_property
    def body(self) -> bytes:
        """Request body: the number and padding."""
        return self._filled(f"{self.number}\n".encode(), "request")

    @cached_property
    def delay_s(self) -> float:
        """Duration of the handler, in seconds."""
        random = self._random("delay")
        share = random.uniform(0, 100)
        if share < BEYOND_TIMEOUT_PERCENT:
            return self.timeout_s + random.uniform(*BEYOND_S)
        return random.uniform(*SLOW_S) if share < BEYOND_TIMEOUT_PERCENT + SLOW_PERCENT else 0.0

    @property
    def is_beyond_timeout(self) -> bool:
        """Whether the handler takes longer than the gateway waits."""
        return self.delay_s > self.timeout_s

    @cached_property
    def status(self) -> int:
        """HTTP status of the correct response."""
        random = self._random("status")
        share = random.uniform(0, 100)
        if share < REFUSED_PERCENT:
            return REFUSED_STATUS
        return random.choice(ERROR_STATUSES) if share < REFUSED_PERCENT + FAILED_PERCENT else 200

    @property
    def is_refused(self) -> bool:
        """Whether the handler raises instead of replying."""
        return self.status == REFUSED_STATUS

    @property
    def refusal(self) -> str:
        """Error text of the handler when it raises."""
        return f"number {self.number} is refused"

    @property
    def idempotency_key(self) -> str:
        """Key of a request that is sent twice, or ""."""
        if self.status != 200 or self.is_beyond_timeout:
            return ""
        is_repeated = self._random("key").uniform(0, 100) < REPEATED_PERCENT
        return f"{self.seed}-{self.number}" if is_repeated else ""

    @cached_property
    def extra(self) -> Extra:
        """What the responder publishes before the reply."""
        if self.is_refused:
            return Extra.NOTHING
        share = self._random("extra").uniform(0, 100) / EXTRA_PERCENT
        extras = (Extra.TWICE, Extra.ASTRAY, Extra.DIFFERENT)
        return extras[int(share)] if share < len(extras) else Extra.NOTHING

    @property
    def different_body(self) -> bytes:
        """Body of the other reply, if there are two different ones; its status is 200."""
        return self._filled(f"{self.number} different\n".encode(), "different")

    def responses(self, correlation_id: str) -> set[tuple[int, str]]:
        """Return status and digest of each correct response under *correlation_id*."""
        found = {(self.status, digest(self.response_body(correlation_id)))}
        if self.extra is Extra.DIFFERENT:
            found.add((200, digest(self.different_body)))
        return found

    def reply_body(self, body: bytes) -> bytes:
        """Return the reply body to a request received as *body*."""
        return self._filled(f"{self.number} {sha256(body).hexdigest()}\n".encode(), "reply")

    def response_body(self, correlation_id: str) -> bytes:
        """Return the body of the correct response under *correlation_id*."""
        if not self.is_refused:
            return self.reply_body(self.body)
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
        size = LARGE_BYTES if share < LARGE_PERCENT else MEDIUM_BYTES
        if share >= LARGE_PERCENT + MEDIUM_PERCENT:
            size = SMALL_BYTES
        return head + random.randbytes(random.randint(*size))

    def _random(self, purpose: str) -> Random:
        return Random(f"{self.seed}/{self.number}/{purpose}")


def number_in(body: bytes) -> int | None:
    """Return the number at the start of a request or reply body, or None."""
    head = body[:100].partition(b"\n")[0].partition(b" ")[0]
    return int(head) if head.isdigit() and len(head) <= 18 else None


def digest(body: bytes) -> str:
    """Return the hash of *body* for the logs."""
    return sha256(body).hexdigest()
