"""What a stretch of time cost: CPU by kind of process, commands of Redis, memory."""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

from redis import Redis

from tools.devstack.process.procfs import usage_of

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.25

#: The processes of each kind: web, replies, responder, kafka, redis, floor, wrk.
Pids = Mapping[str, Sequence[int]]


class Costs:
    """CPU seconds of processes and commands of Redis, from the moment it is made."""

    def __init__(self, pids: Pids, redis: Redis) -> None:
        self._pids = pids
        self._redis = redis
        self._began_s = time.monotonic()
        self._cpu_s = self._cpu()
        self._commands = commands(redis)

    def since(self) -> tuple[float, dict[str, float], dict[str, int]]:
        """Return the seconds since then, the CPU seconds by kind, and the calls by command."""
        took_s = time.monotonic() - self._began_s
        cpu_s, calls = self._cpu(), commands(self._redis)
        return (
            took_s,
            {kind: round(cpu_s[kind] - used_s, 3) for kind, used_s in self._cpu_s.items()},
            {
                name: count - self._commands.get(name, 0)
                for name, count in calls.items()
                if count != self._commands.get(name, 0)
            },
        )

    def _cpu(self) -> dict[str, float]:
        return {kind: sum(map(cpu_s_of, of_kind)) for kind, of_kind in self._pids.items()}


def commands(redis: Redis) -> dict[str, int]:
    """Return how often each command was called so far, without our asking."""
    stats: dict[str, Any] = redis.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}
    calls.pop("info", None)
    return calls


def cpu_s_of(pid: int) -> float:
    """Return the CPU seconds that process *pid* has used; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_bytes(pids: Sequence[int]) -> int:
    """Return what *pids* hold in memory together."""
    usages = [usage_of(pid) for pid in pids]
    return sum(usage.rss_bytes for usage in usages if usage is not None)


class MemoryWatch:
    """Samples what *pids* hold, in a ``with`` block."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._samples: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def settled_bytes(self) -> int:
        """The median of the later half of the samples."""
        later = self._samples[len(self._samples) // 2 :]
        return int(median(later)) if later else 0

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self._samples.append(rss_bytes(self._pids))
