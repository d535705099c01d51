"""Memory of web and replies under 500 kB bodies over minutes."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import linear_regression
from typing import Any

from tools.bench.cases import Case
from tools.bench.load.wrk import wrk
from tools.bench.measure.result import Load
from tools.bench.measure.usage import rss_bytes
from tools.bench.report.progress import Progress
from tools.bench.servers import Servers
from tools.bench.setup import Setup
from tools.bench.subject import Subject

CASE = Case("memory", connections=8, body_bytes=500_000)
SAMPLE_S = 10.0
#: Share of the samples during which pools and buffers reach their sizes.
WARM_UP_SHARE = 0.2
LIMIT_KB_PER_MINUTE = 1_000.0
#: Kafka keeps at most 100 MB a partition, and Redis no reply after its deadline. The measured
#: processes hold none of it.
KAFKA_OPTIONS = {
    "log.retention.bytes": "100000000",
    "log.segment.bytes": "50000000",
    "log.retention.check.interval.ms": "5000",
}
ENV = {"REPLY_RETENTION_S": "0"}


@dataclass(frozen=True)
class Sample:
    """Memory of each process at one moment after the load started."""

    at_s: float
    rss_bytes: dict[str, int]  # by the name of the process


@dataclass(frozen=True)
class MemoryRun:
    """The samples and the load."""

    samples: Sequence[Sample]
    load: Load

    @property
    def mb_per_s(self) -> float:
        """Megabytes received per second; as many are sent."""
        return self.load.requests * CASE.body_bytes / self.load.duration_s / 1e6

    @property
    def growths(self) -> dict[str, float]:
        """Growth of each process after the warm-up, in kB per minute."""
        return kb_per_minute(self.samples)


def kb_per_minute(
    samples: Sequence[Sample], warm_up_share: float = WARM_UP_SHARE
) -> dict[str, float]:
    """
    Return the growth of each process in kB per minute, by linear regression.

    The first *warm_up_share* of the time does not count. Empty for fewer than two samples.
    """
    warm_up_s = samples[-1].at_s * warm_up_share if samples else 0.0
    warm = [sample for sample in samples if sample.at_s >= warm_up_s]
    if len(warm) < 2:
        return {}
    minutes = [sample.at_s / 60 for sample in warm]
    return {
        name: linear_regression(minutes, [s.rss_bytes.get(name, 0) / 1e3 for s in warm]).slope
        for name in warm[0].rss_bytes
    }


def measure(servers: Servers, minutes: float, sample_s: float = SAMPLE_S) -> MemoryRun:
    """Send large bodies to ours for *minutes* and return its memory."""
    duration_s = round(minutes * 60)
    samples: list[Sample] = []
    with Subject(servers, Setup("ours", env=ENV)) as subject:
        progress = Progress(duration_s)
        with wrk(subject.url, CASE, duration_s) as generator:
            started_s = time.monotonic()
            while (next_s := sample_s * (len(samples) + 1)) < duration_s:
                time.sleep(max(0.0, started_s + next_s - time.monotonic()))
                samples.append(Sample(time.monotonic() - started_s, _memory(subject)))
                progress.done(sample_s)
                progress.print(_line(samples[-1]))
            return MemoryRun(samples, generator.result())


def _memory(subject: Subject) -> dict[str, int]:
    return {
        f"{kind}-{number}": rss_bytes([pid])
        for kind, pids in subject.pids().items()
        if kind in ("web", "replies")
        for number, pid in enumerate(pids)  # web-0 is gunicorn's arbiter, the others are workers
    }


def _line(sample: Sample) -> str:
    return ", ".join(
        f"{name} {held_bytes / 1e6:.1f} MB" for name, held_bytes in sample.rss_bytes.items()
    )


def table(found: MemoryRun) -> Iterator[str]:
    """Yield the lines of the report."""
    yield (
        f"{CASE.connections} connections, {CASE.body_bytes // 1000} kB: "
        f"{found.load.requests / found.load.duration_s:.0f} requests/s, "
        f"{found.mb_per_s:.1f} MB/s in each direction"
    )
    for name, kb in found.growths.items():
        first, last = found.samples[0].rss_bytes[name], found.samples[-1].rss_bytes.get(name, 0)
        yield f"{name:10} {first / 1e6:7.1f} MB -> {last / 1e6:7.1f} MB, {kb:+8.1f} kB per minute"


def failures(found: MemoryRun) -> Iterator[str]:
    """Yield a line for each failure."""
    for name, kb in found.growths.items():
        if kb > LIMIT_KB_PER_MINUTE:
            yield f"{name} grows by {kb:.0f} kB per minute"
    if not found.growths:
        yield "too few samples; run for longer"
    if found.load.not_2xx or found.load.failed:
        yield f"{found.load.not_2xx + found.load.failed} requests failed"


def as_json(found: MemoryRun) -> dict[str, Any]:
    """Return growth, load, samples and failures."""
    return {
        "mb_per_s": found.mb_per_s,
        "kb_per_minute": found.growths,
        "load": asdict(found.load),
        "samples": [asdict(sample) for sample in found.samples],
        "failures": list(failures(found)),
    }
