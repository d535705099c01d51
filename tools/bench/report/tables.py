"""Tables and JSON of results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.bench.cases import CASES
from tools.bench.measure.result import Result
from tools.bench.report import shipped
from tools.bench.report.summary import RATIOS, Summary, plain, summarise

#: The case with many waiters, for which the memory per waiter is reported.
MANY_WAITERS = "1s"


def line(result: Result) -> str:
    """Return one measurement as a line."""
    failed = result.load.not_2xx + result.load.failed
    return (
        f"{result.subject:24} {result.case.name:6} {result.per_s:7.0f} /s  "
        f"p50 {result.latency_s(50) * 1e3:8.2f} ms  p99 {result.latency_s(99) * 1e3:8.2f} ms"
        + (f"  {failed} failed" if failed else "")
    )


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield a table of the gateways as shipped, and one of the gateways alone."""
    if headline := shipped.of_shipped(results):
        yield from shipped.table(headline)
    if lean := [result for result in results if result not in headline]:
        yield "\nthe gateway alone: every subject with the same echo responder, without API keys"
        yield from lean_table(lean)


def lean_table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the medians over the rounds, and the ratios within them, case by case."""
    yield "medians over the rounds (minimum..maximum); ratios within rounds: median"
    descriptions = {case.name: str(case) for case in CASES}
    case = ""
    for one in summarise(results):
        if one.case != case:
            case = one.case
            yield f"\n{case}: {descriptions.get(case, '')}"
            yield (
                f"  {'subject':16} {'requests/s':>22} {'p50 ms':>8} {'p90 ms':>8} "
                f"{'p99 ms':>24}" + "".join(f" {name:>10}" for name in RATIOS)
            )
        yield _latency_line(one)
    yield "\ncost of a request: CPU time in us by kind of process, and Redis commands"
    for one in summarise(results):
        yield _cost_line(one)


def _latency_line(one: Summary) -> str:
    ratios = (f"{one.ratios[name].median:.2f}" if name in one.ratios else "-" for name in RATIOS)
    return (
        f"  {one.subject:16} {one.per_s:>.0f}".ljust(41)
        + f" {one.p50_ms.median:8.2f} {one.p90_ms.median:8.2f} "
        + f"{one.p99_ms:.1f}".rjust(24)
        + "".join(f" {ratio:>10}" for ratio in ratios)
        + (f"  {one.not_2xx} not 2xx, {one.failed} failed" if one.not_2xx + one.failed else "")
    )


def _cost_line(one: Summary) -> str:
    kinds = "  ".join(f"{kind} {us.median:.0f}" for kind, us in one.cpu_us_per_request.items())
    memory = ""
    if one.case == MANY_WAITERS and one.memory_per_waiter_kb is not None:
        memory = f"; {one.memory_per_waiter_kb:.0f} kB of web's memory per waiter"
    both = f"web+replies {one.gateway_us:.0f}: " if one.gateway_us else ""
    return (
        f"  {one.case:6} {one.subject:16} {both}{kinds}; "
        f"redis {one.redis_per_request.median:.2f}{memory}"
    )


def as_json(
    results: Sequence[Result], machine: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return summary and results with *machine* and *options*."""
    return {
        "machine": dict(machine),
        "options": dict(options),
        "summary": [plain(one) for one in summarise(results)],
        "results": [result.as_json() for result in results],
    }


def read_results(file: Path) -> tuple[list[Result], dict[str, str]]:
    """Return the results and the machine from *file*, written by as_json()."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return [Result.from_json(one) for one in found["results"]], found["machine"]
