"""What honest clients and probes noticed of one attack, and whether that is acceptable."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.attack.attacks.framing import BROKEN_ACCEPTED, HIDDEN_SERVED
from tools.attack.programs.prober import LIMIT_S

#: Share of probes that must be answered in time, and of the honest rate that must remain.
MIN_PROBES, MIN_RATE = 0.99, 0.5


@dataclass(frozen=True)
class Exchange:
    """One request of a prober or honest client; status 0 means no response."""

    started_s: float
    took_s: float
    status: int

    @property
    def ended_s(self) -> float:
        """When it ended, monotonic."""
        return self.started_s + self.took_s


@dataclass(frozen=True)
class Phase:
    """A time between two readings of the monotonic clock."""

    begin_s: float
    end_s: float

    def began(self, exchanges: Iterable[Exchange]) -> list[Exchange]:
        """Return those that began in it."""
        return [one for one in exchanges if self.begin_s <= one.started_s < self.end_s]

    def ended(self, exchanges: Iterable[Exchange]) -> list[Exchange]:
        """Return those that ended in it."""
        return [one for one in exchanges if self.begin_s <= one.ended_s < self.end_s]


@dataclass(frozen=True)
class Evidence:
    """All exchanges of a round, and its phases."""

    before: Phase
    during: Phase
    after: Phase
    probes: Sequence[Exchange]
    honest: Sequence[Exchange]

    def rate(self, phase: Phase) -> float:
        """Return the correct honest responses per second that ended in *phase*."""
        correct = sum(one.status == 200 for one in phase.ended(self.honest))
        return correct / (phase.end_s - phase.begin_s)


@dataclass(frozen=True)
class Result:
    """
    One row of the report.

    Args:
        problem: why the service did not answer after the attack; empty if it did.
        counts: what the attackers met.
    """

    attack: str
    tree: str
    evidence: Evidence
    cpu_s: float
    peak_rss_bytes: int
    processes_replaced: int
    problem: str
    counts: Mapping[str, int]

    @property
    def probes_share(self) -> float:
        """Share of the probes during the attack that got a 200 in time."""
        probes = self.evidence.during.began(self.evidence.probes)
        return sum(one.status == 200 for one in probes) / len(probes) if probes else 0.0

    @property
    def worst_probe_s(self) -> float:
        """Longest probe during the attack; more than LIMIT_S counts as that."""
        probes = self.evidence.during.began(self.evidence.probes)
        return max((LIMIT_S if one.status == 0 else one.took_s for one in probes), default=LIMIT_S)

    @property
    def rates(self) -> tuple[float, float, float]:
        """Honest responses per second before, during and after the attack."""
        evidence = self.evidence
        before, during, after = map(
            evidence.rate, (evidence.before, evidence.during, evidence.after)
        )
        return before, during, after

    @property
    def not_200(self) -> int:
        """Honest requests without a correct response since the attack began."""
        begin_s = self.evidence.during.begin_s
        return sum(one.status != 200 for one in self.evidence.honest if one.ended_s >= begin_s)

    def failures(self) -> Iterator[str]:
        """Yield each criterion that is not met."""
        if self.probes_share < MIN_PROBES:
            yield f"probes {self.probes_share:.1%}"
        before, during, _ = self.rates
        if during < MIN_RATE * before:
            yield f"rate {during / before if before else 0:.0%}"
        if self.problem:
            yield "no answer after"
        yield from (
            f"{self.counts[name]} {name}"
            for name in (HIDDEN_SERVED, BROKEN_ACCEPTED)
            if self.counts.get(name)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        before, during, after = self.rates
        return {
            "attack": self.attack,
            "tree": self.tree,
            "probes_share": self.probes_share,
            "worst_probe_s": self.worst_probe_s,
            "honest_per_s": {"before": before, "during": during, "after": after},
            "honest_not_200": self.not_200,
            "cpu_s": self.cpu_s,
            "peak_rss_bytes": self.peak_rss_bytes,
            "processes_replaced": self.processes_replaced,
            "problem": self.problem,
            "counts": dict(self.counts),
            "failures": list(self.failures()),
        }


def read_exchanges(file: Path) -> list[Exchange]:
    """Return the exchanges that a prober or honest clients wrote."""
    exchanges = []
    for line in file.read_text(encoding="utf-8").splitlines():
        started_s, took_s, status = line.split()
        exchanges.append(Exchange(float(started_s), float(took_s), int(status)))
    return exchanges
