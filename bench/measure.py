"""One measurement: load for a while, and what it cost each process."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Result:
    """What one measurement saw. Times are in seconds."""

    subject: str
    connections: int
    body_bytes: int
    round: int
    requests: int
    duration_s: float
    p50_s: float
    p99_s: float
    not_2xx: int = 0
    failed: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)
    redis_commands: int = 0

    @property
    def per_s(self) -> float:
        return self.requests / self.duration_s

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"per_s": self.per_s}


def with_wrk(url: str, connections: int, body_bytes: int, duration_s: float) -> dict[str, Any]:
    """Load *url* with wrk and return what it says."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration_s:g}s", "--timeout", "15s"]
    done = subprocess.run(
        [*command, "-s", str(WRK_SCRIPT), url],
        env=os.environ | {"BODY_BYTES": str(body_bytes)},
        capture_output=True,
        text=True,
        check=True,
        timeout=duration_s + 60,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return found


def with_floor(
    run: Callable[[int, bytes, float], list[float]],
    connections: int,
    body_bytes: int,
    duration_s: float,
) -> dict[str, Any]:
    """Run the floor and return the same figures."""
    started_s = time.perf_counter()
    latencies = sorted(run(connections, b"x" * body_bytes, duration_s))
    return {
        "requests": len(latencies),
        "duration_s": time.perf_counter() - started_s,
        "p50_s": latencies[len(latencies) // 2],
        "p99_s": latencies[int(len(latencies) * 0.99)],
    }


class Costs:
    """CPU seconds of processes and commands of Redis, from the moment it is made."""

    def __init__(self, pids: Mapping[str, Iterable[int]], redis: Redis) -> None:
        self._pids = {name: list(of_name) for name, of_name in pids.items()}
        self._redis = redis
        self._cpu_s = self._cpu()
        self._commands = self._redis_commands()

    def since(self) -> dict[str, Any]:
        """Return what was used since then."""
        now = self._cpu()
        return {
            "cpu_s": {name: round(now[name] - used, 3) for name, used in self._cpu_s.items()},
            "redis_commands": self._redis_commands() - self._commands,
        }

    def _cpu(self) -> dict[str, float]:
        return {name: sum(map(_cpu_s, of_name)) for name, of_name in self._pids.items()}

    def _redis_commands(self) -> int:
        stats = self._redis.info("stats")
        return int(stats["total_commands_processed"])


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
