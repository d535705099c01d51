"""Rate limits of clients: fixed windows, counted in Redis over all replicas."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from gateway.clients.client import Client, Rate
from gateway.problems import RateLimited, ReplyStoreUnavailable, Sent
from rendezvous.redis_store.client import store_unavailable


@dataclass(frozen=True, slots=True)
class Quota:
    """Remaining requests of a client in its window, which ends in *reset_s*."""

    rate: Rate
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """Return the headers of draft-ietf-httpapi-ratelimit-headers."""
        return {
            "RateLimit-Policy": f'"default";q={self.rate.requests};w={self.rate.window_s}',
            "RateLimit": f'"default";r={self.remaining};t={self.reset_s}',
        }


class RateLimiter:
    """
    Counts each client's requests and rejects those above its rate.

    Safe to use from several threads, and after a fork.

    Args:
        deployment: separates the counters of deployments that share a Redis.
        clock: Unix time; replicas agree on the window as far as their clocks agree.
    """

    def __init__(
        self, redis: Redis, deployment: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._deployment = deployment
        self._clock = clock
        #: Window in which each client exceeded its rate: until it ends no round trip is needed.
        self._exceeded: dict[str, int] = {}

    def charge(self, client: Client, sent: Sent | None = Sent.NO) -> Quota | None:
        """
        Count one request of *client* and return its quota.

        Returns None if the client has no rate limit.

        Args:
            sent: the `sent` member of the problem that is raised.

        Raises:
            RateLimited: when the window's requests are used up.
            ReplyStoreUnavailable: when Redis fails; it may have counted the request.
        """
        rate = client.rate
        if rate is None:
            return None
        now_s = self._clock()
        window = int(now_s // rate.window_s)
        reset_s = max(1, math.ceil((window + 1) * rate.window_s - now_s))
        if self._exceeded.get(client.name) != window:
            used = self._increment(f"{client.name}:{window}", rate, sent)
            if used <= rate.requests:
                return Quota(rate, rate.requests - used, reset_s)
            self._exceeded[client.name] = window
        raise _rate_limited(Quota(rate, 0, reset_s), sent)

    def _increment(self, name: str, rate: Rate, sent: Sent | None) -> int:
        key = f"rate:{self._deployment}:{name}"
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.incr(key)
        # One window longer than needed, for replicas whose clocks are behind.
        pipeline.expire(key, 2 * rate.window_s)
        try:
            used, _ = pipeline.execute()
        except RedisError as error:
            raise ReplyStoreUnavailable(store_unavailable(error).advice, sent=sent) from error
        return int(used)


def _rate_limited(quota: Quota, sent: Sent | None) -> RateLimited:
    rate = quota.rate
    problem = RateLimited(
        f"your rate limit of {rate.requests} requests in {rate.window_s} s is reached; "
        f"send again in {quota.reset_s} s",
        sent=sent,
    )
    # The draft: Retry-After is not before the end of the window.
    problem.headers |= {"Retry-After": str(quota.reset_s), **quota.headers()}
    return problem
