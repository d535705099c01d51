"""How much a client may send: so many requests in a window, counted over all replicas."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.clients.client import Client, Rate
from gateway.problems import RateLimited, ReplyStoreUnavailable, Sent
from rendezvous.errors import StoreUnavailable


class Counts(Protocol):
    """Counts that all replicas share."""

    def count(self, name: str, hold_s: int) -> int:
        """Count one more under *name*, keep that for *hold_s*, return how many there are now."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a client may still send: so many requests in the seconds that are left of a window."""

    rate: Rate
    remaining: int
    left_s: int

    def headers(self) -> dict[str, str]:
        """Return it as draft-ietf-httpapi-ratelimit-headers has it."""
        return {
            "RateLimit-Policy": f'"default";q={self.rate.requests};w={self.rate.window_s}',
            "RateLimit": f'"default";r={self.remaining};t={self.left_s}',
        }


class Rates:
    """
    Takes each request off what its client may send.

    Args:
        counts: where the requests are counted.
        clock: Unix time; the replicas agree on the window as far as their clocks agree.
    """

    def __init__(self, counts: Counts, clock: Callable[[], float] = time.time) -> None:
        self._counts = counts
        self._clock = clock
        #: In which window each client was seen to be over: the rest of it needs no round trip.
        self._over: dict[str, int] = {}

    def charge(self, client: Client, sent: Sent | None = Sent.NO) -> Quota | None:
        """
        Return what is left to *client* after this request; None when it has no rate.

        Args:
            sent: what an error says of the request.

        Raises:
            RateLimited: when nothing was left.
            ReplyStoreUnavailable: when nobody can say.
        """
        rate = client.rate
        if rate is None:
            return None
        now_s = self._clock()
        window = int(now_s // rate.window_s)
        left_s = max(1, math.ceil((window + 1) * rate.window_s - now_s))
        if self._over.get(client.name) != window:
            used = self._count(f"{client.name}:{window}", rate, sent)
            if used <= rate.requests:
                return Quota(rate, rate.requests - used, left_s)
            self._over[client.name] = window
        raise _limited(Quota(rate, 0, left_s), sent)

    def _count(self, name: str, rate: Rate, sent: Sent | None) -> int:
        try:
            # A window longer than the window: for replicas whose clocks are behind.
            return self._counts.count(name, 2 * rate.window_s)
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, sent=sent) from error


def _limited(allowance: Quota, sent: Sent | None) -> RateLimited:
    rate = allowance.rate
    problem = RateLimited(
        f"{rate.requests} requests in {rate.window_s} s are what you may send; "
        f"send again in {allowance.left_s} s",
        sent=sent,
    )
    # The draft: not before the window ends.
    problem.headers |= {"Retry-After": str(allowance.left_s), **allowance.headers()}
    return problem
