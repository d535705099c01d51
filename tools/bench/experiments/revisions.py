"""
This source tree compared with another: the effect of a change on rate, latency and CPU.

The other tree is another revision, has other settings or runs on another Python. Both run their own
web and replies, and with ``--shipped`` their own responder instead of the echo responder. The order
alternates from round to round.
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
    gateway_us,
    p50_s,
    p99_s,
    per_s,
    responder_us,
    within_rounds,
)
from tools.bench.servers import Servers
from tools.bench.subject import Setup

THIS, OTHER = "this", "other"
NAMES = (THIS, OTHER)


FIGURES: Mapping[str, Figure] = {
    "requests/s": per_s,
    "p50, ms": lambda result: 1e3 * p50_s(result),
    "p99, ms": lambda result: 1e3 * p99_s(result),
    "CPU of web and replies, us": gateway_us,
    "CPU of responder, us": responder_us,
}


@dataclass(frozen=True)
class Ratio:
    """Ratios within rounds: their median and the standard error of their mean."""

    median: float
    error: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Ratio":
        """Return the statistics of *ratios*, one for each round."""
        error = stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan
        return cls(median(ratios), error)

    def __str__(self) -> str:
        return f"x {self.median:.3f} +-{self.error:.3f}"


def measure(
    servers: Servers, cases: Sequence[Case], rounds: int, seconds: float, other: Setup
) -> list[Result]:
    """Measure both trees; this one is shipped and has an API key as *other*."""
    this = Setup("ours", shipped=other.shipped, api_key=other.api_key)
    setups = {THIS: this, OTHER: other}
    plan = Plan(NAMES, cases, rounds, seconds, setups=setups, alternate=True)
    return list(compare(servers, plan))


def ratio(results: Sequence[Result], figure: Figure) -> Ratio:
    """Return the ratio of *figure*, this tree to the other; *results* are of one case."""
    own = [r for r in results if r.subject == THIS]
    return Ratio.of(within_rounds(own, results, OTHER, figure))


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "medians over the rounds; ratios within rounds: median +-standard error"
    for case, of_case in _by_case(results).items():
        yield f"\n{case.name}: {case}"
        yield f"  {'':27} {THIS:>10} {OTHER:>10}  {THIS} : {OTHER}"
        for name, figure in FIGURES.items():
            medians = (median(figure(r) for r in of_case if r.subject == tree) for tree in NAMES)
            shown = " ".join(f"{one:10.2f}" for one in medians)
            yield f"  {name:27} {shown}  {ratio(of_case, figure)}"
        failures = [
            sum(r.load.not_2xx + r.load.failed for r in of_case if r.subject == tree)
            for tree in NAMES
        ]
        yield f"  {'failed requests':27} {failures[0]:10} {failures[1]:10}"


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
