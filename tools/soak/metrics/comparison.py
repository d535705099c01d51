"""Compares the counts of the oracle with the counters of the processes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tools.soak.load.tasks import PATH, TOPIC
from tools.soak.metrics.prometheus import Prometheus
from tools.soak.metrics.scrape import scrape, sums
from tools.soak.run import Evidence

#: Process, counter, the label by which it is summed up, and the labels that select it.
OUTCOMES = ("gateway", "rendezvous_outcomes_total", "outcome", {"route": PATH})
SENT = ("gateway", "rendezvous_sent_total", "sent", {"topic": TOPIC})
ANSWERED = ("responder", "rendezvous_responder_outcomes_total", "outcome", {"topic": TOPIC})
RECORDS = ("replies", "rendezvous_reply_records_total", "outcome", dict[str, str]())
COUNTERS = (OUTCOMES, SENT, ANSWERED, RECORDS)


@dataclass(frozen=True)
class Row:
    """
    One figure.

    Args:
        oracle: None where only the processes know it.
        prometheus: None without Prometheus.
    """

    process: str
    counter: str
    label: str
    oracle: int | None
    scraped: int
    prometheus: int | None

    @property
    def is_equal(self) -> bool:
        """Whether all agree that know it."""
        known = {one for one in (self.oracle, self.scraped, self.prometheus) if one is not None}
        return len(known) == 1


@dataclass(frozen=True)
class Comparison:
    """The figures of a run, and what else was wrong."""

    rows: list[Row]
    other_failures: list[str]

    def failures(self) -> Iterator[str]:
        """Yield a line for each difference."""
        for row in self.rows:
            if not row.is_equal:
                yield f"DIFFERENT: {row}"
        yield from self.other_failures

    def table(self) -> Iterator[str]:
        """Yield the lines of the report."""
        yield f"{'process':10} {'counter':38} {'label':26} {'oracle':>8} {'scraped':>8} Prometheus"
        for row in self.rows:
            oracle = "-" if row.oracle is None else row.oracle
            prometheus = "-" if row.prometheus is None else row.prometheus
            mark = "" if row.is_equal else "  DIFFERENT"
            yield (
                f"{row.process:10} {row.counter:38} {row.label:26} {oracle:>8} {row.scraped:>8} "
                f"{prometheus:>10}{mark}"
            )

    def as_json(self) -> list[dict[str, Any]]:
        """Return the rows."""
        return [asdict(row) for row in self.rows]


def compare(
    evidence: Evidence,
    ports: dict[str, list[int]],
    prometheus: Prometheus | None,
    other_failures: list[str],
) -> Comparison:
    """
    Return the figures of the oracle and of the processes.

    Args:
        ports: management ports by process.
    """
    samples = {name: [s for port in own for s in scrape(port)] for name, own in ports.items()}
    rows = []
    for (process, counter, label, selected), oracle in zip(
        COUNTERS, _oracle_counts(evidence), strict=True
    ):
        if process not in samples:
            continue
        scraped = sums(samples[process], counter, label, **selected)
        collected = _collected(prometheus, counter, label, selected)
        for value in sorted(set(scraped) | set(oracle or ())):
            rows.append(
                Row(
                    process,
                    counter,
                    value,
                    None if oracle is None else oracle[value],
                    scraped[value],
                    None if collected is None else collected[value],
                )
            )
    return Comparison([*rows, *_sums(rows, evidence)], other_failures)


def _oracle_counts(evidence: Evidence) -> tuple[Counter[str] | None, ...]:
    """Return what the oracle counted for each of COUNTERS."""
    exchanges = evidence.exchanges
    outcomes = Counter(one.problem or one.error or "reply" for one in exchanges)
    sent = Counter((one.sent or "unknown") if one.problem else "yes" for one in exchanges)
    return outcomes, sent, None, None


def _collected(
    prometheus: Prometheus | None, counter: str, label: str, selected: dict[str, str]
) -> Counter[str] | None:
    if prometheus is None:
        return None
    selector = ",".join(f'{name}="{value}"' for name, value in selected.items())
    found = prometheus.query(f"sum by ({label}) ({counter}{{{selector}}})")
    return Counter({labels[label]: round(value) for labels, value in found})


def _sums(rows: list[Row], evidence: Evidence) -> Iterator[Row]:
    """Yield the figures of which the oracle knows the sum."""

    def total(process: str, *labels: str) -> tuple[int, int | None]:
        own = [row for row in rows if row.process == process and row.label in labels]
        collected = [row.prometheus or 0 for row in own]
        is_known = all(row.prometheus is not None for row in own)
        return sum(row.scraped for row in own), sum(collected) if is_known else None

    executed = total("responder", "answered", "failed")
    yield Row("responder", ANSWERED[1], "answered + failed", len(evidence.effects), *executed)
    if evidence.delivery == "store":  # else gateways store some as well
        yield Row(
            "replies", RECORDS[1], "stored", len(evidence.stored), *total("replies", "stored")
        )
