"""Counts that all replicas share, in Redis."""

from redis import Redis
from redis.exceptions import RedisError

from rendezvous.redis_store.replies import store_unavailable


class SharedCounter:
    """
    Counts under a name, gone by themselves.

    Safe to use from several threads, and after a fork.

    Args:
        redis: where they are.
        deployment: keeps the counts of deployments apart that use the same Redis.
    """

    def __init__(self, redis: Redis, deployment: str) -> None:
        self._redis = redis
        self._deployment = deployment

    def count(self, name: str, hold_s: int) -> int:
        """
        Count one more under *name*, keep that for *hold_s*, and return how many there are now.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer; it may have counted.
        """
        pipeline = self._redis.pipeline(transaction=False)
        key = f"rate:{self._deployment}:{name}"
        pipeline.incr(key)
        pipeline.expire(key, hold_s)
        try:
            counted, _ = pipeline.execute()
        except RedisError as error:
            raise store_unavailable(error) from error
        return int(counted)
