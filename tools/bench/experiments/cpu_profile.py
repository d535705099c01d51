"""CPU time of a web worker by part, at 64 connections and at one."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tools.bench.cases import cases_named
from tools.bench.servers import Servers
from tools.bench.setup import Setup
from tools.bench.subject import Subject
from tools.output import print_line

CASES = ("c1", "c64")
#: Parts and the part that contains each, in the order of the report.
NESTING = (
    ("read", ""),
    ("parse", "read"),
    ("request", ""),
    ("application", "request"),
    ("id", "application"),
    ("exchange", "application"),
    ("send", "exchange"),
    ("wait", "exchange"),
    ("write", "request"),
    ("access log", "request"),
    ("sender", ""),
    ("poller", ""),
    ("query", "poller"),
)
SPARE_S = 0.5

Totals = dict[str, tuple[float, float]]


def measure(servers: Servers, rounds: int, seconds: float) -> dict[str, list[Totals]]:
    """Return for each case the CPU seconds per request by part, in each round."""
    found: dict[str, list[Totals]] = {name: [] for name in CASES}
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            prefix = Path(folder, "timers")
            setup = Setup(
                "ours", env={"TIMERS": str(prefix)}, app="tools.bench.programs.timed_gateway:app"
            )
            with Subject(servers, setup) as subject:
                for case in cases_named(CASES):
                    started_s = time.time()
                    result = subject.measure(case, seconds, number)
                    usage = between(prefix, started_s + SPARE_S, started_s + seconds - SPARE_S)
                    found[case.name].append(usage)
                    us = f"{1e6 * usage['process'][1]:.0f} us"
                    print_line(
                        f"round {number}/{rounds}  {case.name:4} {result.per_s:5.0f} /s  {us}"
                    )
    return found


def between(prefix: Path, begin_s: float, end_s: float) -> Totals:
    """Return the CPU seconds of all workers between two Unix times, per request."""
    totals: dict[str, list[float]] = {}
    for file in prefix.parent.glob(f"{prefix.name}.*"):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        inside = [sums for at_s, sums in lines if begin_s <= at_s <= end_s]
        if len(inside) < 2:
            continue
        for name, (count, spent_s) in inside[-1].items():
            count_before, spent_before_s = inside[0].get(name, (0, 0.0))
            total = totals.setdefault(name, [0.0, 0.0])
            total[0] += count - count_before
            total[1] += spent_s - spent_before_s
    requests = totals["request"][0]
    return {name: (count / requests, spent / requests) for name, (count, spent) in totals.items()}


def table(found: dict[str, list[Totals]]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "CPU time in us and calls, both per request; medians over the rounds"
    for case, rounds in found.items():
        yield f"\n{case}: worker process {1e6 * _median(rounds, 'process', 1):.0f} us"
        for name, parent in NESTING:
            indent = "  " * (1 + _depth(parent))
            yield (
                f"{indent + name:24} {1e6 * _median(rounds, name, 1):7.0f} us "
                f"{_median(rounds, name, 0):7.2f} times"
            )


def _depth(parent: str) -> int:
    return 0 if not parent else 1 + _depth(dict(NESTING)[parent])


def _median(rounds: Sequence[Totals], name: str, figure: int) -> float:
    return median(sums.get(name, (0.0, 0.0))[figure] for sums in rounds)


def failures(found: dict[str, list[Totals]]) -> Iterator[str]:
    """Yield a line for each part that was never called: the product no longer uses it."""
    for name, _ in NESTING:
        if not any(_median(rounds, name, 0) for rounds in found.values()):
            yield f"{name} was never called; update tools/bench/programs/timed_parts.py"


def as_json(found: dict[str, list[Totals]]) -> dict[str, Any]:
    """Return usage by case and round."""
    return {"per_request": found}
