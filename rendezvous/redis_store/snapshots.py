"""
Snapshots of processes and steps of their history in Redis, for the live page.

A snapshot is one JSON object for each process, which overwrites its last one. A step is one JSON
object for each process and STEP_S; the steps of all processes are in one sorted set, by time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from rendezvous.correlation import epoch_ms
from rendezvous.redis_store.client import execute

#: Version of the format of snapshots; it changes when a member changes its meaning.
FORMAT = 1
#: How long the last snapshot of a process that has ended is kept, in seconds.
KEEP_S = 120
#: Length of a step of the history, and of the history, in seconds.
STEP_S = 10
HISTORY_S = 600
#: How long steps are kept, in seconds: a clock that is ahead must not remove those of others.
KEEP_STEPS_S = 2 * HISTORY_S
#: How long the names of processes are kept, in seconds: their clocks may differ.
KEEP_NAMES_S = 3_600
#: Maximum number of processes whose snapshots are read, the latest ones.
MAX_PROCESSES = 200

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a process as it wrote it, and how long ago."""

    values: Json
    age_s: float
    clock_ahead_s: float  # by how much its clock is ahead of ours; negative when behind


class Snapshots:
    """
    The snapshots and steps of one deployment.

    Args:
        topic: the reply topic, with its prefix.
    """

    def __init__(self, redis: Redis, topic: str) -> None:
        self._redis = redis
        # The hash tag keeps the keys in one slot of a Redis Cluster.
        self._key = f"served:{{{topic}}}:live"
        self._history = f"{self._key}:history"

    def write(self, node: str, values: Mapping[str, Any], step: Mapping[str, Any]) -> None:
        """
        Write the snapshot of process *node*, and *step* of its history unless it is empty.

        Args:
            step: with ``t``, the number of the step: Unix time divided by STEP_S.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        now_ms = epoch_ms()
        value = json.dumps({**values, "format": FORMAT, "node": node, "written_ms": now_ms})
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(f"{self._key}:{node}", value, ex=KEEP_S)
        pipeline.zadd(self._key, {node: now_ms})
        pipeline.zremrangebyscore(self._key, "-inf", now_ms - KEEP_NAMES_S * 1000)
        pipeline.expire(self._key, KEEP_NAMES_S)
        if step:
            oldest = step["t"] - KEEP_STEPS_S // STEP_S
            pipeline.zadd(self._history, {json.dumps({**step, "node": node}): step["t"]})
            pipeline.zremrangebyscore(self._history, "-inf", oldest)
            pipeline.expire(self._history, KEEP_STEPS_S)
        execute(pipeline)

    def read(self) -> list[Snapshot]:
        """
        Return the snapshots of all processes.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zrangebyscore(self._key, "-inf", "+inf")
        (nodes,) = execute(pipeline)
        pipeline = self._redis.pipeline(transaction=False)
        for node in nodes[-MAX_PROCESSES:]:
            key = f"{self._key}:{node.decode()}"
            pipeline.get(key)
            pipeline.pttl(key)
        answers = execute(pipeline) if nodes else []
        pairs = zip(answers[::2], answers[1::2], strict=True)
        found = (_snapshot(value, remaining_ms) for value, remaining_ms in pairs)
        return [snapshot for snapshot in found if snapshot is not None]

    def read_steps(self, since: int) -> list[Json]:
        """
        Return the steps of all processes from step number *since* on.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zrangebyscore(self._history, since, "+inf")
        (members,) = execute(pipeline)
        return [step for step in map(_parsed, members) if isinstance(step.get("t"), int)]


def _snapshot(value: bytes | None, remaining_ms: int) -> Snapshot | None:
    values = _parsed(value)
    written_ms = values.get("written_ms")
    if not isinstance(written_ms, int):
        return None
    # By the clock of Redis: the clock of the process may differ from ours.
    age_ms = max(0, KEEP_S * 1000 - remaining_ms)
    return Snapshot(values, age_ms / 1000, (written_ms + age_ms - epoch_ms()) / 1000)


def _parsed(value: bytes | None) -> Json:
    """Return the object in *value*; {} without one or in another format."""
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
