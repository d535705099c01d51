"""The state of this gateway process: what it writes for the live page."""

import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Gauge

from gateway import metrics
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.partition_reader import PartitionReader
from gateway.health.readiness import Readiness
from gateway.health.reply_path import ReplyPathHealth
from gateway.live.counts import Counts, RouteCounts, Windows, counts_of, difference
from gateway.live.recent_problems import RecentProblems
from gateway.routing.table import Route
from rendezvous import __version__
from rendezvous.correlation import epoch_ms
from rendezvous.redis_store.snapshots import STEP_S

#: Time over which rates and durations are taken, in seconds.
WINDOW_S = 10.0
#: Time over which a route counts as failing, in seconds: short, so that a failure shows at once.
NOW_S = 2.0


@dataclass
class OwnState:
    """
    What is known of this process.

    Args:
        topics: the topic of each route, by ``<method> <path>``.
        reader: reads the replies that come straight from Kafka; None if none do.
        draining: returns whether the server drains.
    """

    topics: Mapping[str, str]
    mailbox: Mailbox
    readiness: Readiness
    reply_path: ReplyPathHealth | None
    reader: PartitionReader | None
    draining: Callable[[], bool]
    recent: RecentProblems = field(default_factory=RecentProblems)
    read_counts: Callable[[], Counts] = lambda: counts_of(metrics.HTTP_DURATION)

    def __post_init__(self) -> None:
        self._windows = Windows(self._counts, WINDOW_S)
        self._since_ms = epoch_ms()
        self._step = StepCounts()

    @classmethod
    def of_routes(cls, routes: Sequence[Route], **parts: Any) -> "OwnState":
        """Return the state of a gateway with *routes*."""
        topics = {
            f"{method} {route.path}": route.topic for route in routes for method in route.methods
        }
        return cls(topics, **parts)

    @property
    def node(self) -> str:
        """The name of this process."""
        return self.mailbox.node

    def snapshot(self) -> dict[str, Any]:
        """Return the state now; call it about once a second, from one thread."""
        counts = self._windows.take()
        window, window_s = self._windows.within(WINDOW_S)
        now, _ = self._windows.within(NOW_S)
        load = {
            "in_flight": _value(metrics.IN_FLIGHT),
            "limit": _value(metrics.IN_FLIGHT_LIMIT),
            "queued": _value(metrics.QUEUED),
            "queue_limit": _value(metrics.QUEUE_LIMIT),
        }
        lag_s = 0.0 if self.reply_path is None else self.reply_path.lag_s
        self._step.add(counts, load["in_flight"], lag_s)
        read = None if self.reader is None else self.reader.reads()
        return {
            "kind": "gateway",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "since_ms": self._since_ms,
            "state": "draining" if self.draining() else "running",
            "problems": self.readiness.problems(),
            "warnings": self.readiness.warnings(),
            **load,
            "topics": dict(self.topics),
            "waiting": Counter(waiter.topic for waiter in self.mailbox.waiters()),
            "breakers": _breakers(),
            "straight": None if read is None else list(read),
            "window_s": round(window_s, 3),
            "routes": {route: found.to_json() for route, found in window.items()},
            "now": {route: [found.finished, found.failed] for route, found in now.items()},
            "recent": self.recent.entries(),
        }

    def ended_step(self) -> dict[str, Any]:
        """Return the step of the history that has ended since the last call; {} if none has."""
        return self._step.ended()

    def _counts(self) -> Counts:
        """Return the counts of routes.toml's routes: not those of probes and pages."""
        return {name: found for name, found in self.read_counts().items() if name in self.topics}


class StepCounts:
    """The step of the history that is being counted: see Snapshots."""

    def __init__(self, number: Callable[[], int] = lambda: epoch_ms() // (STEP_S * 1000)) -> None:
        self._number = number
        self._current = number()
        self._first: Counts | None = None
        self._last: Counts = {}
        self._in_flight = 0
        self._lag_s = 0.0

    def add(self, counts: Counts, in_flight: int, lag_s: float) -> None:
        """Add a reading of the counts since the start of the process."""
        self._last = counts
        if self._first is None:
            self._first = counts
        self._in_flight = max(self._in_flight, in_flight)
        self._lag_s = max(self._lag_s, lag_s)

    def ended(self) -> dict[str, Any]:
        """Return the step if it has ended, and begin the next one; else {}."""
        number = self._number()
        if number == self._current:
            return {}
        counted: Mapping[str, RouteCounts] = difference(self._last, self._first or {})
        step = {
            "t": self._current,
            "routes": {route: found.to_json() for route, found in counted.items()},
            "in_flight": self._in_flight,
            "lag_s": round(self._lag_s, 3),
        }
        self._current, self._first = number, self._last
        self._in_flight, self._lag_s = 0, 0.0
        return step


def _value(gauge: Gauge) -> int:
    """Return the value of a gauge without labels, of this process."""
    return int(sum(sample.value for metric in gauge.collect() for sample in metric.samples))


def _breakers() -> dict[str, list[int]]:
    """Return by topic whether the breaker is open for all, and for how many clients."""
    found: dict[str, list[int]] = {}
    for place, gauge in enumerate((metrics.BREAKERS_OPEN, metrics.BREAKER_CLIENTS)):
        for metric in gauge.collect():
            for sample in metric.samples:
                found.setdefault(sample.labels["topic"], [0, 0])[place] = int(sample.value)
    return found
