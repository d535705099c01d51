"""Tables and JSON of a run."""

import platform
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tools.soak.judge.findings import Findings
from tools.soak.judge.oracle import ACCEPTABLE, Verdict
from tools.soak.report.progress import percentile


def table(findings: Findings) -> Iterator[str]:
    """Yield the lines of the report."""
    evidence = findings.evidence
    verdicts = findings.verdicts
    took_s = [one.took_s for one in evidence.exchanges]
    yield (
        f"{len(findings.judgements)} requests in {evidence.end_s - evidence.start_s:.0f} s, "
        f"{len(evidence.faults)} faults of {len({fault.name for fault in evidence.faults})} kinds; "
        f"undisturbed {findings.rate:.0f} /s; p50 {percentile(took_s, 0.5) * 1e3:.1f} ms, "
        f"p99 {percentile(took_s, 0.99) * 1e3:.0f} ms, worst {max(took_s, default=0) * 1e3:.0f} ms"
    )
    ways = evidence.ways
    share = ways["straight"] / (ways["straight"] + ways["redis"] or 1)
    yield (
        f"delivery {evidence.delivery}: {ways['straight']} replies straight from Kafka, "
        f"{ways['redis']} through Redis ({share:.2%} straight)"
    )
    yield ""
    for verdict in Verdict:
        mark = "  <-- failure" if verdict not in ACCEPTABLE and verdicts[verdict] else ""
        yield f"{verdicts[verdict]:8}  {verdict}{mark}"
    yield ""
    repeated = ", ".join(f"{n} {times} times" for times, n in sorted(findings.repeated.items()))
    yield f"executed more than once: {repeated or 'none'}"
    late = ", ".join(f"{kind} {count}" for kind, count in findings.late.most_common())
    yield f"fetched after a timeout: {late or 'none'}"
    yield ""
    yield f"{'at s':>6} {'lasted':>7} {'recovery':>9} {'limit':>6}  {'fault':22} errors in window"
    for recovery, errors in zip(findings.recoveries, findings.errors_by_fault, strict=True):
        fault = recovery.fault
        took = "none" if recovery.took_s is None else f"{recovery.took_s:.1f} s"
        yield (
            f"{fault.at_s - evidence.start_s:6.1f} {fault.healed_s - fault.at_s:5.1f} s "
            f"{took:>9} {fault.recovery_limit_s:4.0f} s{' ' if recovery.in_time else '!'} "
            f"{fault.name + ' ' + str(fault.replica):22} "
            + (", ".join(f"{kind} {n}" for kind, n in errors.most_common()) or "-")
        )


def as_json(findings: Findings, options: dict[str, Any]) -> dict[str, Any]:
    """Return the findings without single requests, which are in the logs."""
    evidence = findings.evidence
    return {
        "options": options,
        "python": platform.python_version(),
        "duration_s": evidence.end_s - evidence.start_s,
        "requests": len(findings.judgements),
        "verdicts": {verdict.name.lower(): findings.verdicts[verdict] for verdict in Verdict},
        "undisturbed_per_s": findings.rate,
        "replies_by_way": evidence.ways,
        "late_replies": dict(findings.late),
        "executed_more_than_once": dict(findings.repeated),
        "faults": [
            asdict(recovery.fault)
            | {
                "at_s": recovery.fault.at_s - evidence.start_s,
                "healed_s": recovery.fault.healed_s - evidence.start_s,
                "recovery_s": recovery.took_s,
                "errors": dict(errors),
            }
            for recovery, errors in zip(findings.recoveries, findings.errors_by_fault, strict=True)
        ],
        "failures": list(findings.failures()),
    }
