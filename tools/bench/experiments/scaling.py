"""Throughput by number of web workers and replies processes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tools.bench.cases import BASE, cases_named
from tools.bench.experiments.comparison import CASE_S, START_S
from tools.bench.measure.result import Result
from tools.bench.report.progress import Progress
from tools.bench.report.summary import Spread, gateway_us, plain
from tools.bench.servers import Servers
from tools.bench.setup import Setup
from tools.bench.subject import Subject

WORKERS = (1, 2, 4)
REPLIES = (1, 2)
SIZES = [(workers, replies) for workers in WORKERS for replies in REPLIES]


def measure(servers: Servers, rounds: int, seconds: float) -> list[Result]:
    """Measure each size in each round."""
    (base,) = cases_named([BASE])
    duration_s = START_S + seconds + CASE_S
    progress = Progress(rounds * len(SIZES) * duration_s)
    found = []
    for number in range(1, rounds + 1):
        for workers, replies in SIZES:
            with Subject(servers, Setup("ours", workers, replies)) as subject:
                result = subject.measure(replace(base, workers=workers), seconds, number)
            found.append(result)
            progress.done(duration_s)
            progress.print(
                f"round {number}/{rounds}  {workers} workers, {replies} replies: "
                f"{result.per_s:.0f} /s"
            )
    return found


def of_size(results: Sequence[Result], workers: int, replies: int) -> list[Result]:
    """Return the results with that number of workers and replies processes."""
    return [r for r in results if (r.case.workers, r.replies_processes) == (workers, replies)]


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "64 connections, medians over the rounds (minimum..maximum)"
    yield f"{'workers':>7} {'replies':>7} {'requests/s':>22} {'p99 ms':>8}  us of CPU per request"
    for workers, replies in SIZES:
        own = of_size(results, workers, replies)
        kinds = ", ".join(
            f"{kind} {Spread.of([1e6 * r.per_request(r.cpu_s[kind]) for r in own]).median:.0f}"
            for kind in own[0].cpu_s
        )
        yield (
            f"{workers:7} {replies:7} "
            + f"{Spread.of([r.per_s for r in own]):.0f}".rjust(22)
            + f" {Spread.of([1e3 * r.latency_s(99) for r in own]).median:8.1f}"
            + f"  web+replies {Spread.of([gateway_us(r) for r in own]).median:.0f}: {kinds}"
        )


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return the summary and all results."""
    return {
        "summary": [
            {
                "workers": workers,
                "replies": replies,
                "per_s": plain(Spread.of([r.per_s for r in own])),
                "web_and_replies_us": plain(Spread.of([gateway_us(r) for r in own])),
            }
            for workers, replies in SIZES
            if (own := of_size(results, workers, replies))
        ],
        "results": [result.as_json() for result in results],
    }
