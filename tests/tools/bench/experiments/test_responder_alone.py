"""The throughput of the responder, computed from samples of the reply topic."""

from tools.bench.experiments.responder_alone import (
    PLAIN,
    RESPONDER,
    Sample,
    Throughput,
    ratios,
    table,
    throughput,
)


def test_the_rate_is_measured_from_the_first_reply_to_the_last():
    samples = [
        Sample(0.0, 0, 0.4),
        Sample(2.0, 100, 0.6),
        Sample(4.0, 2_100, 1.6),
        Sample(9.0, 2_100, 1.7),
    ]

    found = throughput(samples, 3, RESPONDER, {"ProduceRequest": 40, "idle_polls": 1})

    assert (found.round, found.records, found.duration_s) == (3, 2_000, 2.0)
    assert (found.per_s, found.cpu_us) == (1_000, 500)
    assert (found.produce_requests, found.idle_polls) == (20, 1)


def test_the_rate_is_zero_without_replies():
    assert throughput([Sample(0.0, 0, 0.0), Sample(1.0, 0, 0.1)], 1, PLAIN, {}).per_s == 0.0


def test_ratios_to_the_plain_loop_are_computed_within_rounds():
    found = [
        Throughput(1, RESPONDER, 50, 1.0, 1.0, {}),
        Throughput(1, PLAIN, 100, 1.0, 1.0, {}),
        Throughput(2, RESPONDER, 50, 4.0, 1.0, {}),
        Throughput(2, PLAIN, 100, 2.0, 1.0, {}),
    ]

    assert ratios(found) == [0.5, 0.25]
    assert list(table(found))[-1] == "responder/plain: 0.38 (0.25..0.50)"
