"""
Heartbeats of the replies processes: they show gateways whether replies arrive.

Each process writes a heartbeat to Redis for every partition that it reads, and renews it. A
partition without a heartbeat has no reader: its reader hangs, or died and is not replaced yet.

A partition has one more heartbeat for each SECRET_KEY that its readers accept, named by the key's
fingerprint: readers with other keys drop the replies to this gateway. One heartbeat for all would
not do, since in broadcast mode readers with different keys would overwrite it.
"""

import json
from collections.abc import Mapping, Sequence
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
    foreign: tuple[int, ...]  # partitions that only processes with another SECRET_KEY read
    lag_s: float  # the largest of all readers
    clock_ahead_s: float  # by how much a reader's clock is ahead of ours; negative when behind


class ReplyPathHeartbeats:
    """
    Writes and reads the heartbeats for one reply topic.

    Args:
        topic: the reply topic, with its prefix.
        fingerprints: of the SECRET_KEY of this process, and of others that it accepts.
    """

    def __init__(self, redis: Redis, topic: str, fingerprints: Sequence[str]) -> None:
        self._redis = redis
        self._fingerprints = fingerprints
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
        heartbeats: dict[str, dict[str, Any]] = {
            self._key: {"partitions": partitions, "clock_ms": epoch_ms()}
        }
        for partition, lag_s in lags_s.items():
            lag = {"lag_s": round(lag_s, 3)}
            heartbeats[self._partition_key(partition)] = lag | {"keys": list(self._fingerprints)}
            for fingerprint in self._fingerprints:
                heartbeats[self._partition_key(partition, fingerprint)] = lag
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
        for _ in range(2):  # again if this reading was for another number of partitions
            partitions = self._partitions
            topic, age_ms, readers = self._read(partitions)
            if not topic:
                return None
            self._partitions = tuple(range(int(topic.get("partitions", 0))))
            if self._partitions == partitions:
                break
        now_ms = epoch_ms()
        lags_s = [reader["lag_s"] for reader in readers if "lag_s" in reader]
        return PathState(
            unread=tuple(n for n, reader in enumerate(readers) if "lag_s" not in reader),
            foreign=tuple(n for n, reader in enumerate(readers) if "keys" in reader),
            lag_s=max(lags_s, default=0.0),
            clock_ahead_s=(int(topic.get("clock_ms", now_ms)) + age_ms - now_ms) / 1000,
        )

    def _read(self, partitions: Sequence[int]) -> tuple[dict[str, Any], int, list[dict[str, Any]]]:
        """
        Return the heartbeat of the topic, its age in ms, and that of each of *partitions*.

        A missing heartbeat is {}. One with "keys" is of readers that do not accept our key.
        """
        own = self._fingerprints[0]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.get(self._key)
        pipeline.pttl(self._key)
        for partition in partitions:
            pipeline.get(self._partition_key(partition, own))
            pipeline.get(self._partition_key(partition))
        topic, remaining_ms, *found = execute(pipeline)
        heartbeats = list(map(_parsed, found))
        age_ms = max(0, HEARTBEAT_TTL_S * 1000 - remaining_ms)
        # Replies processes of older releases write no heartbeat for their key.
        pairs = zip(heartbeats[::2], heartbeats[1::2], strict=True)
        readers = [of_own or of_any for of_own, of_any in pairs]
        return _parsed(topic), age_ms, readers

    def _partition_key(self, partition: int, fingerprint: str = "") -> str:
        return f"{self._key}:{partition}" + (f":{fingerprint}" if fingerprint else "")


def _parsed(value: bytes | None) -> dict[str, Any]:
    """Return the heartbeat in *value*; {} without one or in another format."""
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
