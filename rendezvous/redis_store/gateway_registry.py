"""
Registry of the gateway processes and the partitions of the reply topic that they read.

It spreads them: a process that shares its partition reads the replies to the other one too. What
it says is advice; without it, or when two processes choose at the same time, they share one.
"""

import random
from collections import Counter

from redis import Redis

from rendezvous.correlation import epoch_ms
from rendezvous.redis_store.client import execute

#: Age at which a process that has not renewed its entry counts as gone, in seconds.
GONE_AFTER_S = 10
#: Attempts to find a partition that no other process chose at the same time.
ATTEMPTS = 5


class GatewayRegistry:
    """
    The entries of one reply topic, in a sorted set: ``<partition>:<node>`` by time of renewal.

    Args:
        topic: the reply topic, with its prefix.
    """

    def __init__(self, redis: Redis, topic: str) -> None:
        self._redis = redis
        self._key = f"served:{{{topic}}}:gateways"

    def choose(self, node: str, partitions: int) -> int:
        """
        Return the partition, below *partitions*, that the fewest other processes read.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        for _ in range(ATTEMPTS):
            chosen = _least_used(self._others(node), partitions)
            others = self._enter(node, chosen)
            rivals = [other for other, partition in others.items() if partition == chosen]
            # Of those that chose at the same time, one stays; all stay if none is free.
            if node < min(rivals, default="g") or len(set(others.values())) >= partitions:
                break
            self._leave(node, chosen)
        return chosen

    def renew(self, node: str, partition: int) -> int:
        """
        Renew the entry of *node* and return the number of processes.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        return len(self._enter(node, partition)) + 1

    def _enter(self, node: str, partition: int) -> dict[str, int]:
        """Write the entry of *node* and return the partitions of all others."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zadd(self._key, {f"{partition}:{node}": epoch_ms()})
        pipeline.zremrangebyscore(self._key, "-inf", epoch_ms() - GONE_AFTER_S * 1000)
        pipeline.expire(self._key, GONE_AFTER_S * 2)
        execute(pipeline)
        return self._others(node)

    def _leave(self, node: str, partition: int) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zrem(self._key, f"{partition}:{node}")
        execute(pipeline)

    def _others(self, node: str) -> dict[str, int]:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zrangebyscore(self._key, epoch_ms() - GONE_AFTER_S * 1000, "+inf")
        (entries,) = execute(pipeline)
        found = (entry.decode().partition(":") for entry in entries)
        return {other: int(partition) for partition, _, other in found if other != node}


def _least_used(others: dict[str, int], partitions: int) -> int:
    uses = Counter(others.values())
    fewest = min(uses[partition] for partition in range(partitions))
    return random.choice([p for p in range(partitions) if uses[p] == fewest])
