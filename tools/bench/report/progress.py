"""One line for each thing that is done, with how long the rest will take."""

import sys
import time
from collections.abc import Callable


class Progress:
    """
    Says what was done, and estimates the rest by how the plan has fared so far.

    Args:
        planned_s: what all of it should take.
    """

    def __init__(self, planned_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._planned_s = planned_s
        self._clock = clock
        self._began_s = clock()
        self._done_s = 0.0

    def done(self, planned_s: float) -> None:
        """Note that something is done of which *planned_s* were planned."""
        self._done_s += planned_s

    def left_s(self) -> float:
        """Return how many seconds the rest will take."""
        spent_s = self._clock() - self._began_s
        pace = spent_s / self._done_s if self._done_s else 1.0
        return max(0.0, (self._planned_s - self._done_s) * pace)

    def say(self, text: str) -> None:
        """Print *text* with the time that is left."""
        say(f"[{shown(self.left_s())} left] {text}")


def shown(seconds: float) -> str:
    """Return *seconds* for people."""
    return f"{seconds / 60:4.1f} min" if seconds >= 60 else f"{seconds:5.0f} s"


def say(text: str) -> None:
    """Print *text* at once, also into a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
