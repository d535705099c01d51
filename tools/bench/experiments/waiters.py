"""
What waiting itself costs: the same requests a second, with few and with many of them under way.

200 a second are sent in both loads; with replies after 50 ms 10 of them wait at any time, after 1 s
200 do. What the gateway needs for the requests themselves is the same; the rest is for the waiting.
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
from tools.bench.subject import Setup, Subject

SUBJECTS = ("naive", "ours")
PACE_PER_S = 200.0
#: More connections than wait at that pace, so that it is kept when replies take longer.
FEW = Case("few", connections=64, delay_s=0.05)
MANY = Case("many", connections=280, delay_s=1.0)
IDLE = "idle"
IDLE_S = 3.0
#: After all have begun, until the load is even; and after the stretch, until wrk ends.
RAMP_SPARE_S, END_SPARE_S = 1.0, 1.0
TURN_S = 10.0


@dataclass(frozen=True)
class Stretch:
    """What a subject used while nothing changed, each figure for one second."""

    subject: str
    load: str  # FEW, MANY or IDLE
    round: int
    replies_per_s: float
    cpu: dict[str, float]  # in cores, by kind of process
    redis_calls_per_s: dict[str, float]  # by command

    @property
    def redis_per_s(self) -> float:
        """All commands of Redis."""
        return sum(self.redis_calls_per_s.values())

    @property
    def web_redis_per_s(self) -> float:
        """Those of web, that is those that are no SET: it is the replies process that stores."""
        return self.redis_per_s - self.redis_calls_per_s.get("set", 0.0)


def waiting_share(few: Stretch, many: Stretch) -> float:
    """Return what *many* who wait cost web more than *few* do, as a share of one core."""
    return many.cpu["web"] - few.cpu["web"]


def measure(servers: Servers, rounds: int, seconds: float) -> list[Stretch]:
    """Measure both subjects in each of *rounds*, for *seconds* under each load."""
    turn_s = TURN_S + IDLE_S + sum(_load_s(case, seconds) for case in (FEW, MANY))
    progress = Progress(rounds * len(SUBJECTS) * turn_s)
    found = []
    for number in range(1, rounds + 1):
        for name in SUBJECTS:
            with Subject(servers, Setup(name)) as subject:
                stretches = list(_stretches(subject, number, seconds))
            found += stretches
            progress.done(turn_s)
            _, few, many = stretches
            progress.say(
                f"round {number}/{rounds}  {name:6} {many.replies_per_s:5.0f} /s, "
                f"waiting: {waiting_share(few, many):6.1%} of a core, "
                f"{many.redis_per_s:5.0f} Redis commands/s"
            )
    return found


def _stretches(subject: Subject, number: int, seconds: float) -> Iterator[Stretch]:
    idle = _stretch(subject, IDLE, number, IDLE_S, 0.0)
    yield idle
    # The replies process stores besides that it is there.
    words_per_s = idle.redis_calls_per_s.get("set", 0.0)
    for case in (FEW, MANY):
        with wrk(subject.url, case, _load_s(case, seconds), PACE_PER_S) as generator:
            time.sleep(_ramp_s(case))
            yield _stretch(subject, case.name, number, seconds, words_per_s)
            generator.result()
        time.sleep(case.delay_s)


def _ramp_s(case: Case) -> float:
    return 2 * case.delay_s + RAMP_SPARE_S


def _load_s(case: Case, seconds: float) -> float:
    return math.ceil(_ramp_s(case) + seconds + END_SPARE_S)


def _stretch(
    subject: Subject, load: str, number: int, seconds: float, words_per_s: float
) -> Stretch:
    costs = subject.costs()
    time.sleep(seconds)
    took_s, cpu_s, calls = costs.since()
    calls_per_s = {command: count / took_s for command, count in calls.items()}
    return Stretch(
        subject=subject.setup.subject,
        load=load,
        round=number,
        replies_per_s=0.0 if load == IDLE else calls_per_s.get("set", 0.0) - words_per_s,
        cpu={kind: used_s / took_s for kind, used_s in cpu_s.items()},
        redis_calls_per_s=calls_per_s,
    )


def table(stretches: Sequence[Stretch]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "per second, medians over the rounds (least..most); CPU in shares of one core"
    yield (
        f"{'subject':8} {'load':28} {'replies/s':>9} {'CPU of web':>26} {'of replies':>10} "
        f"{'Redis commands':>14} {'by web':>8}"
    )
    loads = {IDLE: "nobody waits"} | {
        case.name: f"{PACE_PER_S * case.delay_s:.0f} wait {case.delay_s * 1e3:.0f} ms each"
        for case in (FEW, MANY)
    }
    for name in SUBJECTS:
        for load, words in loads.items():
            mine = [s for s in stretches if (s.subject, s.load) == (name, load)]
            yield (
                f"{name:8} {words:28} {Spread.of([s.replies_per_s for s in mine]).median:9.0f} "
                + f"{Spread.of([s.cpu['web'] for s in mine]):.1%}".rjust(26)
                + f" {Spread.of([s.cpu['replies'] for s in mine]).median:10.1%}"
                + f" {Spread.of([s.redis_per_s for s in mine]).median:14.1f}"
                + f" {Spread.of([s.web_redis_per_s for s in mine]).median:8.1f}"
            )
    for name in SUBJECTS:
        shares = Spread.of(shares_of(name, stretches))
        yield f"{name}: waiting itself costs web {shares:.1%} of one core"


def shares_of(name: str, stretches: Sequence[Stretch]) -> list[float]:
    """Return what waiting costs subject *name*, round by round."""
    loads = {(s.load, s.round): s for s in stretches if s.subject == name}
    rounds = dict.fromkeys(number for _, number in loads)
    return [waiting_share(loads[FEW.name, n], loads[MANY.name, n]) for n in rounds]


def as_json(stretches: Sequence[Stretch]) -> dict[str, Any]:
    """Return all of it."""
    return {
        "stretches": [asdict(stretch) for stretch in stretches],
        "waiting_share_of_a_core": {name: shares_of(name, stretches) for name in SUBJECTS},
    }
