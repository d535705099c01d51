"""Rate limits of clients: fixed windows, counted over all replicas in Redis if there is one."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis
from redis.exceptions import RedisError

from gateway.clients.client import Client, Rate
from gateway.metrics import RATE_LIMITED
from gateway.problems import RateLimited, ReplyStoreUnavailable, Sent
from rendezvous.redis_store.client import store_unavailable

#: How long this process counts alone after a failure of Redis, in seconds.
ALONE_S = 1.0
#: Interval of forgetting expired counters of this process, in seconds.
CLEAN_INTERVAL_S = 60.0
#: Number of clients above their rate from which those whose window has ended are forgotten.
MAX_EXCEEDED = 1_000


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
        redis: counts over all replicas; None to count in this process alone.
        deployment: separates the counters of deployments that share a Redis.
        needs_redis: whether a failure of Redis is a problem; else this process counts alone
            meanwhile.
        clock: Unix time; replicas agree on the window as far as their clocks agree.
    """

    def __init__(
        self,
        redis: Redis | None,
        deployment: str,
        clock: Callable[[], float] = time.time,
        *,
        needs_redis: bool = True,
    ) -> None:
        self._redis = redis
        self._deployment = deployment
        self._clock = clock
        self._needs_redis = needs_redis
        self._alone = ProcessCounts()
        self._alone_until_s = 0.0
        #: End of the window in which each client exceeded its rate: no round trip until then.
        self._exceeded_until_s: dict[str, float] = {}

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
        end_s = (window + 1) * rate.window_s
        reset_s = max(1, math.ceil(end_s - now_s))
        if self._exceeded_until_s.get(client.name) != end_s:
            used = self._increment(f"{client.name}:{window}", rate, sent)
            if used <= rate.requests:
                return Quota(rate, rate.requests - used, reset_s)
            self._note_exceeded(client.name, end_s, now_s)
        RATE_LIMITED.labels(client.label).inc()
        raise _rate_limited(Quota(rate, 0, reset_s), sent)

    def _note_exceeded(self, name: str, end_s: float, now_s: float) -> None:
        if len(self._exceeded_until_s) >= MAX_EXCEEDED:  # each user with a token may be a client
            ended = [
                name for name, until_s in self._exceeded_until_s.copy().items() if until_s <= now_s
            ]
            for one in ended:
                self._exceeded_until_s.pop(one, None)
        self._exceeded_until_s[name] = end_s

    def _increment(self, name: str, rate: Rate, sent: Sent | None) -> int:
        now_s = self._clock()
        if self._redis is None or now_s < self._alone_until_s:
            return self._alone.increment(name, 2 * rate.window_s, now_s)
        pipeline = self._redis.pipeline(transaction=False)
        key = f"rate:{self._deployment}:{name}"
        pipeline.incr(key)
        # One window longer than needed, for replicas whose clocks are behind.
        pipeline.expire(key, 2 * rate.window_s)
        try:
            used, _ = pipeline.execute()
        except RedisError as error:
            if self._needs_redis:
                raise ReplyStoreUnavailable(store_unavailable(error).advice, sent=sent) from error
            self._alone_until_s = now_s + ALONE_S
            return self._alone.increment(name, 2 * rate.window_s, now_s)
        return int(used)


class ProcessCounts:
    """Counters of this process, which are forgotten when they expire."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, float]] = {}  # and when each is forgotten
        self._cleaned_s = 0.0

    def increment(self, name: str, keep_s: float, now_s: float) -> int:
        """Count one more for *name* and return its count; it is kept for *keep_s*."""
        with self._lock:
            if now_s - self._cleaned_s > CLEAN_INTERVAL_S:
                self._cleaned_s = now_s
                self._counts = {k: v for k, v in self._counts.items() if v[1] > now_s}
            count = self._counts.get(name, (0, 0.0))[0] + 1
            self._counts[name] = count, now_s + keep_s
            return count


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
