"""What a run amounts to: the verdict on each request, the recoveries, and what must not be."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tools.soak.deployment import TIMEOUT_S
from tools.soak.judge.oracle import GOOD, Judgement, Oracle, Verdict
from tools.soak.judge.recovery import Recovery, recoveries, undisturbed_rate
from tools.soak.judge.windows import Windows
from tools.soak.ledger import Effect
from tools.soak.run import Evidence

#: So many requests are named for each thing that must not be.
NAMED = 20


@dataclass(frozen=True)
class Findings:
    """
    The outcome of one run.

    Args:
        judgements: one for each request, in the order of their ends.
        late: what became of those that were asked for after they had timed out.
        strangers: executions that no client asked for.
        repeated: how many correlation ids were executed how often, where more than once.
        rate: good answers per second while nothing was disturbed.
        errors_by_fault: the errors in each fault's window, in the order of the recoveries.
    """

    evidence: Evidence
    judgements: list[Judgement]
    late: Counter[str]
    strangers: list[Effect]
    repeated: Counter[int]
    rate: float
    recoveries: list[Recovery]
    errors_by_fault: list[Counter[str]]

    @property
    def verdicts(self) -> Counter[Verdict]:
        """How many requests ended how."""
        return Counter(judgement.verdict for judgement in self.judgements)

    def failures(self) -> Iterator[str]:
        """Yield a line for each thing that must not be."""
        bad: Counter[Verdict] = Counter()
        for judgement in self.judgements:
            if judgement.verdict not in GOOD:
                bad[judgement.verdict] += 1
                if bad[judgement.verdict] <= NAMED:
                    yield str(judgement)
        yield from (
            f"{count - NAMED} more are {verdict}" for verdict, count in bad.items() if count > NAMED
        )
        yield from (f"LATE REPLY {kind}" for kind in self.late if kind.startswith("WRONG"))
        yield from (
            f"MIXED UP: {effect.correlation_id} was executed for number {effect.number} "
            "with a body that nobody sent"
            for effect in self.strangers[:NAMED]
        )
        yield from (f"ENDED: {name} ended by itself" for name in self.evidence.ended)
        if not self.rate:
            yield "NO RATE: there was no undisturbed second with answers"
        yield from (_slow(recovery) for recovery in self.recoveries if not recovery.in_time)


def find(evidence: Evidence, seed: int) -> Findings:
    """Join the logs of clients and responders and what is left in Redis, and judge."""
    windows = Windows(evidence.faults)
    oracle = Oracle(seed, TIMEOUT_S, evidence.effects, windows, evidence.stored)
    seen = sorted(evidence.seen, key=lambda one: one.answered_s)
    judgements = [oracle.judge(one) for one in seen]
    answered_s = [j.seen.answered_s for j in judgements if j.verdict is Verdict.OWN]
    rate = undisturbed_rate(answered_s, evidence.start_s, evidence.end_s, windows)
    return Findings(
        evidence=evidence,
        judgements=judgements,
        late=Counter(map(oracle.judge_late, evidence.late)),
        strangers=oracle.strangers(one.number for one in seen),
        repeated=oracle.repeated(),
        rate=rate,
        recoveries=recoveries(answered_s, evidence.end_s, windows, rate),
        errors_by_fault=_errors_by_fault(judgements, windows),
    )


def kind_of(judgement: Judgement) -> str:
    """Return in a word what kind of error a request ended with."""
    return judgement.seen.problem or judgement.seen.error.partition("(")[0] or judgement.verdict


def _errors_by_fault(judgements: list[Judgement], windows: Windows) -> list[Counter[str]]:
    errors: dict[float, Counter[str]] = {fault.at_s: Counter() for fault in windows.faults}
    for judgement in judgements:
        if judgement.verdict in (Verdict.OWN, Verdict.BY_DESIGN):
            continue
        fault = windows.latest(judgement.seen.sent_s, judgement.seen.answered_s)
        if fault is not None:
            errors[fault.at_s][kind_of(judgement)] += 1
    return [errors[fault.at_s] for fault in windows.faults]


def _slow(recovery: Recovery) -> str:
    fault = recovery.fault
    took = "was not seen" if recovery.took_s is None else f"took {recovery.took_s:.1f} s"
    return (
        f"SLOW: the recovery from {fault.name} at {fault.at_s:.3f} s {took}; "
        f"the limit is {fault.recovery_limit_s:g} s"
    )
