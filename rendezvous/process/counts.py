"""Counts of a responder: the outcomes of requests, for the log and as metrics."""

import logging
import threading
from collections import Counter
from functools import cache

import prometheus_client

logger = logging.getLogger("responder")


OUTCOMES = prometheus_client.Counter(
    "rendezvous_responder_outcomes_total",
    "Requests of a responder by outcome: answered, failed (an exception, or a status of 500 or "
    "more), repeated, expired, cancelled, malformed, refused; and retried for each further "
    "attempt, dead-lettered, and unsent or skipped when their replies were not published",
    ("topic", "outcome"),
)
HANDLER_TIME = prometheus_client.Histogram(
    "rendezvous_handler_seconds",
    "Time that handlers take",
    ("topic",),
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
BACKLOG = prometheus_client.Gauge(
    "rendezvous_responder_unfinished_requests", "Requests that are read and not finished yet"
)
LAG = prometheus_client.Gauge(
    "rendezvous_request_lag_seconds",
    "Age of the last record that was read of a partition of a request topic; 0 at its end",
    ("topic", "partition"),
)
_outcomes_of = cache(OUTCOMES.labels)
handler_time_of = cache(HANDLER_TIME.labels)


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

    def add(self, outcome: str, topic: str) -> None:
        """Count one more *outcome* of a request of *topic*."""
        _outcomes_of(topic, outcome).inc()
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
