"""What several rounds say together: medians, their spread, and ratios round by round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tools.bench.measure.result import Result


@dataclass(frozen=True)
class Spread:
    """The median of a figure over the rounds, and how far the rounds lie apart."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Return the spread of *figures*; there is at least one."""
        return cls(median(figures), min(figures), max(figures))

    def __format__(self, spec: str) -> str:
        """Format each of the three by *spec*."""
        return f"{self.median:{spec}} ({self.least:{spec}}..{self.most:{spec}})"


Figure = Callable[[Result], float]


def per_s(result: Result) -> float:
    """Return the throughput."""
    return result.per_s


def p50_s(result: Result) -> float:
    """Return the median latency."""
    return result.latency_s(50)


def p99_s(result: Result) -> float:
    """Return the latency at 99 %."""
    return result.latency_s(99)


def gateway_us(result: Result) -> float:
    """Return the CPU of web and replies for one request, in us."""
    return 1e6 * result.per_request(result.cpu_s["web"] + result.cpu_s["replies"])


def responder_us(result: Result) -> float:
    """Return the CPU of the responder for one request, in us."""
    return 1e6 * result.per_request(result.cpu_s["responder"])


#: What is told as a ratio: the other subject, the figure, and its name.
RATIOS: Mapping[str, tuple[str, Figure]] = {
    "rate/naive": ("naive", per_s),
    "p99/naive": ("naive", p99_s),
    "p50/floor": ("floor", p50_s),
    "p99/floor": ("floor", p99_s),
}


def within_rounds(
    mine: Sequence[Result], results: Sequence[Result], other: str, figure: Figure
) -> list[float]:
    """
    Return *figure* of *mine* over that of subject *other* in the same case and round.

    A machine whose speed drifts from round to round treats both alike in each.
    """
    theirs = {(r.case, r.round): figure(r) for r in results if r.subject == other}
    return [
        figure(r) / theirs[r.case, r.round] for r in mine if theirs.get((r.case, r.round), 0) > 0
    ]


def ratios(
    mine: Sequence[Result], results: Sequence[Result], other: str, figure: Figure
) -> Spread | None:
    """Return the spread of those within_rounds(); None when there are none."""
    found = within_rounds(mine, results, other, figure)
    return Spread.of(found) if found else None


@dataclass(frozen=True)
class Summary:
    """One subject under one case, over the rounds."""

    subject: str
    case: str
    per_s: Spread
    p50_ms: Spread
    p90_ms: Spread
    p99_ms: Spread
    cpu_us_per_request: dict[str, Spread]
    redis_per_request: Spread
    memory_per_waiting_kb: Spread | None
    ratios: dict[str, Spread]
    not_2xx: int
    failed: int

    @property
    def gateway_us(self) -> float:
        """The CPU of web and replies together for one request, in us."""
        kinds = self.cpu_us_per_request
        return sum(kinds[kind].median for kind in ("web", "replies") if kind in kinds)


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Return what *results* say of each subject under each case, by case."""
    keys = dict.fromkeys((r.case, r.subject) for r in results)
    cases = list(dict.fromkeys(case for case, _ in keys))
    return [
        _summary([r for r in results if (r.case, r.subject) == key], results)
        for key in sorted(keys, key=lambda key: cases.index(key[0]))
    ]


def _summary(mine: Sequence[Result], results: Sequence[Result]) -> Summary:
    memory = [waiting / 1e3 for r in mine if (waiting := r.memory_per_waiting_bytes) is not None]
    others = {
        name: found
        for name, (other, figure) in RATIOS.items()
        if (found := ratios(mine, results, other, figure)) is not None
    }
    return Summary(
        subject=mine[0].subject,
        case=mine[0].case.name,
        per_s=Spread.of([r.per_s for r in mine]),
        p50_ms=_latency_ms(mine, 50),
        p90_ms=_latency_ms(mine, 90),
        p99_ms=_latency_ms(mine, 99),
        cpu_us_per_request={
            kind: Spread.of([1e6 * r.per_request(r.cpu_s[kind]) for r in mine])
            for kind in mine[0].cpu_s
        },
        redis_per_request=Spread.of([r.per_request(r.redis_commands) for r in mine]),
        memory_per_waiting_kb=Spread.of(memory) if memory else None,
        ratios=others,
        not_2xx=sum(r.load.not_2xx for r in mine),
        failed=sum(r.load.failed for r in mine),
    )


def _latency_ms(mine: Sequence[Result], percent: float) -> Spread:
    return Spread.of([1e3 * r.latency_s(percent) for r in mine])


def plain(value: Any) -> Any:
    """Return *value* with its spreads as lists of median, least and most, for JSON."""
    if isinstance(value, Spread):
        return [value.median, value.least, value.most]
    if isinstance(value, Summary):
        return {name: plain(getattr(value, name)) for name in Summary.__dataclass_fields__}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value
