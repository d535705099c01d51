"""The time around faults in which errors are to be expected."""

from collections.abc import Iterable, Sequence

from tools.soak.records import Happened

#: So long after healing an error may still come from the fault.
AFTER_HEALING_S = 10.0


class Windows:
    """
    Tells what lies within [fault, healed + 10 s].

    Args:
        faults: those that happened.
    """

    def __init__(self, faults: Iterable[Happened]) -> None:
        self.faults: Sequence[Happened] = sorted(faults, key=lambda fault: fault.at_s)

    def touching(self, from_s: float, to_s: float) -> list[Happened]:
        """Return the faults whose windows overlap the time from *from_s* to *to_s*."""
        return [
            fault
            for fault in self.faults
            if fault.at_s <= to_s and from_s <= fault.healed_s + AFTER_HEALING_S
        ]

    def latest(self, from_s: float, to_s: float) -> Happened | None:
        """Return the last fault whose window overlaps that time, if any: it gets the blame."""
        return next(reversed(self.touching(from_s, to_s)), None)

    def paused_s(self, name: str, from_s: float, to_s: float) -> float:
        """Return for how much of that time faults called *name* held."""
        return sum(
            max(0.0, min(to_s, fault.healed_s) - max(from_s, fault.at_s))
            for fault in self.faults
            if fault.name == name
        )
