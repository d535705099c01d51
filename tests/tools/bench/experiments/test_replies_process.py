"""The throughput of the replies process, computed from samples of Redis."""

from tools.bench.experiments.replies_process import Sample, Throughput, ratios, throughput


def test_the_rate_is_measured_from_the_first_to_the_last_stored_reply():
    samples = [
        Sample(0.0, 0, 0.4),
        Sample(1.0, 5, 0.5),
        Sample(2.0, 105, 0.6),
        Sample(4.0, 2105, 1.6),
    ]

    found = throughput(samples, 3, heartbeat_keys=5)

    assert found == Throughput(3, "replies", 2_000, 2.0, 1.0)
    assert (found.per_s, found.cpu_us) == (1_000, 500)


def test_time_after_the_last_stored_reply_does_not_count():
    samples = [Sample(1.0, 100, 0.0), Sample(2.0, 200, 1.0), Sample(9.0, 200, 1.5)]

    assert throughput(samples, 1).duration_s == 1.0


def test_the_rate_is_zero_when_nothing_was_stored():
    assert throughput([Sample(0.0, 0, 0.0), Sample(1.0, 5, 0.1)], 1).per_s == 0.0


def test_ratios_to_the_floor_are_computed_within_rounds():
    found = [
        Throughput(1, "floor", 100, 1.0, 1.0),
        Throughput(1, "replies", 50, 1.0, 1.0),
        Throughput(2, "floor", 100, 2.0, 1.0),
        Throughput(2, "replies", 50, 4.0, 1.0),
    ]

    assert ratios(found) == [0.5, 0.25]
