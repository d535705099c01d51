"""One line now and then about how it goes, from the log that the clients are writing."""

import time
from collections import Counter
from pathlib import Path

from tools.soak.records import Seen, parse


class Progress:
    """
    Follows the log of the clients.

    Args:
        file: the log; it may not be there yet.
        start_s: since when the load runs, by the monotonic clock.
    """

    def __init__(self, file: Path, start_s: float) -> None:
        self._file = file
        self._start_s = start_s
        self._looked_s = start_s
        self._position = 0

    def line(self, fault: str) -> str:
        """Return what happened since the last line; *fault* is what holds now."""
        seen = self._new()
        now_s = time.monotonic()
        rate = len(seen) / max(now_s - self._looked_s, 0.001)
        self._looked_s = now_s
        errors = Counter(s.problem or s.error.partition("(")[0] for s in seen)
        del errors[""]
        parts = [
            f"{now_s - self._start_s:5.0f} s",
            f"{rate:4.0f} /s",
            f"p99 {percentile([s.took_s for s in seen], 0.99) * 1e3:5.0f} ms",
            ", ".join(f"{kind} {count}" for kind, count in errors.most_common()) or "no errors",
        ]
        return "  ".join([*parts, f"<- {fault}"] if fault else parts)

    def _new(self) -> list[Seen]:
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._position)
            # What comes after the last line break is still being written.
            whole, end, _ = file.read().rpartition(b"\n")
        self._position += len(whole + end)
        return list(parse(Seen, (whole + end).decode().splitlines(keepends=True)))


def percentile(values: list[float], share: float) -> float:
    """Return the value below which *share* of *values* lie; 0 for none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
