"""Plots of the comparison."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from tools.bench.cases import BASE, CASES
from tools.bench.load.latencies import PERCENTILES
from tools.bench.measure.machine import one_line
from tools.bench.measure.result import Result
from tools.bench.report import shipped
from tools.bench.report.summary import Spread

matplotlib.use("Agg")
# Keep text as text, and produce the same file for the same results.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench"})

COLOURS = {
    "shipped": "tab:blue",
    "shipped-without-key": "tab:cyan",
    "textbook": "tab:orange",
    "textbook-flush": "tab:brown",
    "floor-shipped": "tab:grey",
    "floor-shipped-librdkafka": "black",
    "floor": "tab:grey",
    "floor-librdkafka": "black",
    "naive": "tab:orange",
    "ours": "tab:blue",
    "ours-broadcast": "tab:cyan",
}
KINDS = {
    "web": "tab:blue",
    "replies": "tab:purple",
    "floor": "tab:grey",
    "responder": "tab:orange",
    "kafka": "tab:green",
    "redis": "tab:red",
    "wrk": "tab:brown",
}
#: Cases without delay, by number of connections.
BY_CONNECTIONS = ("c1", "c16", BASE, "c256", "c500")
DELAYED = ("50ms", "1s")
SHOWN_PERCENTILES = (50, 90, 95, 99, 99.5, 99.9)

Results = Sequence[Result]
Draw = Callable[[Results, Figure], bool]


class InRound(Protocol):
    """A measurement of one round."""

    @property
    def round(self) -> int:
        """Number of the round."""


def plot_all(results: Results, machine: Mapping[str, str], folder: Path) -> list[Path]:
    """Draw the plots that *results* have cases for into *folder*; return the SVG files."""
    as_shipped = shipped.of_shipped(results)
    lean = [result for result in results if result not in as_shipped]
    drawings: Sequence[tuple[str, Results, Draw]] = (
        ("bench-shipped", as_shipped, _as_shipped),
        ("bench-latency", lean, _latency),
        ("bench-throughput", lean, _throughput),
        ("bench-cpu", lean, _cpu),
        ("bench-redis", lean, _redis),
    )
    files = (
        save(name, folder, machine, results, partial(draw, of_kind))
        for name, of_kind, draw in drawings
    )
    return [file for file in files if file is not None]


def save(
    name: str,
    folder: Path,
    machine: Mapping[str, str],
    results: Sequence[InRound],
    draw: Callable[[Figure], bool],
    note: str = "whiskers: minimum to maximum",
) -> Path | None:
    """Let *draw* draw the SVG file *name* in *folder*; return it, or None if it drew nothing."""
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    if not draw(figure):
        return None
    rounds = len({result.round for result in results})
    below = f"{one_line(dict(machine))}\nmedians over {rounds} rounds; {note}"
    figure.supxlabel(below, fontsize=6, color="dimgrey")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.svg"
    figure.savefig(file, metadata={"Date": None})
    return file


def tail_position(percent: float) -> float:
    """Return the position of *percent* on an axis with equal room for each further nine."""
    return -math.log10(1 - percent / 100)


def over_rounds(
    results: Results, subject: str, case: str, figure: Callable[[Result], float]
) -> Spread | None:
    """Return the spread of *figure* of *subject* under *case*, or None without results."""
    found = [figure(r) for r in results if (r.subject, r.case.name) == (subject, case)]
    return Spread.of(found) if found else None


def _latency(results: Results, figure: Figure) -> bool:
    here = [r for r in results if r.case.name == BASE]
    axes = figure.subplots()
    percents = [percent for percent in PERCENTILES if percent <= SHOWN_PERCENTILES[-1]]
    for subject in _subjects(here):
        own = [r for r in here if r.subject == subject]
        figures = [median(1e3 * r.latency_s(percent) for r in own) for percent in percents]
        positions = [tail_position(percent) for percent in percents]
        axes.plot(positions, figures, label=subject, color=COLOURS[subject])
    axes.set_xticks(
        [tail_position(percent) for percent in SHOWN_PERCENTILES],
        [f"{percent:g} %" for percent in SHOWN_PERCENTILES],
    )
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.set_xlabel("share of the requests answered within this latency")
    axes.set_ylabel("latency, ms")
    finish(axes, "Latency at 64 connections, 200 B, 2 workers: lower is better")
    return bool(here)


def _as_shipped(results: Results, figure: Figure) -> bool:
    here = [r for r in results if r.case.name in BY_CONNECTIONS]
    rate, latency = figure.subplots(1, 2)
    for subject in _subjects(here):
        _curve(rate, here, subject, lambda r: r.per_s)
        _curve(latency, here, subject, lambda r: 1e3 * r.latency_s(99))
    latency.set_yscale("log")
    plain_ticks(latency.yaxis)
    for axes in (rate, latency):
        _connections(axes)
        axes.set_xlabel("connections (pending requests)")
    rate.set_ylim(bottom=0)
    rate.set_ylabel("responses 2xx per second")
    latency.set_ylabel("p99, ms")
    finish(rate, "As shipped, 200 B: requests per second")
    finish(latency, "... and 99th percentile of the latency")
    return bool(here)


def _throughput(results: Results, figure: Figure) -> bool:
    here = [r for r in results if r.case.name in BY_CONNECTIONS]
    axes = figure.subplots()
    for subject in _subjects(here):
        _curve(axes, here, subject, lambda r: r.per_s)
    _connections(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("connections (pending requests)")
    axes.set_ylabel("requests per second")
    finish(axes, "Throughput against connections, 200 B, 2 workers: higher is better")
    return bool(here)


def _cpu(results: Results, figure: Figure) -> bool:
    here = [r for r in results if r.case.name == BASE]
    axes = figure.subplots()
    subjects = _subjects(here)
    base = [0.0] * len(subjects)
    for kind, colour in KINDS.items():
        heights = [
            median(
                1e6 * r.per_request(r.cpu_s.get(kind, 0.0)) for r in here if r.subject == subject
            )
            for subject in subjects
        ]
        if not any(heights):
            continue
        label = "wrk (the load)" if kind == "wrk" else kind
        bars = axes.bar(subjects, heights, 0.6, bottom=base, color=colour, label=label)
        # Label only bars that are tall enough.
        tall = 0.04 * max(
            median(1e6 * r.per_request(sum(r.cpu_s.values())) for r in here if r.subject == s)
            for s in subjects
        )
        labels = [f"{height:.0f}" if height > tall else "" for height in heights]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color="white")
        base = [below + height for below, height in zip(base, heights, strict=True)]
    axes.set_ylabel("CPU time per request, us")
    finish(axes, "Where the CPU goes at 64 connections, 200 B, 2 workers")
    return bool(here)


def _redis(results: Results, figure: Figure) -> bool:
    shown = (*BY_CONNECTIONS, *DELAYED)
    here = [r for r in results if "web" in r.cpu_s and r.case.name in shown]
    immediate, delayed_axes = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
    subjects = _subjects(here)
    for subject in subjects:
        _curve(immediate, here, subject, _redis_per_s)
    _connections(immediate)
    immediate.set_ylim(bottom=0)
    immediate.set_xlabel("pending requests, immediate replies")
    immediate.set_ylabel("Redis commands per second")
    delayed = [name for name in DELAYED if any(r.case.name == name for r in here)]
    for number, subject in enumerate(subjects):
        spreads = [over_rounds(here, subject, case, _redis_per_s) for case in delayed]
        heights = [spread.median if spread else 0.0 for spread in spreads]
        middle = number - (len(subjects) - 1) / 2
        positions = [n + 0.25 * middle for n in range(len(delayed))]
        bars = delayed_axes.bar(positions, heights, 0.23, color=COLOURS[subject])
        delayed_axes.bar_label(bars, [f"{height:.0f}" for height in heights], fontsize=8)
    cases = {case.name: case for case in CASES}
    delayed_axes.set_xticks(
        range(len(delayed)),
        [
            f"{cases[name].connections} pending\n{cases[name].delay_s * 1e3:.0f} ms each"
            for name in delayed
        ],
    )
    finish(immediate, "Redis commands by pending requests")
    delayed_axes.set_title("... with a slow responder", loc="left", fontsize="medium")
    delayed_axes.grid(alpha=0.3)
    return bool(here)


def _redis_per_s(result: Result) -> float:
    return result.redis_commands / result.load.duration_s


def _curve(axes: Any, results: Results, subject: str, figure: Callable[[Result], float]) -> None:
    """Draw *figure* by connections, with bars from minimum to maximum."""
    cases = [case for case in CASES if case.name in BY_CONNECTIONS]
    points = [
        (case.connections, spread)
        for case in cases
        if (spread := over_rounds(results, subject, case.name, figure)) is not None
    ]
    axes.errorbar(
        [connections for connections, _ in points],
        [spread.median for _, spread in points],
        yerr=[
            [spread.median - spread.minimum for _, spread in points],
            [spread.maximum - spread.median for _, spread in points],
        ],
        fmt="o-",
        markersize=4,
        capsize=3,
        color=COLOURS[subject],
        label=subject,
    )


def _connections(axes: Any) -> None:
    numbers = [case.connections for case in CASES if case.name in BY_CONNECTIONS]
    axes.set_xscale("log", base=2)
    axes.set_xticks(numbers, [str(number) for number in numbers])


def plain_ticks(axis: Any) -> None:
    """Label a logarithmic *axis* with plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def finish(axes: Any, title: str) -> None:
    """Give *axes* a title, a grid and a legend."""
    axes.set_title(title, loc="left", fontsize="medium")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")


def _subjects(results: Results) -> list[str]:
    present = {result.subject for result in results}
    return [subject for subject in COLOURS if subject in present]
