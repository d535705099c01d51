"""The last ten minutes, in steps, of all processes."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.live.counts import RouteCounts, total
from rendezvous.correlation import epoch_ms
from rendezvous.redis_store.snapshots import HISTORY_S, STEP_S

#: Number of steps in the history.
STEPS = HISTORY_S // STEP_S
#: Number of the latest steps that are read again, which some processes may not have written yet.
UNFINISHED = 3
#: What is plotted for each route, and for all together.
ROUTE_FIGURES = ("rate", "p50_s", "p99_s", "failed_share")

Json = dict[str, Any]


def figures_of(counts: RouteCounts, time_s: float) -> Json:
    """Return the ROUTE_FIGURES of what was counted within *time_s*."""
    finished = counts.finished
    return {
        "rate": rounded(finished / time_s if time_s else 0.0),
        "p50_s": rounded(counts.quantile_s(0.5)),
        "p99_s": rounded(counts.quantile_s(0.99)),
        "failed_share": rounded(counts.failed / finished) if finished else None,
    }


def rounded(value: float | None) -> float | None:
    """Return *value* with four digits."""
    return None if value is None else float(f"{value:.4g}")


class History:
    """
    The steps that were read, merged.

    Args:
        number: returns the number of the current step, for tests.
    """

    def __init__(self, number: Callable[[], int] = lambda: epoch_ms() // (STEP_S * 1000)) -> None:
        self._number = number
        self._by_number: dict[int, Json] = {}

    def since(self) -> int:
        """Return the number of the first step to read."""
        current = self._number()
        # There are later ones, of processes whose clocks are ahead.
        last = min(current - 1, max(self._by_number, default=0))
        return max(current - STEPS, last - UNFINISHED + 1)

    def add(self, since: int, steps: Iterable[Json]) -> None:
        """Replace the steps from number *since* on by *steps*, of all processes."""
        by_number: dict[int, list[Json]] = {}
        for step in steps:
            by_number.setdefault(int(step["t"]), []).append(step)
        oldest = self._number() - STEPS
        kept = {n: step for n, step in self._by_number.items() if oldest <= n < since}
        merged = {n: _merged(found) for n, found in by_number.items() if n >= oldest}
        self._by_number = kept | merged

    def to_json(self) -> Json:
        """Return STEPS values of each figure, oldest first; null for none."""
        last = self._number() - 1
        steps = [self._by_number.get(n, {}) for n in range(last - STEPS + 1, last + 1)]
        routes = sorted({route for step in steps for route in step.get("routes", ())})
        return {
            "step_s": STEP_S,
            "end_ms": (last + 1) * STEP_S * 1000,
            "totals": {
                name: [step.get("totals", {}).get(name) for step in steps]
                for name in (*ROUTE_FIGURES, "in_flight", "lag_s")
            },
            "routes": {
                route: {
                    name: [step.get("routes", {}).get(route, {}).get(name) for step in steps]
                    for name in ROUTE_FIGURES
                }
                for route in routes
            },
        }


def merged_counts(parts: Iterable[Mapping[str, Any]]) -> dict[str, RouteCounts]:
    """Return the counts of each route, of all processes, as RouteCounts.to_json() wrote them."""
    found: dict[str, RouteCounts] = {}
    for part in parts:
        for route, value in part.items():
            found.setdefault(route, RouteCounts()).add(RouteCounts.from_json(value))
    return found


def _merged(steps: list[Json]) -> Json:
    """Return one step of the steps of all processes."""
    counts = merged_counts(step.get("routes", {}) for step in steps)
    totals = figures_of(total(counts.values()), STEP_S)
    totals["in_flight"] = sum(step.get("in_flight", 0) for step in steps)
    totals["lag_s"] = max(step.get("lag_s", 0.0) for step in steps)
    routes = {route: figures_of(found, STEP_S) for route, found in counts.items()}
    return {"totals": totals, "routes": routes}
