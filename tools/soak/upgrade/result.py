"""What happened while the releases were exchanged, and its report."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from tools.soak.judge.findings import Findings
from tools.soak.judge.oracle import Verdict
from tools.soak.records import Exchange
from tools.soak.report.progress import percentile
from tools.soak.upgrade.releases import RELEASES, other
from tools.soak.upgrade.roller import Step

_STORED = re.compile(r"replies so far: .*\bstored (\d+)")


@dataclass(frozen=True)
class Upgrade:
    """
    What happened while the releases were exchanged.

    Args:
        problems: of replacements.
        handled: number of requests by release of the gateway and of the responder.
        stored: number of replies by release of the replies process.
        twice: requests that were executed under two correlation ids.
    """

    findings: Findings
    steps: list[Step]
    problems: list[str]
    handled: Counter[tuple[str, str]]
    stored: Counter[str]
    twice: list[str]

    def failures(self) -> Iterator[str]:
        """Yield a line for each failure."""
        yield from self.findings.failures()
        yield from self.problems
        yield from self.twice
        for gateway, responder in product(RELEASES, RELEASES):
            if not self.handled[gateway, responder]:
                yield f"NOT TESTED: no request from {gateway} gateway to {responder} responder"
        for release in RELEASES:
            if not self.stored[release]:
                yield f"NOT TESTED: no reply stored by a replies process of the {release} release"


def handled(
    exchanges: Sequence[Exchange], steps: Sequence[Step], responders: Mapping[str, str]
) -> Counter[tuple[str, str]]:
    """
    Return the number of requests by release of the gateway and of the responder.

    Args:
        responders: release of the responder that executed a request, by correlation id.
    """
    found: Counter[tuple[str, str]] = Counter()
    for one in exchanges:
        if one.correlation_id in responders:
            gateway = release_at(steps, f"gateway-{one.gateway}", one.sent_s)
            found[gateway, responders[one.correlation_id]] += 1
    return found


def release_at(steps: Sequence[Step], process: str, at_s: float) -> str:
    """Return the release of *process* at that time; while it is replaced, the earlier one."""
    started = [step for step in steps if step.process == process and step.at_s <= at_s]
    if not started:
        return RELEASES[0]
    last = started[-1]
    return last.release if at_s >= last.done_s else other(last.release)


def stored(folder: Path) -> Counter[str]:
    """Return the number of replies that the processes of each release logged as stored."""
    found: Counter[str] = Counter()
    for release in RELEASES:
        for log in folder.glob(f"replies-*-{release}.log"):
            for life in log.read_text(encoding="utf-8", errors="replace").split("version ")[1:]:
                found[release] += max(map(int, _STORED.findall(life)), default=0)
    return found


def twice(exchanges: Sequence[Exchange]) -> Iterator[str]:
    """Yield a line for each number whose responses have different correlation ids."""
    ids: dict[int, set[str]] = defaultdict(set)
    for one in exchanges:
        ids[one.number].add(one.correlation_id)
    for number, found in ids.items():
        if len(found) > 1:
            yield f"TWICE: request {number} with one idempotency key became {', '.join(found)}"


def table(found: Upgrade) -> Iterator[str]:
    """Yield the lines of the report."""
    evidence = found.findings.evidence
    took_s = [one.took_s for one in evidence.exchanges]
    repeated = len(took_s) - len({one.number for one in evidence.exchanges})
    yield (
        f"{len(took_s)} requests in {evidence.end_s - evidence.start_s:.0f} s, {repeated} of them "
        f"repeated with their idempotency key; {len(found.steps)} replacements; "
        f"p50 {percentile(took_s, 0.5) * 1e3:.1f} ms, p99 {percentile(took_s, 0.99) * 1e3:.0f} ms, "
        f"worst {max(took_s, default=0) * 1e3:.0f} ms"
    )
    for verdict in Verdict:
        if count := found.findings.verdicts[verdict]:
            yield f"{count:8}  {verdict}"
    for (gateway, responder), count in sorted(found.handled.items()):
        yield f"{count:8}  gateway: {gateway} release, responder: {responder} release"
    for release, count in sorted(found.stored.items()):
        yield f"{count:8}  stored by replies processes: {release} release"


def as_json(found: Upgrade, options: dict[str, Any]) -> dict[str, Any]:
    """Return the counts without single requests, which are in the logs."""
    return {
        "options": options,
        "requests": len(found.findings.judgements),
        "replacements": len(found.steps),
        "verdicts": {verdict.name.lower(): n for verdict, n in found.findings.verdicts.items()},
        "handled": {" to ".join(pair): count for pair, count in found.handled.items()},
        "stored": dict(found.stored),
        "failures": list(found.failures()),
    }
