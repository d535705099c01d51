"""CPU, Redis commands and memory used during a measurement."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Self

from redis import Redis

from tools.devstack.process.procfs import usage_of

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.25

#: Process ids by kind: web, replies, responder, kafka, redis, floor.
Pids = Mapping[str, Sequence[int]]


class Meter:
    """Counts CPU seconds of processes and Redis commands from its creation on."""

    def __init__(self, pids: Pids, redis: Redis) -> None:
        self._pids = pids
        self._redis = redis
        self._started_s = time.monotonic()
        self._cpu_s = self._cpu()
        self._calls = redis_calls(redis)

    def read(self) -> tuple[float, dict[str, float], dict[str, int]]:
        """Return the elapsed seconds, CPU seconds by kind, and Redis calls by command."""
        elapsed_s = time.monotonic() - self._started_s
        cpu_s, calls = self._cpu(), redis_calls(self._redis)
        return (
            elapsed_s,
            {kind: round(cpu_s[kind] - used_s, 3) for kind, used_s in self._cpu_s.items()},
            {
                name: count - self._calls.get(name, 0)
                for name, count in calls.items()
                if count != self._calls.get(name, 0)
            },
        )

    def _cpu(self) -> dict[str, float]:
        return {kind: sum(map(cpu_s_of, of_kind)) for kind, of_kind in self._pids.items()}


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
