"""The undisturbed rate, and the time to reach it again after each fault."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tools.soak.judge.windows import Windows
from tools.soak.records import InjectedFault

#: Share of the undisturbed rate that counts as recovered.
RECOVERED_SHARE = 0.9
#: Seconds over which a rate is measured, and the step between measurements.
RATE_WINDOW_S, STEP_S = 2.0, 0.1


@dataclass(frozen=True)
class Recovery:
    """
    The recovery from one fault.

    Args:
        took_s: time from healing to the recovered rate; None when it was not reached.
    """

    fault: InjectedFault
    took_s: float | None

    @property
    def in_time(self) -> bool:
        """Whether it was within the limit of its fault."""
        return self.took_s is not None and self.took_s <= self.fault.recovery_limit_s


def per_second(moments_s: Sequence[float], start_s: float, end_s: float) -> list[int]:
    """Return the number of *moments_s*, which are sorted, in each whole second."""
    seconds = [start_s + second for second in range(int(end_s - start_s) + 1)]
    indexes = [bisect_left(moments_s, second) for second in seconds]
    return [after - before for before, after in pairwise(indexes)]


def undisturbed_rate(
    moments_s: Sequence[float], start_s: float, end_s: float, windows: Windows
) -> float:
    """Return the median per second outside all windows; 0 if there is no such second."""
    rates = [
        count
        for second, count in enumerate(per_second(moments_s, start_s, end_s))
        if not windows.overlapping(start_s + second, start_s + second + 1)
    ]
    return float(median(rates)) if rates else 0.0


def recoveries(
    moments_s: Sequence[float], end_s: float, windows: Windows, rate: float
) -> list[Recovery]:
    """Return the recovery from each fault, measured until the next fault at most."""
    faults = windows.faults
    ends_s = [*(fault.at_s for fault in faults), end_s][1:]
    return [
        Recovery(fault, _took_s(moments_s, fault.healed_s, until_s, rate))
        for fault, until_s in zip(faults, ends_s, strict=True)
    ]


def _took_s(
    moments_s: Sequence[float], healed_s: float, until_s: float, rate: float
) -> float | None:
    enough = RECOVERED_SHARE * rate * RATE_WINDOW_S
    for step in range(int((until_s - RATE_WINDOW_S - healed_s) / STEP_S) + 1):
        from_s = healed_s + step * STEP_S
        found = bisect_left(moments_s, from_s + RATE_WINDOW_S) - bisect_left(moments_s, from_s)
        if found >= enough:
            return round(step * STEP_S, 1)
    return None
