"""Counts of responses by route, in total and within the last seconds."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Self

from prometheus_client import Histogram

from gateway.metrics import NO_ROUTE, SECONDS

#: The first bucket of each series.
_SMALLEST = str(SECONDS[0])
#: Status from which a response counts as failed.
FAILED_STATUS = 500


@dataclass(slots=True)
class RouteCounts:
    """Numbers of responses of a route, of failed ones, and durations."""

    finished: int = 0
    failed: int = 0
    #: Responses by the upper bound of their duration in seconds, as text; ``+Inf`` is the last.
    buckets: Counter[str] = field(default_factory=Counter)

    def add(self, other: Self) -> None:
        """Add the counts of another process or route."""
        self.finished += other.finished
        self.failed += other.failed
        self.buckets.update(other.buckets)

    def since(self, earlier: Self) -> "RouteCounts":
        """Return what has been counted after *earlier*."""
        return RouteCounts(
            self.finished - earlier.finished,
            self.failed - earlier.failed,
            self.buckets - earlier.buckets,
        )

    def to_json(self) -> list[Any]:
        """Return them as a list, for from_json()."""
        return [self.finished, self.failed, self.buckets]

    @classmethod
    def from_json(cls, value: Any) -> "RouteCounts":
        """Return the counts that another process has written; none if it wrote something else."""
        try:
            finished, failed, buckets = value
            by_bound = {str(bound): int(n) for bound, n in buckets.items()}
            return RouteCounts(int(finished), int(failed), Counter(by_bound))
        except (TypeError, ValueError, AttributeError):
            return RouteCounts()

    def quantile_s(self, share: float) -> float | None:
        """
        Return the duration in seconds within which *share* of the responses came.

        It is interpolated within the bucket; None without responses.
        """
        total = self.buckets.total()
        if not total:
            return None
        rank, high_s = share * total, 0.0
        for high_s, number in sorted((float(bound), n) for bound, n in self.buckets.items()):
            if rank <= number:
                low_s = max((bound for bound in SECONDS if bound < high_s), default=0.0)
                return low_s if high_s == inf else low_s + (high_s - low_s) * rank / number
            rank -= number
        return high_s


Counts = dict[str, RouteCounts]


def counts_of(histogram: Histogram) -> Counts:
    """Return the counts of this process by route, as ``<method> <path>``."""
    found: Counts = {}
    below = 0.0
    for metric in histogram.collect():
        for sample in metric.samples:
            if not sample.name.endswith("_bucket"):
                continue
            labels = sample.labels
            # Each bucket contains all smaller ones; with the smallest one the next series begins.
            number = int(sample.value - (0.0 if labels["le"] == _SMALLEST else below))
            below = sample.value
            if number and labels["http_route"] != NO_ROUTE:
                _count(found, labels, number)
    return found


def _count(found: Counts, labels: Mapping[str, str], number: int) -> None:
    name = f"{labels['http_request_method']} {labels['http_route']}"
    counts = found.setdefault(name, RouteCounts())
    counts.finished += number
    if int(labels["http_response_status_code"]) >= FAILED_STATUS:
        counts.failed += number
    counts.buckets[labels["le"]] += number


def difference(later: Counts, earlier: Counts) -> Counts:
    """Return what has been counted between two readings; routes without responses are left out."""
    none = RouteCounts()
    found = {route: counts.since(earlier.get(route, none)) for route, counts in later.items()}
    return {route: counts for route, counts in found.items() if counts.finished}


def total(counts: Iterable[RouteCounts]) -> RouteCounts:
    """Return the sum of *counts*."""
    found = RouteCounts()
    for one in counts:
        found.add(one)
    return found


class Windows:
    """
    The counts of the last seconds.

    Args:
        read: returns the counts since the start of the process.
        longest_s: the longest time that is asked for, in seconds.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        read: Callable[[], Counts],
        longest_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._longest_s = longest_s
        self._clock = clock
        self._readings: deque[tuple[float, Counts]] = deque()

    def take(self) -> Counts:
        """Read the counts now, and return them."""
        now_s, counts = self._clock(), self._read()
        self._readings.append((now_s, counts))
        # One that is older than the longest time stays, as its beginning.
        while len(self._readings) > 2 and self._readings[1][0] <= now_s - self._longest_s:
            self._readings.popleft()
        return counts

    def within(self, time_s: float) -> tuple[Counts, float]:
        """Return what was counted within about *time_s* before take(), and that time in seconds."""
        last_s, last = self._readings[-1]
        earlier = [reading for reading in self._readings if reading[0] <= last_s - time_s]
        first_s, first = earlier[-1] if earlier else self._readings[0]
        return difference(last, first), last_s - first_s
