"""Cancelled requests: a Redis stream written by gateways and read by responders."""

from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from rendezvous.redis_store.client import execute, store_unavailable

#: Redis stream of cancelled ids: key, time to live in seconds (no request waits longer for a
#: handler), and minimum number of the latest ids that it keeps.
CANCELLED_KEY = "unwanted"
CANCELLED_TTL_S = 120
MAX_CANCELLED = 10_000


class Cancellations:
    """The ids of cancelled requests, in the order of their cancellation."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def mark_cancelled(self, correlation_id: str) -> None:
        """Publish the cancellation to responders; StoreUnavailable if Redis fails."""
        pipeline = self._redis.pipeline(transaction=False)
        # In a stream Redis numbers the entries by its own clock, in the order in which they become
        # visible: a reader misses none, whatever the clocks of gateways and responders.
        pipeline.xadd(CANCELLED_KEY, {"id": correlation_id}, maxlen=MAX_CANCELLED, approximate=True)
        pipeline.expire(CANCELLED_KEY, CANCELLED_TTL_S)
        execute(pipeline)

    def cancelled_since(self, position: str) -> tuple[list[str], str]:
        """
        Return the ids cancelled after *position*, and the position for the next call.

        Args:
            position: the one that the last call returned; empty for all ids that are kept.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        entries: Any  # the types of redis-py include values that a client of bytes never returns
        try:
            entries = self._redis.xrange(
                CANCELLED_KEY, min=f"({position}" if position else "-", count=MAX_CANCELLED
            )
        except RedisError as error:
            raise store_unavailable(error) from error
        ids = [fields.get(b"id", b"").decode("utf-8", "replace") for _, fields in entries]
        return ids, entries[-1][0].decode() if entries else position
