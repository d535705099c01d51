"""
Counts the bytes of replies that are kept for idempotency keys, per client and in all.

A gateway counts a request before it is published, and leaves the client's account under the
correlation id; the replies process adds the size of the reply to that account. Counters are by
time, and expire with the replies that they count: a reply that expires frees its bytes up to an
eighth of its time later. What is counted while Redis fails is lost.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from redis import Redis
from redis.client import Pipeline

from rendezvous.correlation import CorrelationId
from rendezvous.redis_store.client import execute

#: Bytes that Redis takes for a key without its reply: claim, account and the keys themselves.
BYTES_PER_KEY = 600
#: Counters per time to live.
COUNTERS = 8


@dataclass(frozen=True, slots=True)
class KeptBytes:
    """Bytes that are kept, this request included."""

    of_client: int
    in_all: int


class KeptReplies:
    """
    The gateway's side: what is kept for a client.

    Safe to use from several threads, and after a fork.

    Args:
        deployment: separates the counters of deployments that share a Redis.
        clock: Unix time.
    """

    def __init__(
        self, redis: Redis, deployment: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._redis = redis
        self._deployment = deployment
        self._clock = clock

    def begin(self, client_name: str, correlation_id: str, ttl_s: int) -> KeptBytes:
        """
        Count a request whose reply is kept for *ttl_s*; return the bytes that are kept.

        Raises:
            StoreUnavailable: when Redis fails; it may have counted the request.
        """
        account = self._account(client_name)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(_account_key(correlation_id), account, ex=ttl_s + 60)
        number = _counter_number(self._clock(), ttl_s)
        _add(pipeline, account, number, BYTES_PER_KEY, ttl_s)
        for counted in (account, _all(account)):
            pipeline.mget([_counter(counted, number - age) for age in range(COUNTERS + 1)])
        *_, of_client, in_all = execute(pipeline)
        return KeptBytes(_sum(of_client), _sum(in_all))

    def cancel(self, client_name: str, correlation_id: str, ttl_s: int) -> None:
        """Undo begin(); raises StoreUnavailable when Redis fails."""
        account = self._account(client_name)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(_account_key(correlation_id))
        number = _counter_number(self._clock(), ttl_s)
        _add(pipeline, account, number, -BYTES_PER_KEY, ttl_s)
        execute(pipeline)

    def _account(self, client_name: str) -> str:
        return f"{self._deployment}:{sha256(client_name.encode()).hexdigest()[:16]}"


def read_accounts(pipeline: Pipeline, ids: Sequence[CorrelationId]) -> None:
    """Add a command to *pipeline* for each of *ids*, whose answer is its account, if any."""
    for correlation_id in ids:
        pipeline.get(_account_key(correlation_id.text))


def count_stored(
    redis: Redis, stored: Sequence[tuple[CorrelationId, Any, int]], now_s: float
) -> None:
    """
    Add replies to the accounts of their clients.

    Args:
        stored: of each reply its id, the answer to read_accounts(), its size in bytes.

    Raises:
        StoreUnavailable: when Redis fails; they may have been counted.
    """
    sizes: Counter[tuple[str, int]] = Counter()
    for correlation_id, account, size in stored:
        if isinstance(account, bytes):
            sizes[account.decode(), correlation_id.keep_ms // 1000] += size
    if not sizes:
        return
    pipeline = redis.pipeline(transaction=False)
    for (account, ttl_s), size in sizes.items():
        _add(pipeline, account, _counter_number(now_s, ttl_s), size, ttl_s)
    execute(pipeline)


def _add(pipeline: Pipeline, account: str, number: int, size: int, ttl_s: int) -> None:
    for counted in (account, _all(account)):
        pipeline.incrby(_counter(counted, number), size)
        # Until the last reply that it counts has expired.
        pipeline.expire(_counter(counted, number), ttl_s + 2 * ttl_s // COUNTERS + 60)


def _counter_number(now_s: float, ttl_s: int) -> int:
    return int(now_s * COUNTERS // ttl_s)


def _counter(account: str, number: int) -> str:
    # The hash tag keeps the counters of an account in one slot of a Redis Cluster, for MGET.
    return f"kept:{{{account}}}:{number}"


def _all(account: str) -> str:
    return f"{account.partition(':')[0]}:all"


def _account_key(correlation_id: str) -> str:
    return f"kept:{correlation_id}"


def _sum(counters: Sequence[bytes | None]) -> int:
    return sum(int(counter) for counter in counters if counter is not None)
