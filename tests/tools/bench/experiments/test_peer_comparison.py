"""The table of gateways of other projects."""

from tests.tools.bench.report.test_shipped import of
from tools.bench.experiments.peer_comparison import table


def test_each_gateway_has_a_line_and_its_ratio_within_rounds():
    results = [
        of("shipped", 1, requests=300),
        of("nest/own", 1, requests=200),
        of("nest/shipped", 1, requests=150, latency_s=0.02),
    ]

    lines = list(table(results))

    assert [line.split()[0] for line in lines if line.startswith("  nest")] == [
        "nest/own",
        "nest/shipped",
    ]
    assert lines[-2].split(maxsplit=3)[2:] == [
        "nest/own",
        "rate 1.50 (1.50..1.50), p99 1.00 (1.00..1.00)",
    ]
    assert lines[-1].endswith("rate 2.00 (2.00..2.00), p99 0.50 (0.50..0.50)")
