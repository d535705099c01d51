"""Whether large bodies make the processes grow: 500 kB at 8 connections, for minutes."""

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
from tools.bench.subject import Setup, Subject

CASE = Case("memory", connections=8, body_bytes=500_000)
SAMPLE_S = 10.0
#: Of the samples: pools and buffers reach their sizes.
WARM_UP_SHARE = 0.2
LIMIT_KB_PER_MINUTE = 1_000.0
#: Kafka and Redis shall not keep minutes of such bodies: 100 MB a partition, and no reply longer
#: than its deadline. What is measured here holds none of it.
KAFKA_OPTIONS = {
    "log.retention.bytes": "100000000",
    "log.segment.bytes": "50000000",
    "log.retention.check.interval.ms": "5000",
}
ENV = {"REPLY_RETENTION_S": "0"}


@dataclass(frozen=True)
class Sample:
    """What each process held at a moment since the load began."""

    at_s: float
    rss_bytes: dict[str, int]  # by the name of the process


@dataclass(frozen=True)
class Watched:
    """The samples, and what the load generator saw."""

    samples: Sequence[Sample]
    load: Load

    @property
    def mb_per_s(self) -> float:
        """How much came in, and as much went out again."""
        return self.load.requests * CASE.body_bytes / self.load.duration_s / 1e6

    @property
    def growths(self) -> dict[str, float]:
        """How each process grew after the warm-up, in kB a minute."""
        return kb_per_minute(self.samples)

    def failures(self) -> Iterator[str]:
        """Yield a line for each thing that must not be."""
        for name, kb in self.growths.items():
            if kb > LIMIT_KB_PER_MINUTE:
                yield f"{name} grows by {kb:.0f} kB a minute"
        if not self.growths:
            yield "there is nothing to compare: run it for longer"
        if self.load.not_2xx or self.load.failed:
            yield f"{self.load.not_2xx + self.load.failed} requests were not answered well"


def kb_per_minute(
    samples: Sequence[Sample], warm_up_share: float = WARM_UP_SHARE
) -> dict[str, float]:
    """
    Return the slope of the best line through what each process holds, in kB a minute.

    The first *warm_up_share* of the time does not count. None for fewer than two samples.
    """
    warm_s = samples[-1].at_s * warm_up_share if samples else 0.0
    warm = [sample for sample in samples if sample.at_s >= warm_s]
    if len(warm) < 2:
        return {}
    minutes = [sample.at_s / 60 for sample in warm]
    return {
        name: linear_regression(minutes, [s.rss_bytes.get(name, 0) / 1e3 for s in warm]).slope
        for name in warm[0].rss_bytes
    }


def measure(servers: Servers, minutes: float, sample_s: float = SAMPLE_S) -> Watched:
    """Load ours for *minutes* and return what it held."""
    duration_s = round(minutes * 60)
    samples: list[Sample] = []
    with Subject(servers, Setup("ours", env=ENV)) as subject:
        progress = Progress(duration_s)
        with wrk(subject.url, CASE, duration_s) as generator:
            begin_s = time.monotonic()
            while (next_s := sample_s * (len(samples) + 1)) < duration_s:
                time.sleep(max(0.0, begin_s + next_s - time.monotonic()))
                samples.append(Sample(time.monotonic() - begin_s, _held(subject)))
                progress.done(sample_s)
                progress.say(_line(samples[-1]))
            return Watched(samples, generator.result())


def _held(subject: Subject) -> dict[str, int]:
    return {
        f"{kind}-{number}": rss_bytes([pid])
        for kind, pids in subject.pids().items()
        if kind in ("web", "replies")
        for number, pid in enumerate(pids)  # web-0 is gunicorn itself, the others are its workers
    }


def _line(sample: Sample) -> str:
    return ", ".join(f"{name} {held / 1e6:.1f} MB" for name, held in sample.rss_bytes.items())


def table(found: Watched) -> Iterator[str]:
    """Yield the lines of the report."""
    yield (
        f"{CASE.connections} connections, {CASE.body_bytes // 1000} kB: "
        f"{found.load.requests / found.load.duration_s:.0f} requests/s, "
        f"{found.mb_per_s:.1f} MB/s in and as much out"
    )
    for name, kb in found.growths.items():
        first, last = found.samples[0].rss_bytes[name], found.samples[-1].rss_bytes.get(name, 0)
        yield f"{name:10} {first / 1e6:7.1f} MB -> {last / 1e6:7.1f} MB, {kb:+8.1f} kB a minute"


def as_json(found: Watched) -> dict[str, Any]:
    """Return all of it."""
    return {
        "mb_per_s": found.mb_per_s,
        "kb_per_minute": found.growths,
        "load": asdict(found.load),
        "samples": [asdict(sample) for sample in found.samples],
        "failures": list(found.failures()),
    }
