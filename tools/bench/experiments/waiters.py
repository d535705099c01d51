"""
What waiters cost: the same rate of requests with few and with many of them pending.

Both loads send 200 requests a second. With replies after 50 ms 10 requests are pending at any time,
after 1 s 200 are. The difference in CPU is the cost of the waiters.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tools.bench.cases import Case
from tools.bench.load.wrk import wrk
from tools.bench.report.progress import Progress
from tools.bench.report.summary import Spread
from tools.bench.servers import Servers
from tools.bench.setup import Setup
from tools.bench.subject import Subject

SUBJECTS = ("naive", "ours")
PACE_PER_S = 200.0
#: More connections than pending requests, so that the pace is kept when replies are slow.
FEW = Case("few", connections=64, delay_s=0.05)
MANY = Case("many", connections=280, delay_s=1.0)
IDLE = "idle"
IDLE_S = 3.0
#: Seconds from the first response to an even load, and from the interval to the end of wrk.
RAMP_SPARE_S, END_SPARE_S = 1.0, 1.0
START_S = 10.0


@dataclass(frozen=True)
class Interval:
    """Usage of a subject under an even load, per second."""

    subject: str
    load: str  # FEW, MANY or IDLE
    round: int
    replies_per_s: float
    cpu: dict[str, float]  # in cores, by kind of process
    redis_calls_per_s: dict[str, float]  # by command

    @property
    def redis_per_s(self) -> float:
        """All Redis commands."""
        return sum(self.redis_calls_per_s.values())

    @property
    def web_redis_per_s(self) -> float:
        """Commands of web: all but SET, with which the replies process stores."""
        return self.redis_per_s - self.redis_calls_per_s.get("set", 0.0)


def waiter_cost(few: Interval, many: Interval) -> float:
    """Return the extra CPU of web under *many* waiters, as a share of one core."""
    return many.cpu["web"] - few.cpu["web"]


def measure(servers: Servers, rounds: int, seconds: float) -> list[Interval]:
    """Measure both subjects in each round, for *seconds* under each load."""
    duration_s = START_S + IDLE_S + sum(_load_s(case, seconds) for case in (FEW, MANY))
    progress = Progress(rounds * len(SUBJECTS) * duration_s)
    found = []
    for number in range(1, rounds + 1):
        for name in SUBJECTS:
            with Subject(servers, Setup(name)) as subject:
                intervals = list(_intervals(subject, number, seconds))
            found += intervals
            progress.done(duration_s)
            _, few, many = intervals
            progress.print(
                f"round {number}/{rounds}  {name:6} {many.replies_per_s:5.0f} /s, "
                f"waiters: {waiter_cost(few, many):6.1%} of a core, "
                f"{many.redis_per_s:5.0f} Redis commands/s"
            )
    return found


def _intervals(subject: Subject, number: int, seconds: float) -> Iterator[Interval]:
    idle = _interval(subject, IDLE, number, IDLE_S, 0.0)
    yield idle
    # The replies process also writes heartbeats with SET.
    heartbeats_per_s = idle.redis_calls_per_s.get("set", 0.0)
    for case in (FEW, MANY):
        with wrk(subject.url, case, _load_s(case, seconds), PACE_PER_S) as generator:
            time.sleep(_ramp_s(case))
            yield _interval(subject, case.name, number, seconds, heartbeats_per_s)
            generator.result()
        time.sleep(case.delay_s)


def _ramp_s(case: Case) -> float:
    return 2 * case.delay_s + RAMP_SPARE_S


def _load_s(case: Case, seconds: float) -> float:
    return math.ceil(_ramp_s(case) + seconds + END_SPARE_S)


def _interval(
    subject: Subject, load: str, number: int, seconds: float, heartbeats_per_s: float
) -> Interval:
    meter = subject.start_meter()
    time.sleep(seconds)
    use = meter.read()
    calls_per_s = {command: count / use.elapsed_s for command, count in use.redis_calls.items()}
    return Interval(
        subject=subject.setup.subject,
        load=load,
        round=number,
        replies_per_s=0.0 if load == IDLE else calls_per_s.get("set", 0.0) - heartbeats_per_s,
        cpu={kind: used_s / use.elapsed_s for kind, used_s in use.cpu_s.items()},
        redis_calls_per_s=calls_per_s,
    )


def table(intervals: Sequence[Interval]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "per second, medians over the rounds (minimum..maximum); CPU in shares of one core"
    yield (
        f"{'subject':8} {'load':28} {'replies/s':>9} {'CPU of web':>26} {'of replies':>10} "
        f"{'Redis commands':>14} {'by web':>8}"
    )
    loads = {IDLE: "no requests"} | {
        case.name: f"{PACE_PER_S * case.delay_s:.0f} pending {case.delay_s * 1e3:.0f} ms each"
        for case in (FEW, MANY)
    }
    for name in SUBJECTS:
        for load, description in loads.items():
            own = [s for s in intervals if (s.subject, s.load) == (name, load)]
            yield (
                f"{name:8} {description:28}"
                + f" {Spread.of([s.replies_per_s for s in own]).median:9.0f} "
                + f"{Spread.of([s.cpu['web'] for s in own]):.1%}".rjust(26)
                + f" {Spread.of([s.cpu['replies'] for s in own]).median:10.1%}"
                + f" {Spread.of([s.redis_per_s for s in own]).median:14.1f}"
                + f" {Spread.of([s.web_redis_per_s for s in own]).median:8.1f}"
            )
    for name in SUBJECTS:
        costs = Spread.of(waiter_costs(name, intervals))
        yield f"{name}: waiters cost web {costs:.1%} of one core"


def waiter_costs(name: str, intervals: Sequence[Interval]) -> list[float]:
    """Return the cost of waiters for subject *name* in each round."""
    loads = {(s.load, s.round): s for s in intervals if s.subject == name}
    rounds = dict.fromkeys(number for _, number in loads)
    return [waiter_cost(loads[FEW.name, n], loads[MANY.name, n]) for n in rounds]


def as_json(intervals: Sequence[Interval]) -> dict[str, Any]:
    """Return intervals and costs."""
    return {
        "intervals": [asdict(interval) for interval in intervals],
        "waiter_cost_in_cores": {name: waiter_costs(name, intervals) for name in SUBJECTS},
    }
