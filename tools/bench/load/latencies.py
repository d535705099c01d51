"""Latencies as wrk tells them, so that those of the floors can stand beside them."""

from collections.abc import Sequence

#: Dense where it matters. 100 is missing: wrk knows no value for it.
PERCENTILES: tuple[float, ...] = (
    1,
    *range(5, 90, 5),
    *range(90, 99),
    *(99 + tenth / 10 for tenth in range(10)),
    99.95,
    99.99,
)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value at *percent* of *ordered*, by wrk's rank; 0 for none."""
    if not ordered:
        return 0.0
    rank = int(percent / 100 * len(ordered) + 1)  # wrk rounds x + 0.5
    return ordered[min(rank, len(ordered)) - 1]


def as_wrk_corrects(latencies: Sequence[float], expected: float) -> list[float]:
    """
    Return *latencies* in order, with what wrk adds for the requests that could not be sent.

    Args:
        expected: the time in which each connection was answered once, on average. For one that
            took more than twice that, wrk adds those that its connection would have sent meanwhile.
    """
    found = list(latencies)
    if expected > 0:
        for latency in latencies:
            missed = latency - expected
            while missed > expected:
                found.append(missed)
                missed -= expected
    return sorted(found)


def distribution(
    latencies: Sequence[float], in_flight: int, duration_s: float
) -> list[tuple[float, float]]:
    """Return each of PERCENTILES with its latency, from those of *in_flight* at a time."""
    each = len(latencies) // in_flight
    ordered = as_wrk_corrects(latencies, duration_s / each if each else 0.0)
    return [(percent, percentile(ordered, percent)) for percent in PERCENTILES]
