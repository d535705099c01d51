"""Progress lines from the log that the clients write."""

import time
from collections import Counter
from pathlib import Path

from tools.soak.records import Exchange, parse


class Progress:
    """
    Reads the log of the clients while they write it.

    Args:
        file: the log; it may not exist yet.
        start_s: start of the load, monotonic.
    """

    def __init__(self, file: Path, start_s: float) -> None:
        self._file = file
        self._start_s = start_s
        self._last_line_s = start_s
        self._position = 0

    def line(self, fault: str) -> str:
        """Return rate, latency and errors since the last line; *fault* is the current one."""
        exchanges = self._new()
        now_s = time.monotonic()
        rate = len(exchanges) / max(now_s - self._last_line_s, 0.001)
        self._last_line_s = now_s
        errors = Counter(s.problem or s.error.partition("(")[0] for s in exchanges)
        del errors[""]
        parts = [
            f"{now_s - self._start_s:5.0f} s",
            f"{rate:4.0f} /s",
            f"p99 {percentile([s.took_s for s in exchanges], 0.99) * 1e3:5.0f} ms",
            ", ".join(f"{kind} {count}" for kind, count in errors.most_common()) or "no errors",
        ]
        return "  ".join([*parts, f"<- {fault}"] if fault else parts)

    def _new(self) -> list[Exchange]:
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._position)
            # The part after the last line break is still being written.
            complete, end, _ = file.read().rpartition(b"\n")
        self._position += len(complete + end)
        return list(parse(Exchange, (complete + end).decode().splitlines(keepends=True)))


def percentile(values: list[float], share: float) -> float:
    """Return the quantile of *values* at *share*; 0 for none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
