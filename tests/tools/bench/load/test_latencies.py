"""Latencies of floors are counted as wrk counts its own."""

import pytest

from tools.bench.load.latencies import PERCENTILES, distribution, percentile, with_wrk_correction


def wrk_correction(latencies, expected):
    """Return what stats_correct() of wrk computes for whole numbers."""
    data = dict.fromkeys(range(max(latencies) + 1), 0)
    for latency in latencies:
        data[latency] += 1
    for n in range(expected * 2, max(latencies) + 1):
        count, m = data[n], n - expected
        while count and m > expected:
            data[m] += count
            m -= expected
    return [value for value in sorted(data) for _ in range(data[value])]


def test_there_are_about_forty_percentiles_in_order():
    assert 35 <= len(PERCENTILES) <= 45
    assert list(PERCENTILES) == sorted(set(PERCENTILES))
    assert {50, 90, 99} <= set(PERCENTILES)
    assert PERCENTILES[-1] < 100


@pytest.mark.parametrize(("percent", "value"), [(1, 2), (50, 51), (90, 91), (99, 100)])
def test_a_percentile_has_the_rank_that_wrk_uses(percent, value):
    assert percentile(range(1, 101), percent) == value


def test_the_last_percentile_is_the_maximum():
    assert percentile([6.0, 7.0], 100) == 7.0
    assert percentile([], 50) == 0.0


def test_short_latencies_are_not_corrected():
    assert with_wrk_correction([10, 19, 5], 10) == [5, 10, 19]
    assert with_wrk_correction([3], 0) == [3]


@pytest.mark.parametrize(
    "latencies", [[10, 20, 21], [5, 35], [10, 100, 99], [29, 30, 31], [47, 8, 8, 23]]
)
def test_a_long_latency_adds_those_of_requests_not_sent_meanwhile(latencies):
    found = with_wrk_correction(latencies, 10)

    assert len(found) > len(latencies)
    assert found == wrk_correction(latencies, 10)


def test_the_expected_latency_is_the_mean():
    # 2 connections, 10 responses in 5 s: one per second each; the one of 4 s adds 3 and 2 s.
    found = dict(distribution([0.5] * 9 + [4.0], 2, 5.0))

    assert set(found) == set(PERCENTILES)
    assert (found[50], found[80], found[90], found[99]) == (0.5, 2.0, 3.0, 4.0)


def test_the_distribution_of_no_latencies_is_zero():
    assert dict(distribution([], 4, 1.0))[99] == 0.0
