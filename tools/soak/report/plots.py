"""Plot of a run over time."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tools.soak.judge.findings import Findings, kind_of
from tools.soak.judge.oracle import Verdict
from tools.soak.judge.recovery import RECOVERED_SHARE
from tools.soak.records import InjectedFault
from tools.soak.report.progress import percentile

matplotlib.use("Agg")

INCHES_PER_MINUTE, MIN_INCHES, MAX_INCHES = 2.2, 13.0, 40.0
COLOURS = {
    "replies": "tab:purple",
    "responder": "tab:orange",
    "gateway": "tab:green",
    "worker": "tab:olive",
    "redis": "tab:red",
    "primary": "tab:brown",
    "kafka": "tab:blue",
    "partitions": "tab:cyan",
    "topic": "tab:pink",
}


def plot_run(findings: Findings, title: str, file: Path) -> None:
    """Draw throughput, latency and errors of a run, with its faults, into *file* (PNG)."""
    evidence = findings.evidence
    seconds = int(evidence.end_s - evidence.start_s) + 1
    width = min(max(MIN_INCHES, seconds / 60 * INCHES_PER_MINUTE), MAX_INCHES)
    figure = Figure(figsize=(width, 11), layout="constrained")
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    rate, latency, errors = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 2])
    _draw_rate(rate, findings, seconds)
    _draw_latency(latency, findings, seconds)
    _draw_errors(errors, findings, seconds)
    for axes in (rate, latency, errors):
        _shade_faults(axes, evidence.faults, evidence.start_s)
        axes.margins(x=0.01)
        axes.grid(alpha=0.3)
    _label_faults(rate, evidence.faults, evidence.start_s)
    for axes in (rate, latency, errors):
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    patches = [Patch(color=colour, alpha=0.4, label=name) for name, colour in COLOURS.items()]
    figure.legend(handles=patches, loc="upper right", title="faults of", fontsize="small", ncols=3)
    errors.set_xlabel("seconds since the start of the load")
    figure.savefig(file, dpi=110)


def _draw_rate(axes: Any, findings: Findings, seconds: int) -> None:
    start_s = findings.evidence.start_s
    correct = Counter(
        int(j.exchange.ended_s - start_s)
        for j in findings.judgements
        if j.verdict is Verdict.CORRECT
    )
    # The last second is incomplete.
    axes.step(
        range(seconds - 1),
        [correct[s] for s in range(seconds - 1)],
        where="post",
        label="correct responses",
    )
    axes.axhline(findings.rate, color="grey", label=f"undisturbed, {findings.rate:.0f} /s")
    axes.axhline(
        RECOVERED_SHARE * findings.rate,
        color="grey",
        linestyle=":",
        label=f"{RECOVERED_SHARE:.0%} of it: recovered",
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("responses per second")


def _draw_latency(axes: Any, findings: Findings, seconds: int) -> None:
    took_ms: list[list[float]] = [[] for _ in range(seconds)]
    for judgement in findings.judgements:
        second = int(judgement.exchange.ended_s - findings.evidence.start_s)
        if second < seconds:
            took_ms[second].append(judgement.exchange.took_s * 1e3)
    seconds_with_data = [second for second in range(seconds) if took_ms[second]]
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        figures = [percentile(took_ms[second], share) for second in seconds_with_data]
        axes.plot(
            [second + 0.5 for second in seconds_with_data], figures, ".-", markersize=3, label=name
        )
    axes.set_yscale("log")
    axes.set_ylabel("latency of all responses, ms")


def _draw_errors(axes: Any, findings: Findings, seconds: int) -> None:
    counts: dict[str, Counter[int]] = {}
    for judgement in findings.judgements:
        if judgement.verdict is not Verdict.CORRECT:
            second = int(judgement.exchange.ended_s - findings.evidence.start_s)
            counts.setdefault(kind_of(judgement), Counter())[second] += 1
    base = [0] * seconds
    for kind in sorted(counts, key=lambda kind: -counts[kind].total()):
        heights = [counts[kind][second] for second in range(seconds)]
        label = f"{kind} ({counts[kind].total()})"
        axes.bar(range(seconds), heights, 1.0, bottom=base, align="edge", label=label)
        base = [below + height for below, height in zip(base, heights, strict=True)]
    axes.set_ylabel("errors per second")


def _shade_faults(axes: Any, faults: Sequence[InjectedFault], start_s: float) -> None:
    for fault in faults:
        axes.axvspan(
            fault.at_s - start_s,
            max(fault.healed_s, fault.at_s + 0.3) - start_s,
            color=COLOURS[fault.name.partition(" ")[2]],
            alpha=0.25,
            linewidth=0,
        )


def _label_faults(axes: Any, faults: Sequence[InjectedFault], start_s: float) -> None:
    for fault in faults:
        axes.text(
            fault.at_s - start_s,
            1.01,
            fault.name,
            rotation=60,
            fontsize=7,
            transform=axes.get_xaxis_transform(),
            color=COLOURS[fault.name.partition(" ")[2]],
        )
    axes.set_title(" ", pad=55)  # room for the labels
