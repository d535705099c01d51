"""How fast the throughput was, and how soon it was back after a fault."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tools.soak.judge.windows import Windows
from tools.soak.records import Happened

#: The share of the undisturbed rate that counts as being back.
SHARE = 0.9
#: Over so many seconds a rate is taken, and tried this often.
SPAN_S, STEP_S = 2.0, 0.1


@dataclass(frozen=True)
class Recovery:
    """
    How one fault was got over.

    Args:
        took_s: from healing until the throughput was back; None when it was not seen to be.
    """

    fault: Happened
    took_s: float | None

    @property
    def in_time(self) -> bool:
        """Say whether it kept to the limit of its fault."""
        return self.took_s is not None and self.took_s <= self.fault.recovery_limit_s


def per_second(moments_s: Sequence[float], start_s: float, end_s: float) -> list[int]:
    """Return how many of *moments_s*, which are sorted, fall into each whole second."""
    marks = [start_s + second for second in range(int(end_s - start_s) + 1)]
    places = [bisect_left(moments_s, mark) for mark in marks]
    return [after - before for before, after in pairwise(places)]


def undisturbed_rate(
    moments_s: Sequence[float], start_s: float, end_s: float, windows: Windows
) -> float:
    """Return the median per second outside all windows; 0 when there is no such second."""
    rates = [
        count
        for second, count in enumerate(per_second(moments_s, start_s, end_s))
        if not windows.touching(start_s + second, start_s + second + 1)
    ]
    return float(median(rates)) if rates else 0.0


def recoveries(
    moments_s: Sequence[float], end_s: float, windows: Windows, rate: float
) -> list[Recovery]:
    """Return how long each fault was felt after it was healed, until the next one at most."""
    faults = windows.faults
    ends_s = [*(fault.at_s for fault in faults), end_s][1:]
    return [
        Recovery(fault, _took_s(moments_s, fault.healed_s, until_s, rate))
        for fault, until_s in zip(faults, ends_s, strict=True)
    ]


def _took_s(
    moments_s: Sequence[float], healed_s: float, until_s: float, rate: float
) -> float | None:
    enough = SHARE * rate * SPAN_S
    for step in range(int((until_s - SPAN_S - healed_s) / STEP_S) + 1):
        from_s = healed_s + step * STEP_S
        found = bisect_left(moments_s, from_s + SPAN_S) - bisect_left(moments_s, from_s)
        if found >= enough:
            return round(step * STEP_S, 1)
    return None
