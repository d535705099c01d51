"""The headline table."""

from dataclasses import replace

from tests.tools.bench.report.test_summary import result
from tools.bench.load.latencies import PERCENTILES
from tools.bench.measure.result import Load
from tools.bench.report import shipped, tables


def of(
    subject: str, number: int, *, requests: int = 100, not_2xx: int = 0, latency_s: float = 0.01
):
    one = result(
        subject,
        number,
        cpu_s={"web": 0.02, "replies": 0.01, "responder": 0.03},
        redis_calls={"mget": requests},
        kafka_requests={"Produce": 2 * requests},
    )
    percentiles = [(percent, latency_s) for percent in PERCENTILES]
    return replace(one, load=Load(requests, 2.0, percentiles, not_2xx))


def line_of(lines: list[str], subject: str) -> str:
    (line,) = [line for line in lines if line.split()[:1] == [subject]]
    return line


def test_a_line_has_rate_latency_refusals_and_costs_of_a_request_answered():
    lines = list(shipped.table([of("shipped", 1, not_2xx=50), of("shipped", 2, not_2xx=50)]))

    # The rate is that of the responses with status 2xx, half of all.
    latency = "10.0 (10.0..10.0)"
    assert " ".join(line_of(lines, "shipped").split()) == (
        f"shipped 25 (25..25) {latency} {latency} 50.0% 400 200 600 2.00 4.00"
    )


def test_ratios_are_computed_within_rounds_and_shown_for_ours_only():
    # The machine was twice as slow in the second round.
    results = [
        of("shipped", 1, requests=300, latency_s=0.01),
        of("textbook", 1, requests=100, latency_s=0.04),
        of("floor-shipped", 1, latency_s=0.008),
        of("shipped", 2, requests=150, latency_s=0.02),
        of("textbook", 2, requests=50, latency_s=0.08),
        of("floor-shipped", 2, latency_s=0.016),
    ]

    lines = list(shipped.table(results))

    assert lines[-1] == (
        "  shipped within rounds: rate/textbook 3.00 (3.00..3.00), "
        "p99/textbook 0.25 (0.25..0.25), p50/floor-shipped 1.25 (1.25..1.25)"
    )


def test_gateways_as_shipped_and_gateways_alone_have_a_table_each():
    lines = list(tables.table([of("shipped", 1), result("ours")]))

    alone = next(number for number, line in enumerate(lines) if "the gateway alone" in line)
    assert any(line.split()[:1] == ["shipped"] for line in lines[:alone])
    assert not any(line.split()[:1] == ["shipped"] for line in lines[alone:])
    assert any(line.split()[:1] == ["ours"] for line in lines[alone:])
