"""CPU, Redis commands, Kafka requests and memory used during a measurement."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Self

from redis import Redis

from tools.devstack.process.procfs import usage_of

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.25

#: Process ids by kind: web, replies, responder, kafka, redis, floor.
Pids = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Use:
    """What was used in an interval."""

    elapsed_s: float
    cpu_s: dict[str, float]  # by kind of process
    redis_calls: dict[str, int]  # by command
    kafka_requests: dict[str, int]  # by kind, as the broker counts them


class Meter:
    """Counts CPU seconds, Redis commands and Kafka requests from its creation on."""

    def __init__(
        self, pids: Pids, redis: Redis, kafka_requests: Callable[[], dict[str, int]] = dict
    ) -> None:
        self._pids = pids
        self._redis = redis
        self._kafka_requests = kafka_requests
        self._requests = kafka_requests()
        self._calls = redis_calls(redis)
        self._started_s = time.monotonic()
        self._cpu_s = self._cpu()

    def read(self) -> Use:
        """Return what was used so far."""
        elapsed_s = time.monotonic() - self._started_s
        cpu_s = self._cpu()
        return Use(
            elapsed_s,
            {kind: round(cpu_s[kind] - used_s, 3) for kind, used_s in self._cpu_s.items()},
            _more(redis_calls(self._redis), self._calls),
            _more(self._kafka_requests(), self._requests),
        )

    def _cpu(self) -> dict[str, float]:
        return {kind: sum(map(cpu_s_of, of_kind)) for kind, of_kind in self._pids.items()}


def _more(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that grew, by how much."""
    grown = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in grown.items() if count}


def redis_calls(redis: Redis) -> dict[str, int]:
    """Return the number of calls of each command so far, without INFO, which asks for it."""
    stats: dict[str, Any] = redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}
    calls.pop("info", None)
    return calls


def cpu_s_of(pid: int) -> float:
    """Return the CPU seconds that process *pid* has used; 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_bytes(pids: Sequence[int]) -> int:
    """Return the resident memory of *pids* together."""
    usages = [usage_of(pid) for pid in pids]
    return sum(usage.rss_bytes for usage in usages if usage is not None)


class MemorySampler:
    """Samples the resident memory of *pids* during a ``with`` block."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._samples: list[int] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def settled_bytes(self) -> int:
        """Median of the second half of the samples."""
        second_half = self._samples[len(self._samples) // 2 :]
        return int(median(second_half)) if second_half else 0

    def _sample(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self._samples.append(rss_bytes(self._pids))
