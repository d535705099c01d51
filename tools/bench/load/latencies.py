"""Latency percentiles, computed as wrk computes them."""

from collections.abc import Sequence

#: Dense at the tail; without 100, which wrk does not report.
PERCENTILES: tuple[float, ...] = (
    1,
    *range(5, 90, 5),
    *range(90, 99),
    *(99 + tenth / 10 for tenth in range(10)),
    99.95,
    99.99,
)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the value at *percent* of *ordered*, ranked as wrk does; 0 for none."""
    if not ordered:
        return 0.0
    rank = int(percent / 100 * len(ordered) + 1)  # wrk rounds x + 0.5
    return ordered[min(rank, len(ordered)) - 1]


def with_wrk_correction(latencies: Sequence[float], expected: float) -> list[float]:
    """
    Return *latencies* sorted, with wrk's correction for coordinated omission.

    Args:
        expected: mean time between two responses on one connection. For a latency above twice that,
            wrk adds those of the requests that the connection would have sent meanwhile.
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
    """Return each of PERCENTILES with its latency; *in_flight* is the number of connections."""
    each = len(latencies) // in_flight
    ordered = with_wrk_correction(latencies, duration_s / each if each else 0.0)
    return [(percent, percentile(ordered, percent)) for percent in PERCENTILES]
