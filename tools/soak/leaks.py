"""Memory, threads and descriptors under even load, and whether they grow."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from matplotlib.figure import Figure
from redis import Redis

from tools.devstack.process.procfs import Usage, usage_of
from tools.devstack.waiting import wait_until
from tools.output import print_line
from tools.soak.deployment import RETENTION_S, TIMEOUT_S, Deployment
from tools.soak.judge.findings import find
from tools.soak.run import collect, load, watch

SAMPLE_S = 10.0
#: A burst at the start fills the pools of threads and connections, which keep their maximum size;
#: growth after it is a leak.
BURST_CLIENTS, BURST_PER_S, BURST_S = 240, 1_000.0, 10.0
#: Number of the first request of the burst, above all of the judged load.
BURST_FIRST = 10**9
#: Time for caches and Redis to reach their level, in seconds.
WARM_UP_S = 180.0
#: Maximum share of a run that is warm-up.
WARM_UP_SHARE = 0.4
RSS_LIMIT_BYTES_PER_MINUTE = 1_000_000
#: Tolerated increase of threads or descriptors, which vary with requests in flight.
SLACK = 4
#: Extra time after deadline and retention for Redis to remove expired keys, in seconds.
EXPIRY_SPARE_S = 15.0
MB = 1e6


@dataclass(frozen=True)
class Sample:
    """Usage at one moment; ``at_s`` counts from the start of the load."""

    at_s: float
    usage: dict[str, Usage]
    redis_keys: int
    redis_bytes: int


@dataclass(frozen=True)
class Growth:
    """Change of the usage of one process after the warm-up."""

    name: str
    first: Usage
    last: Usage
    rss_bytes_per_minute: float
    threads: float
    fds: float

    @property
    def problems(self) -> list[str]:
        """Kinds of growth above the limits."""
        found = []
        if self.rss_bytes_per_minute > RSS_LIMIT_BYTES_PER_MINUTE:
            found.append(f"memory grows by {self.rss_bytes_per_minute / MB:.2f} MB per minute")
        if self.threads > SLACK:
            found.append(f"{self.threads:g} more threads at the end")
        if self.fds > SLACK:
            found.append(f"{self.fds:g} more file descriptors at the end")
        return found


@dataclass(frozen=True)
class Leaks:
    """Samples of a run, and the keys left in Redis after everything expired."""

    samples: Sequence[Sample]
    warm_up_s: float
    keys_left: int
    incorrect: Sequence[str] = ()  # a line for each incorrect response

    @property
    def growths(self) -> list[Growth]:
        """Growth of each process after the warm-up."""
        warm = self._warm
        if len(warm) < 2:
            return []
        names = [name for name in warm[0].usage if all(name in s.usage for s in warm)]
        return [growth(name, warm) for name in names]

    @property
    def _warm(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.at_s >= self.warm_up_s]

    def failures(self) -> Iterator[str]:
        """Yield a line for each failure."""
        if len(self._warm) < 2:
            yield "too few samples; run for longer"
            return
        seen = {name for sample in self.samples for name in sample.usage}
        for name in sorted(seen - {one.name for one in self.growths}):
            yield f"{name}: did not run all the time"
        for one in self.growths:
            yield from (f"{one.name}: {problem}" for problem in one.problems)
        if self.keys_left:
            yield f"Redis: {self.keys_left} keys are left after the last expiry"
        yield from self.incorrect


def growth(name: str, samples: Sequence[Sample]) -> Growth:
    """Return the growth of process *name* over *samples*."""
    usage = [sample.usage[name] for sample in samples]
    minutes = [sample.at_s / 60 for sample in samples]
    third = max(len(usage) // 3, 1)
    first, last = usage[:third], usage[-third:]
    return Growth(
        name,
        usage[0],
        usage[-1],
        linear_regression(minutes, [one.rss_bytes for one in usage]).slope,
        median(one.threads for one in last) - median(one.threads for one in first),
        median(one.fds for one in last) - median(one.fds for one in first),
    )


def measure(deployment: Deployment, minutes: float, per_s: float, folder: Path) -> Leaks:
    """Run load for *minutes*, judge the responses, and return the usage."""
    samples: list[Sample] = []
    _burst(deployment, folder / "burst")
    with load(deployment, per_s, folder) as clients:
        start_s = time.monotonic()
        watch(
            clients,
            start_s,
            minutes * 60,
            folder,
            before_line=lambda: _sample(deployment, start_s, samples),
        )
        end_s = time.monotonic()
    evidence = collect(deployment, start_s, end_s, folder, [], deployment.restart_ended())
    effects = [effect for effect in evidence.effects if effect.number < BURST_FIRST]
    incorrect = list(find(replace(evidence, effects=effects), deployment.seed).failures())
    print_line("the load has ended; waiting for the last reply to expire")
    # Running processes write heartbeats to Redis.
    deployment.stop_processes()
    with deployment.redis_client() as redis:
        limit_s = TIMEOUT_S + RETENTION_S + EXPIRY_SPARE_S
        wait_until(lambda: _keys_left(redis) == 0, limit_s, 0.5)
        left = _keys_left(redis)
    warm_up_s = min(WARM_UP_S, WARM_UP_SHARE * minutes * 60)
    return Leaks(samples, warm_up_s, left, incorrect)


def _keys_left(redis: Redis) -> int:
    """Return the number of keys, without those of the live page."""
    return sum(b":live" not in key for key in redis.scan_iter(count=1000))


def _burst(deployment: Deployment, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with load(deployment, BURST_PER_S, folder, BURST_CLIENTS, BURST_FIRST):
        time.sleep(BURST_S)


def table(found: Leaks) -> Iterator[str]:
    """Yield the lines of the report."""
    yield (
        f"after {found.warm_up_s:.0f} s of warm-up, {len(found.samples)} samples in all; "
        f"limit {RSS_LIMIT_BYTES_PER_MINUTE / MB:g} MB a minute, {SLACK} threads, {SLACK} fds"
    )
    yield (
        f"{'process':24} {'RSS before':>11} {'after':>9} {'MB/min':>8} "
        f"{'threads':>10} {'+':>4} {'fds':>10} {'+':>4}"
    )
    for one in found.growths:
        yield (
            f"{one.name:24} {one.first.rss_bytes / MB:8.1f} MB {one.last.rss_bytes / MB:6.1f} MB "
            f"{one.rss_bytes_per_minute / MB:8.3f} "
            f"{one.first.threads:4} ->{one.last.threads:4} {one.threads:+4g} "
            f"{one.first.fds:4} ->{one.last.fds:4} {one.fds:+4g}"
            + ("  <-- grows" if one.problems else "")
        )
    max_keys = max((sample.redis_keys for sample in found.samples), default=0)
    max_bytes = max((sample.redis_bytes for sample in found.samples), default=0)
    yield (
        f"Redis: {max_keys} keys and {max_bytes / MB:.1f} MB at most; "
        f"{found.keys_left} keys after the last expiry"
    )


def as_json(found: Leaks, options: dict[str, object]) -> dict[str, object]:
    """Return growths, samples and failures."""
    return {
        "options": options,
        "warm_up_s": found.warm_up_s,
        "keys_left": found.keys_left,
        "growths": [asdict(one) for one in found.growths],
        "samples": [asdict(sample) for sample in found.samples],
        "failures": list(found.failures()),
    }


def plot(found: Leaks, file: Path) -> None:
    """Draw memory, threads, file descriptors and Redis over time into *file* (PNG)."""
    figure = Figure(figsize=(13, 14), layout="constrained")
    figure.suptitle("Usage of the processes under even load; grey: warm-up")
    axes = figure.subplots(4, 1, sharex=True)
    names = sorted({name for sample in found.samples for name in sample.usage})
    for name in names:
        samples = [sample for sample in found.samples if name in sample.usage]
        minutes = [sample.at_s / 60 for sample in samples]
        usage = [sample.usage[name] for sample in samples]
        axes[0].plot(minutes, [one.rss_bytes / MB for one in usage], label=name)
        axes[1].plot(minutes, [one.threads for one in usage], label=name)
        axes[2].plot(minutes, [one.fds for one in usage], label=name)
    minutes = [sample.at_s / 60 for sample in found.samples]
    axes[3].plot(minutes, [sample.redis_bytes / MB for sample in found.samples], label="memory, MB")
    axes[3].plot(minutes, [sample.redis_keys / 1e3 for sample in found.samples], label="1000 keys")
    axes[3].set_xlabel("minutes since the start of the load")
    titles = ("resident memory, MB", "threads", "file descriptors", "Redis")
    for part, title in zip(axes, titles, strict=True):
        part.axvspan(0, found.warm_up_s / 60, color="grey", alpha=0.2, linewidth=0)
        part.set_ylabel(title)
        part.set_ylim(bottom=0)
        part.grid(alpha=0.3)
        part.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    figure.savefig(file, dpi=110)


def _sample(deployment: Deployment, start_s: float, samples: list[Sample]) -> None:
    found = {name: usage_of(pid) for name, pid in deployment.processes().items()}
    with deployment.redis_client() as redis:
        memory: dict[str, Any] = redis.info("memory")
        keys = int(redis.dbsize())
    samples.append(
        Sample(
            time.monotonic() - start_s,
            {name: usage for name, usage in found.items() if usage is not None},
            keys,
            int(memory["used_memory"]),
        )
    )
