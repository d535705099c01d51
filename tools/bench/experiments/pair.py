"""
Two source trees or two settings compared: the effect of a change on rate, latency and cost.

Both run their own web and replies, and as shipped their own responder instead of the echo
responder. The order alternates from round to round.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, stdev
from typing import Any

from tools.bench.cases import Case
from tools.bench.experiments.comparison import Plan, compare
from tools.bench.measure.result import Result
from tools.bench.report.summary import (
    Figure,
    cpu_us,
    gateway_us,
    p50_s,
    p99_s,
    per_s,
    redis_commands,
    responder_us,
    within_rounds,
)
from tools.bench.servers import Servers
from tools.bench.setup import Setup

FIGURES: Mapping[str, Figure] = {
    "requests/s": per_s,
    "p50, ms": lambda result: 1e3 * p50_s(result),
    "p99, ms": lambda result: 1e3 * p99_s(result),
    "CPU of web, us": cpu_us("web"),
    "CPU of replies, us": cpu_us("replies"),
    "CPU of web and replies, us": gateway_us,
    "CPU of responder, us": responder_us,
    "Redis commands": redis_commands,
}


@dataclass(frozen=True)
class Ratio:
    """Ratios within rounds: their median and the standard error of their mean."""

    median: float  # nan without ratios
    error: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Ratio":
        """Return the statistics of *ratios*, one for each round."""
        error = stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan
        return cls(median(ratios) if ratios else math.nan, error)

    def __str__(self) -> str:
        return f"x {self.median:.3f} +-{self.error:.3f}"


def measure(
    servers: Servers,
    setups: Mapping[str, Setup],
    cases: Sequence[Case],
    rounds: int,
    seconds: float,
) -> list[Result]:
    """Measure two *setups*, by their names in reports."""
    plan = Plan(list(setups), cases, rounds, seconds, setups=setups, alternate=True)
    return list(compare(servers, plan))


def names_of(results: Sequence[Result]) -> tuple[str, str]:
    """Return the names of the two setups in the order of the first round."""
    first, second = dict.fromkeys(r.subject for r in results)
    return first, second


def ratio(results: Sequence[Result], figure: Figure) -> Ratio:
    """Return the ratio of *figure*, first setup to second; *results* are of one case."""
    first, second = names_of(results)
    own = [r for r in results if r.subject == first]
    return Ratio.of(within_rounds(own, results, second, figure))


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "medians over the rounds; ratios within rounds: median +-standard error"
    names = names_of(results)
    width = max(10, *map(len, names))
    for case, of_case in _by_case(results).items():
        yield f"\n{case.name}: {case}"
        headings = " ".join(f"{name:>{width}}" for name in names)
        yield f"  {'':27} {headings}  {names[0]} : {names[1]}"
        for name, figure in FIGURES.items():
            medians = (median(figure(r) for r in of_case if r.subject == one) for one in names)
            shown = " ".join(f"{one:{width}.2f}" for one in medians)
            yield f"  {name:27} {shown}  {ratio(of_case, figure)}"
        failed = (
            sum(r.load.not_2xx + r.load.failed for r in of_case if r.subject == one)
            for one in names
        )
        yield f"  {'failed requests':27} " + " ".join(f"{count:{width}}" for count in failed)


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return ratios and results."""
    return {
        "ratios": {
            case.name: {name: vars(ratio(of_case, figure)) for name, figure in FIGURES.items()}
            for case, of_case in _by_case(results).items()
        },
        "results": [result.as_json() for result in results],
    }


def _by_case(results: Sequence[Result]) -> dict[Case, list[Result]]:
    return {
        case: [r for r in results if r.case == case]
        for case in dict.fromkeys(r.case for r in results)
    }
