"""Statistics over rounds: medians, spreads, and ratios within rounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tools.bench.measure.result import Result


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of a figure over the rounds."""

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Return the spread of *figures*, which are not empty."""
        return cls(median(figures), min(figures), max(figures))

    def __format__(self, spec: str) -> str:
        """Format each of the three figures by *spec*."""
        return f"{self.median:{spec}} ({self.minimum:{spec}}..{self.maximum:{spec}})"


Figure = Callable[[Result], float]


def per_s(result: Result) -> float:
    """Return the responses with a status 2xx per second."""
    return result.per_s


def p50_s(result: Result) -> float:
    """Return the median latency."""
    return result.latency_s(50)


def p99_s(result: Result) -> float:
    """Return the 99th percentile of the latency."""
    return result.latency_s(99)


def cpu_us(*kinds: str) -> Figure:
    """Return the figure CPU time of *kinds* of processes per request, in us."""
    return lambda result: 1e6 * result.per_request(sum(result.cpu_s.get(k, 0.0) for k in kinds))


gateway_us = cpu_us("web", "replies")
responder_us = cpu_us("responder")


def redis_commands(result: Result) -> float:
    """Return the Redis commands per request."""
    return result.per_request(result.redis_commands)


#: Ratios reported for gateways with the echo responder: the other subject and the figure, by name.
RATIOS: Mapping[str, tuple[str, Figure]] = {
    "rate/naive": ("naive", per_s),
    "p99/naive": ("naive", p99_s),
    "p50/floor": ("floor", p50_s),
    "p99/floor": ("floor", p99_s),
}
#: Ratios reported for gateways as shipped.
SHIPPED_RATIOS: Mapping[str, tuple[str, Figure]] = {
    "rate/textbook": ("textbook", per_s),
    "p99/textbook": ("textbook", p99_s),
    "p50/floor-shipped": ("floor-shipped", p50_s),
    "rate/without key": ("shipped-without-key", per_s),
}


def within_rounds(
    own: Sequence[Result], results: Sequence[Result], other: str, figure: Figure
) -> list[float]:
    """
    Return the ratio of *figure* to that of subject *other* in the same case and round.

    Within a round the speed of the machine drifts little.
    """
    base = {(r.case, r.round): figure(r) for r in results if r.subject == other}
    return [figure(r) / base[r.case, r.round] for r in own if base.get((r.case, r.round), 0) > 0]


def ratios(
    own: Sequence[Result], results: Sequence[Result], other: str, figure: Figure
) -> Spread | None:
    """Return the spread of the ratios within_rounds(); None when there are none."""
    found = within_rounds(own, results, other, figure)
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
    memory_per_waiter_kb: Spread | None
    ratios: dict[str, Spread]
    not_2xx: int
    failed: int

    @property
    def gateway_us(self) -> float:
        """CPU time of web and replies per request, in us."""
        kinds = self.cpu_us_per_request
        return sum(kinds[kind].median for kind in ("web", "replies") if kind in kinds)


def summarise(results: Sequence[Result]) -> list[Summary]:
    """Return a summary of each subject under each case, ordered by case."""
    keys = dict.fromkeys((r.case, r.subject) for r in results)
    cases = list(dict.fromkeys(case for case, _ in keys))
    return [
        _summary([r for r in results if (r.case, r.subject) == key], results)
        for key in sorted(keys, key=lambda key: cases.index(key[0]))
    ]


def _summary(own: Sequence[Result], results: Sequence[Result]) -> Summary:
    memory = [
        per_waiter / 1e3 for r in own if (per_waiter := r.memory_per_waiter_bytes) is not None
    ]
    others = {
        name: found
        for name, (other, figure) in {**RATIOS, **SHIPPED_RATIOS}.items()
        if (found := ratios(own, results, other, figure)) is not None
    }
    return Summary(
        subject=own[0].subject,
        case=own[0].case.name,
        per_s=Spread.of([r.per_s for r in own]),
        p50_ms=_latency_ms(own, 50),
        p90_ms=_latency_ms(own, 90),
        p99_ms=_latency_ms(own, 99),
        cpu_us_per_request={
            kind: Spread.of([1e6 * r.per_request(r.cpu_s[kind]) for r in own])
            for kind in own[0].cpu_s
        },
        redis_per_request=Spread.of([r.per_request(r.redis_commands) for r in own]),
        memory_per_waiter_kb=Spread.of(memory) if memory else None,
        ratios=others,
        not_2xx=sum(r.load.not_2xx for r in own),
        failed=sum(r.load.failed for r in own),
    )


def _latency_ms(own: Sequence[Result], percent: float) -> Spread:
    return Spread.of([1e3 * r.latency_s(percent) for r in own])


def plain(value: Any) -> Any:
    """Return *value* for JSON: spreads as lists of median, minimum and maximum."""
    if isinstance(value, Spread):
        return [value.median, value.minimum, value.maximum]
    if isinstance(value, Summary):
        return {name: plain(getattr(value, name)) for name in Summary.__dataclass_fields__}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value
