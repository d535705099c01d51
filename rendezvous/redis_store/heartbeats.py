"""
Heartbeats of the replies processes: they show gateways whether replies arrive.

Each process writes a heartbeat to Redis for every partition that it reads, and renews it. A
partition without a heartbeat has no reader: its reader hangs, or died and is not replaced yet.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from rendezvous.correlation import epoch_ms
from rendezvous.redis_store.client import execute

#: Time to live of a heartbeat, in seconds.
HEARTBEAT_TTL_S = 10


@dataclass(frozen=True, slots=True)
class PathState:
    """The state of the reply path, by the heartbeats of its readers."""

    unread: tuple[int, ...]  # partitions of the reply topic that no process reads
    lag_s: float  # the largest of all readers
    clock_ahead_s: float  # by how much a reader's clock is ahead of ours; negative when behind


class ReplyPathHeartbeats:
    """
    Writes and reads the heartbeats for one reply topic.

    Args:
        topic: the reply topic, with its prefix.
    """

    def __init__(self, redis: Redis, topic: str) -> None:
        self._redis = redis
        # The hash tag keeps the keys of a topic in one slot of a Redis Cluster.
        self._key = f"served:{{{topic}}}"
        self._partitions: tuple[int, ...] = ()
        self.topic = topic

    def write(self, partitions: int, lags_s: Mapping[int, float]) -> None:
        """
        Write a heartbeat for the topic and for each partition of this process.

        Args:
            partitions: the number of partitions of the topic.
            lags_s: the lag in seconds of each partition that this process reads.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        heartbeats: dict[str, dict[str, float]] = {
            self._key: {"partitions": partitions, "clock_ms": epoch_ms()}
        }
        for partition, lag_s in lags_s.items():
            heartbeats[self._partition_key(partition)] = {"lag_s": round(lag_s, 3)}
        pipeline = self._redis.pipeline(transaction=False)
        for key, heartbeat in heartbeats.items():
            pipeline.set(key, json.dumps(heartbeat), ex=HEARTBEAT_TTL_S)
        execute(pipeline)

    def state(self) -> PathState | None:
        """
        Return the state of the reply path, or None without a heartbeat for the topic.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        partitions = self._partitions
        (topic, age_ms), *found = self._read([self._key, *map(self._partition_key, partitions)])
        if not topic:
            return None
        self._partitions = tuple(range(int(topic.get("partitions", 0))))
        if self._partitions != partitions:
            return self.state()
        lags_s = {
            partition: heartbeat.get("lag_s")
            for partition, (heartbeat, _) in zip(partitions, found, strict=True)
        }
        now_ms = epoch_ms()
        return PathState(
            unread=tuple(partition for partition, lag_s in lags_s.items() if lag_s is None),
            lag_s=max((lag_s for lag_s in lags_s.values() if lag_s is not None), default=0.0),
            clock_ahead_s=(int(topic.get("clock_ms", now_ms)) + age_ms - now_ms) / 1000,
        )

    def _read(self, keys: list[str]) -> list[tuple[dict[str, Any], int]]:
        """Return the heartbeat under each of *keys*, or {}, and its age in ms."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
            pipeline.pttl(key)
        found = execute(pipeline)
        return [
            (_parsed(value), max(0, HEARTBEAT_TTL_S * 1000 - remaining_ms))
            for value, remaining_ms in zip(found[::2], found[1::2], strict=True)
        ]

    def _partition_key(self, partition: int) -> str:
        return f"{self._key}:{partition}"


def _parsed(value: bytes | None) -> dict[str, Any]:
    """Return the heartbeat in *value*; {} without one or in another format."""
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
