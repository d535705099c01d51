"""
`make bench`: the floor, the textbook gateway and ours, in turn, on real Apache Kafka and Valkey.

    python -m bench [--rounds N] [--seconds S] [--connections 1,16,64] [--bytes 200] [--workers N]

Each round measures every subject once, so that a machine whose speed drifts treats all alike: quote
the ratios inside one run. Needs Java 17, Maven and wrk.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.measure import Result
from bench.stack import SUBJECTS, Bench
from devstack.apache_kafka import ApacheKafka


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = _options()
    if (reason := _missing()) is not None:
        sys.stderr.write(f"{reason}\n")
        return 1
    logs = Path(tempfile.mkdtemp(prefix="rendezvous-bench-"))
    _say(f"logs of the processes: {logs}")
    with Bench(options.workers, logs) as bench:
        results = list(_rounds(bench, options))
    _say("\n" + "\n".join(_table(results)))
    if options.output is not None:
        found = {"machine": _machine(), "results": [result.as_json() for result in results]}
        options.output.write_text(json.dumps(found, indent=1), encoding="utf-8")
        _say(f"\nwritten to {options.output}")
    return 0


def _rounds(bench: Bench, options: argparse.Namespace) -> Iterator[Result]:
    cases = [(c, b) for c in options.connections for b in options.bytes]
    for subject in options.subjects:  # compilers, caches and pools: warm for all
        bench.measure(subject, 16, 200, 3, 0)
    for number in range(1, options.rounds + 1):
        for connections, body_bytes in cases:
            for subject in options.subjects:
                result = bench.measure(subject, connections, body_bytes, options.seconds, number)
                _say(f"round {number}/{options.rounds}  {_line(result)}")
                yield result


def _line(result: Result) -> str:
    odd = result.not_2xx + result.failed
    return (
        f"{result.subject:14} {result.connections:4} connections {result.body_bytes:7} B "
        f"{result.per_s:7.0f} /s  p50 {result.p50_s * 1e3:7.2f} ms  "
        f"p99 {result.p99_s * 1e3:7.2f} ms" + (f"  {odd} not answered well" if odd else "")
    )


def _table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the medians over the rounds, and the ratios to floor and naive round by round."""
    yield "medians (ratios are medians of the ratios within a round)"
    yield (
        f"{'subject':14} {'conn':>4} {'bytes':>7} {'per s':>7} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'web+replies us/request':>23} {'redis/request':>13} {'rate/naive':>10} {'p50/floor':>9} "
        f"{'p99/naive':>9}"
    )
    for key in dict.fromkeys((r.subject, r.connections, r.body_bytes) for r in results):
        mine = [r for r in results if (r.subject, r.connections, r.body_bytes) == key]
        cpu_us = median(
            1e6 * (r.cpu_s.get("web", 0) + r.cpu_s.get("replies", 0)) / r.requests for r in mine
        )
        yield (
            f"{key[0]:14} {key[1]:4} {key[2]:7} {median(r.per_s for r in mine):7.0f} "
            f"{median(r.p50_s for r in mine) * 1e3:8.2f} "
            f"{median(r.p99_s for r in mine) * 1e3:8.2f} "
            f"{cpu_us:23.0f} {median(r.redis_commands / r.requests for r in mine):13.2f} "
            f"{_ratio(mine, results, 'naive', 'per_s'):>10} "
            f"{_ratio(mine, results, 'floor', 'p50_s'):>9} "
            f"{_ratio(mine, results, 'naive', 'p99_s'):>9}"
        )


def _ratio(mine: Sequence[Result], results: Sequence[Result], other: str, figure: str) -> str:
    theirs = {(r.connections, r.body_bytes, r.round): r for r in results if r.subject == other}
    ratios = [
        getattr(r, figure) / getattr(theirs[key], figure)
        for r in mine
        if (key := (r.connections, r.body_bytes, r.round)) in theirs
    ]
    return f"{median(ratios):.2f}" if ratios else "-"


def _missing() -> str | None:
    reason = ApacheKafka.unavailable_reason()
    if reason is None and shutil.which("wrk") is None:
        reason = "The load generator wrk is missing; install it, for example: apt-get install wrk"
    return reason


def _machine() -> dict[str, str]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"cpu": model, "cores": str(os.cpu_count()), "python": platform.python_version()}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the gateway against floor and textbook."
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="how often everything is measured (%(default)s)")
    add("--seconds", type=float, default=5, help="of each measurement (%(default)s)")
    add("--connections", type=_numbers, default=[1, 16, 64], help="comma list (1,16,64)")
    add("--bytes", type=_numbers, default=[200], help="body sizes, comma list (200)")
    add("--workers", type=int, default=2, help="gunicorn workers of each gateway (%(default)s)")
    add("--output", type=Path, help="a file for all results, as JSON")
    add(
        "--subjects",
        type=lambda text: text.split(","),
        default=list(SUBJECTS),
        help=f"comma list of {','.join(SUBJECTS)} (all)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
