"""
Latency against the rate of requests, up to saturation: an open loop (load/vegeta.py).

A subject is saturated at the first rate of which it answers less than SATURATED with a status 2xx
within the load and its end; higher rates are left out in that round.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tools.bench.experiments.comparison import START_S
from tools.bench.load import bodies
from tools.bench.load.vegeta import OpenLoad, attack
from tools.bench.report.progress import Progress
from tools.bench.report.summary import Spread
from tools.bench.servers import Servers
from tools.bench.setup import Setup
from tools.bench.subject import SETTLE_S, Subject
from tools.output import print_line

RATES = (100.0, 500.0, 1_000.0, 1_500.0, 2_000.0, 3_000.0)
SUBJECTS = ("shipped", "textbook")
BODY_BYTES = 200
SATURATED = 0.95
#: Minimum number of requests of a measurement, so that p99.9 is not only the slowest one.
MIN_REQUESTS = 1_000


@dataclass(frozen=True)
class Open:
    """One subject at one rate in one round."""

    subject: str
    round: int
    load: OpenLoad
    cpu_s: dict[str, float]

    @property
    def saturated(self) -> bool:
        """Whether too few requests were answered."""
        return self.load.answered < SATURATED * self.load.sent

    def ms(self, percent: float) -> float:
        """Return the latency at *percent* in ms."""
        return 1e3 * dict(self.load.percentiles_s)[percent]

    def cpu_us(self, kind: str) -> float:
        """Return the CPU time of *kind* of processes for each status 2xx, in us."""
        return 1e6 * self.cpu_s.get(kind, 0.0) / self.load.answered if self.load.answered else 0.0


def duration_s(rate_per_s: float, seconds: float) -> float:
    """Return the length of a measurement at *rate_per_s*, at least *seconds*."""
    return max(seconds, MIN_REQUESTS / rate_per_s)


def measure(
    servers: Servers,
    setups: Mapping[str, Setup],
    rates: Sequence[float],
    rounds: int,
    seconds: float,
) -> list[Open]:
    """Measure *setups*, by their names, at rising *rates* in each round."""
    planned_s = START_S + sum(duration_s(rate, seconds) + SETTLE_S for rate in rates)
    progress = Progress(rounds * len(setups) * planned_s)
    found = []
    for number in range(1, rounds + 1):
        for name, setup in setups.items():
            with Subject(servers, setup) as subject:
                for rate in sorted(rates):
                    one = _measure(subject, name, rate, duration_s(rate, seconds), number)
                    found.append(one)
                    print_line(f"round {number}/{rounds}  {_line(one)}")
                    if one.saturated:
                        break
            progress.done(planned_s)
            progress.print(f"round {number}/{rounds}  {name} done")
    return found


def _measure(subject: Subject, name: str, rate: float, length_s: float, number: int) -> Open:
    meter = subject.start_meter()
    body = bodies.body(BODY_BYTES)
    load, generator_s = attack(subject.url, rate, length_s, body, subject.setup.api_key)
    cpu_s = meter.read().cpu_s | {"vegeta": generator_s}
    time.sleep(SETTLE_S)
    return Open(name, number, load, cpu_s)


def _line(one: Open) -> str:
    load = one.load
    return (
        f"{one.subject:16} {load.rate_per_s:6.0f} /s  p50 {one.ms(50):8.2f} ms  "
        f"p99 {one.ms(99):8.2f} ms  p99.9 {one.ms(99.9):8.2f} ms  "
        f"{load.refused} refused, {load.failed} failed"
    )


#: Figure, format and width of the columns with ranges.
SPREADS: Sequence[tuple[Callable[[Open], float], str, int]] = (
    (lambda one: one.load.per_s, ".0f", 20),
    (lambda one: one.ms(50), ".1f", 20),
    (lambda one: one.ms(99), ".1f", 22),
    (lambda one: one.ms(99.9), ".1f", 24),
)
KINDS = ("web", "replies", "responder")


def by_rate(found: Sequence[Open]) -> Iterator[tuple[str, float, list[Open]]]:
    """Yield subject, rate and measurements, by subject and rate."""
    for subject in dict.fromkeys(one.subject for one in found):
        own = [one for one in found if one.subject == subject]
        for rate in sorted({one.load.rate_per_s for one in own}):
            yield subject, rate, [one for one in own if one.load.rate_per_s == rate]


def table(found: Sequence[Open]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "open loop: latency of status 2xx from the time at which a request was due, in ms;"
    yield "medians over the rounds (minimum..maximum); lag: p99 of the generator's delay, in ms;"
    yield "refused: share, and the longest time from sending to the refusal in ms; CPU in us"
    yield (
        f"{'subject':12} {'rate/s':>6} {'answered/s':>20} {'p50':>20} {'p99':>22} {'p99.9':>24} "
        f"{'refused':>16} {'lag':>6}" + "".join(f" {kind:>9}" for kind in KINDS)
    )
    for subject, rate, own in by_rate(found):
        yield (
            f"{subject:12} {rate:6.0f} "
            + " ".join(
                format(Spread.of([figure(one) for one in own]), form).rjust(width)
                for figure, form, width in SPREADS
            )
            + f" {_refused(own):>16} {median(1e3 * one.load.lag_s for one in own):6.1f}"
            + "".join(f" {median(one.cpu_us(kind) for one in own):9.0f}" for kind in KINDS)
        )


def _refused(own: Sequence[Open]) -> str:
    share = sum(o.load.refused + o.load.failed for o in own) / sum(o.load.sent for o in own)
    longest_ms = 1e3 * max(o.load.refused_s for o in own)
    return f"{share:.1%} <{longest_ms:.0f}" if share else "0"


def as_json(found: Sequence[Open]) -> dict[str, Any]:
    """Return all measurements."""
    return {"results": [asdict(one) | {"per_s": one.load.per_s} for one in found]}


def from_json(found: Mapping[str, Any]) -> list[Open]:
    """Return the measurements that as_json() made *found* of."""
    return [
        Open(
            one["subject"],
            one["round"],
            OpenLoad(
                **one["load"] | {"percentiles_s": [(p, s) for p, s in one["load"]["percentiles_s"]]}
            ),
            one["cpu_s"],
        )
        for one in found["results"]
    ]
