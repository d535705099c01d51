"""Counts of the outcomes of requests, for the log."""

import logging
import threading
from collections import Counter

logger = logging.getLogger("responder")


class OutcomeCounts:
    """
    Counts outcomes. Safe to use from several threads.

    The outcomes are: answered, failed, repeated, expired, cancelled, malformed, refused, unsent,
    skipped; in addition retried, for each further attempt, and dead-lettered.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._logged = 0

    def add(self, outcome: str) -> None:
        """Count one more *outcome*."""
        with self._lock:
            self._counts[outcome] += 1

    def snapshot(self) -> Counter[str]:
        """Return a copy of the counts."""
        with self._lock:
            return Counter(self._counts)

    def log(self) -> None:
        """Log the counts if they have changed since the last call."""
        counts = self.snapshot()
        if counts.total() != self._logged:
            self._logged = counts.total()
            logger.info("requests so far: %s", ", ".join(f"{k} {n}" for k, n in counts.items()))
