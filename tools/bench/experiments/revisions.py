"""
This tree against another one, turn by turn: what a change makes of rate, latency and CPU.

The other is ours as well: of another revision, with other settings, or on another Python. Web and
replies differ, and with ``--shipped`` the responder, which otherwise is one and the same echo. Who
goes first changes from round to round.
"""

import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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


class NoSuchRevision(Exception):
    """Raised with what git says of a revision that cannot be had."""


FIGURES: Mapping[str, Figure] = {
    "requests/s": per_s,
    "p50, ms": lambda result: 1e3 * p50_s(result),
    "p99, ms": lambda result: 1e3 * p99_s(result),
    "CPU of web and replies, us": gateway_us,
    "CPU of responder, us": responder_us,
}


@dataclass(frozen=True)
class Ratio:
    """This over the other, within each round: the median, and the standard error of the mean."""

    median: float
    error: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> "Ratio":
        """Return what *ratios*, one for each round, say together."""
        error = stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else math.nan
        return cls(median(ratios), error)

    def __str__(self) -> str:
        return f"x {self.median:.3f} +-{self.error:.3f}"


def unpack(revision: str, folder: Path) -> None:
    """
    Put the files of *revision* into *folder*.

    Raises:
        NoSuchRevision: when git cannot give them.
    """
    # By its hash: branches of ours are none of the clone's, which leaves our checkout as it is.
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    _git("clone", "--quiet", "--shared", "--no-checkout", ".", str(folder))
    _git("-C", str(folder), "checkout", "--quiet", "--detach", commit)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=True, text=True)
    except FileNotFoundError as error:
        raise NoSuchRevision("git is not on PATH: the other tree comes from it") from error
    except subprocess.CalledProcessError as error:
        raise NoSuchRevision(f"git {' '.join(arguments)}: {error.stderr.strip()}") from error
    return done.stdout.strip()


def measure(
    servers: Servers, cases: Sequence[Case], rounds: int, seconds: float, other: Setup
) -> list[Result]:
    """Measure both under each of *cases* in each of *rounds*, shipped and with keys as *other*."""
    this = Setup("ours", shipped=other.shipped, api_key=other.api_key)
    setups = {THIS: this, OTHER: other}
    plan = Plan(NAMES, cases, rounds, seconds, setups=setups, to_and_fro=True)
    return list(compare(servers, plan))


def ratio(results: Sequence[Result], figure: Figure) -> Ratio:
    """Return *figure* of this over that of the other; *results* are of one case."""
    mine = [r for r in results if r.subject == THIS]
    return Ratio.of(within_rounds(mine, results, OTHER, figure))


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "medians over the rounds; ratios within a round, their median +-standard error"
    for case, mine in _by_case(results).items():
        yield f"\n{case.name}: {case}"
        yield f"  {'':27} {THIS:>10} {OTHER:>10}  {THIS} : {OTHER}"
        for name, figure in FIGURES.items():
            medians = (median(figure(r) for r in mine if r.subject == who) for who in NAMES)
            shown = " ".join(f"{one:10.2f}" for one in medians)
            yield f"  {name:27} {shown}  {ratio(mine, figure)}"
        failures = [
            sum(r.load.not_2xx + r.load.failed for r in mine if r.subject == n) for n in NAMES
        ]
        yield f"  {'requests that failed':27} {failures[0]:10} {failures[1]:10}"


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return all of it."""
    return {
        "ratios": {
            case.name: {name: vars(ratio(mine, figure)) for name, figure in FIGURES.items()}
            for case, mine in _by_case(results).items()
        },
        "results": [result.as_json() for result in results],
    }


def _by_case(results: Sequence[Result]) -> dict[Case, list[Result]]:
    return {
        case: [r for r in results if r.case == case]
        for case in dict.fromkeys(r.case for r in results)
    }
