"""Time windows around faults in which errors are expected."""

from collections.abc import Iterable, Sequence

from tools.soak.records import InjectedFault

#: Minimum time after healing during which errors still count as caused by the fault, in seconds.
AFTER_HEALING_S = 10.0


class Windows:
    """Windows from the start of each fault until it should have recovered."""

    def __init__(self, faults: Iterable[InjectedFault]) -> None:
        self.faults: Sequence[InjectedFault] = sorted(faults, key=lambda fault: fault.at_s)

    def overlapping(self, from_s: float, to_s: float) -> list[InjectedFault]:
        """Return the faults whose windows overlap the time from *from_s* to *to_s*."""
        return [
            fault
            for fault in self.faults
            if fault.at_s <= to_s
            and from_s <= fault.healed_s + max(AFTER_HEALING_S, fault.recovery_limit_s)
        ]

    def latest(self, from_s: float, to_s: float) -> InjectedFault | None:
        """Return the last fault whose window overlaps that time, or None."""
        return next(reversed(self.overlapping(from_s, to_s)), None)

    def paused_s(self, name: str, from_s: float, to_s: float) -> float:
        """Return how many seconds of that time faults called *name* lasted."""
        return sum(
            max(0.0, min(to_s, fault.healed_s) - max(from_s, fault.at_s))
            for fault in self.faults
            if fault.name == name
        )
