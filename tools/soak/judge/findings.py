"""The findings of a run: verdicts, recoveries and failures."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tools.soak.faults.schedule import STORE_TARGETS
from tools.soak.judge.oracle import ACCEPTABLE, Judgement, Oracle, Verdict
from tools.soak.judge.recovery import Recovery, recoveries, undisturbed_rate
from tools.soak.judge.windows import Windows
from tools.soak.ledger import Effect
from tools.soak.run import Evidence

#: Maximum number of requests listed per kind of failure.
MAX_LISTED = 20


@dataclass(frozen=True)
class Findings:
    """
    The findings of one run.

    Args:
        judgements: one for each request, in the order of their ends.
        late: outcomes of fetching replies after a timeout.
        unknown_effects: executions that no client requested.
        repeated: number of correlation ids by times of execution, if more than once.
        rate: correct responses per second outside all fault windows.
        errors_by_fault: errors in the window of each fault, in the order of the recoveries.
    """

    evidence: Evidence
    judgements: list[Judgement]
    late: Counter[str]
    unknown_effects: list[Effect]
    repeated: Counter[int]
    rate: float
    recoveries: list[Recovery]
    errors_by_fault: list[Counter[str]]

    @property
    def verdicts(self) -> Counter[Verdict]:
        """Number of requests by verdict."""
        return Counter(judgement.verdict for judgement in self.judgements)

    def failures(self) -> Iterator[str]:
        """Yield a line for each failure."""
        failed: Counter[Verdict] = Counter()
        for judgement in self.judgements:
            if judgement.verdict not in ACCEPTABLE:
                failed[judgement.verdict] += 1
                if failed[judgement.verdict] <= MAX_LISTED:
                    yield str(judgement)
        yield from (
            f"{count - MAX_LISTED} more: {verdict}"
            for verdict, count in failed.items()
            if count > MAX_LISTED
        )
        yield from (f"LATE REPLY {kind}" for kind in self.late if kind.startswith("WRONG"))
        yield from (
            f"UNKNOWN: {effect.correlation_id} was executed for number {effect.number} "
            "with a body that no client sent"
            for effect in self.unknown_effects[:MAX_LISTED]
        )
        yield from (f"CRASHED: {name} ended by itself" for name in self.evidence.crashed)
        if not self.rate:
            yield "NO RATE: no second without faults had correct responses"
        yield from (_slow(recovery) for recovery in self.recoveries if not recovery.in_time)


def find(evidence: Evidence, seed: int) -> Findings:
    """Judge all requests of a run."""
    windows = Windows(evidence.faults)
    excuses = _excuses(evidence)
    oracle = Oracle(seed, evidence.timeout_s, evidence.effects, excuses, evidence.stored)
    exchanges = sorted(evidence.exchanges, key=lambda one: one.ended_s)
    judgements = [oracle.judge(one) for one in exchanges]
    ended_s = [j.exchange.ended_s for j in judgements if j.verdict is Verdict.CORRECT]
    rate = undisturbed_rate(ended_s, evidence.start_s, evidence.end_s, windows)
    return Findings(
        evidence=evidence,
        judgements=judgements,
        late=Counter(map(oracle.judge_late_fetch, evidence.late_fetches)),
        unknown_effects=oracle.unknown_effects(one.number for one in exchanges),
        repeated=oracle.repeated(),
        rate=rate,
        recoveries=recoveries(ended_s, evidence.end_s, windows, rate),
        errors_by_fault=_errors_by_fault(judgements, windows),
    )


def _excuses(evidence: Evidence) -> Windows:
    """Return the windows in which errors are expected."""
    faults = evidence.faults
    if evidence.delivery == "direct":
        # Requests without idempotency keys need neither Redis nor the replies processes.
        faults = [one for one in faults if one.name.split()[-1] not in STORE_TARGETS]
    return Windows(faults)


def kind_of(judgement: Judgement) -> str:
    """Return the kind of error that a request ended with."""
    return (
        judgement.exchange.problem
        or judgement.exchange.error.partition("(")[0]
        or judgement.verdict
    )


def _errors_by_fault(judgements: list[Judgement], windows: Windows) -> list[Counter[str]]:
    errors: dict[float, Counter[str]] = {fault.at_s: Counter() for fault in windows.faults}
    for judgement in judgements:
        if judgement.verdict in (Verdict.CORRECT, Verdict.BY_DESIGN):
            continue
        fault = windows.latest(judgement.exchange.sent_s, judgement.exchange.ended_s)
        if fault is not None:
            errors[fault.at_s][kind_of(judgement)] += 1
    return [errors[fault.at_s] for fault in windows.faults]


def _slow(recovery: Recovery) -> str:
    fault = recovery.fault
    took = "did not happen" if recovery.took_s is None else f"took {recovery.took_s:.1f} s"
    return (
        f"SLOW: the recovery from {fault.name} at {fault.at_s:.3f} s {took}; "
        f"the limit is {fault.recovery_limit_s:g} s"
    )
