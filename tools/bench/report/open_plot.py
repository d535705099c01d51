"""Plot of latency against the rate of requests."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure

from tools.bench.experiments.open_loop import Open, by_rate
from tools.bench.report.plots import COLOURS, finish, plain_ticks, save

STYLES = {50.0: "-", 99.0: "--", 99.9: ":"}


def plot(found: Sequence[Open], machine: Mapping[str, str], folder: Path) -> Path | None:
    """Draw bench-open.svg into *folder* and return it; None without measurements."""
    return save("bench-open", folder, machine, found, partial(_draw, found), "crosses: saturated")


def _draw(found: Sequence[Open], figure: Figure) -> bool:
    axes = figure.subplots()
    for subject in dict.fromkeys(one.subject for one in found):
        points = [(rate, own) for name, rate, own in by_rate(found) if name == subject]
        for percent, style in STYLES.items():
            axes.plot(
                [rate for rate, _ in points],
                [median(one.ms(percent) for one in own) for _, own in points],
                f"o{style}",
                markersize=4,
                color=COLOURS.get(subject),
                label=f"{subject}, p{percent:g}",
            )
    crosses = [
        (rate, median(one.ms(percent) for one in own))
        for _, rate, own in by_rate(found)
        for percent in STYLES
        if any(one.saturated for one in own)
    ]
    axes.plot(*zip(*crosses, strict=True) if crosses else ((), ()), "kx", markersize=8)
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.set_xlabel("requests per second, sent at fixed times")
    axes.set_ylabel("latency from the time a request was due, ms")
    finish(axes, "Latency against rate, 200 B")
    return bool(found)
