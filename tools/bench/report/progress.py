"""Progress lines with an estimate of the remaining time."""

import time
from collections.abc import Callable

from tools.output import print_line


class Progress:
    """
    Prints progress and estimates the remaining time from the pace so far.

    Args:
        planned_s: planned duration of everything.
    """

    def __init__(self, planned_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._planned_s = planned_s
        self._clock = clock
        self._started_s = clock()
        self._done_s = 0.0

    def done(self, planned_s: float) -> None:
        """Count a finished step that was planned to take *planned_s*."""
        self._done_s += planned_s

    def left_s(self) -> float:
        """Return the estimated remaining seconds."""
        elapsed_s = self._clock() - self._started_s
        pace = elapsed_s / self._done_s if self._done_s else 1.0
        return max(0.0, (self._planned_s - self._done_s) * pace)

    def print(self, text: str) -> None:
        """Print *text* with the remaining time."""
        print_line(f"[{readable(self.left_s())} left] {text}")


def readable(seconds: float) -> str:
    """Return *seconds* as text, in minutes from 60 on."""
    return f"{seconds / 60:4.1f} min" if seconds >= 60 else f"{seconds:5.0f} s"
