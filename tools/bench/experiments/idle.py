"""What idle processes cost: the Procfile without requests, by number of web workers."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from tools.bench.experiments.comparison import START_S
from tools.bench.report.progress import Progress
from tools.bench.report.summary import Spread
from tools.bench.servers import Servers
from tools.bench.setup import Setup
from tools.bench.subject import Subject

#: Time from the warm-up to the measurement, in seconds.
CALM_S = 2.0
KINDS = ("web", "replies", "responder", "kafka", "redis")


@dataclass(frozen=True)
class Idle:
    """One setup without requests, per second."""

    subject: str
    workers: int
    round: int
    cpu: dict[str, float]  # in cores, by kind of process
    kafka_per_s: dict[str, float]  # requests received by the broker, by kind
    redis_per_s: float

    @property
    def fetches_per_s(self) -> float:
        """Fetch requests that the broker received."""
        return self.kafka_per_s.get("Fetch", 0.0)


def measure(
    servers: Servers,
    setups: Mapping[str, Setup],
    workers: Sequence[int],
    rounds: int,
    seconds: float,
) -> list[Idle]:
    """Measure *setups*, by their names, with each number of web workers in each round."""
    duration_s = START_S + CALM_S + seconds
    progress = Progress(rounds * len(setups) * len(workers) * duration_s)
    found = []
    for number in range(1, rounds + 1):
        for name, setup, count in ((n, s, c) for c in workers for n, s in setups.items()):
            sized = replace(setup, env=setup.env | {"WEB_CONCURRENCY": str(count)})
            with Subject(servers, sized) as subject:
                found.append(_measure(subject, name, count, number, seconds))
            progress.done(duration_s)
            progress.print(f"round {number}/{rounds}  {_line(found[-1])}")
    return found


def _measure(subject: Subject, name: str, workers: int, number: int, seconds: float) -> Idle:
    time.sleep(CALM_S)
    meter = subject.start_meter()
    time.sleep(seconds)
    use = meter.read()
    return Idle(
        name,
        workers,
        number,
        {kind: used_s / use.elapsed_s for kind, used_s in use.cpu_s.items()},
        {kind: count / use.elapsed_s for kind, count in use.kafka_requests.items()},
        sum(use.redis_calls.values()) / use.elapsed_s,
    )


def _line(one: Idle) -> str:
    return (
        f"{one.subject}, {one.workers} workers: web {one.cpu['web']:.1%} of a core, "
        f"{one.fetches_per_s:.1f} fetch requests/s, {one.redis_per_s:.1f} Redis commands/s"
    )


def table(found: Sequence[Idle]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "without requests, per second; CPU in shares of one core; medians over the rounds"
    yield (
        f"{'':10} {'workers':>7} {'fetch requests':>22} {'Redis commands':>22}"
        + "".join(f"{kind:>11}" for kind in KINDS)
    )
    for subject, workers in dict.fromkeys((one.subject, one.workers) for one in found):
        own = [one for one in found if (one.subject, one.workers) == (subject, workers)]
        fetches = Spread.of([one.fetches_per_s for one in own])
        commands = Spread.of([one.redis_per_s for one in own])
        shares = (median(one.cpu.get(kind, 0.0) for one in own) for kind in KINDS)
        yield (
            f"{subject:10} {workers:7} {f'{fetches:.1f}':>22} {f'{commands:.1f}':>22}"
            + "".join(f"{share:11.1%}" for share in shares)
        )


def as_json(found: Sequence[Idle]) -> dict[str, Any]:
    """Return all measurements."""
    return {"results": [asdict(one) for one in found]}
