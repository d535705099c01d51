"""Latencies of the floors have to be counted as wrk counts its own."""

import pytest

from tools.bench.load.latencies import PERCENTILES, as_wrk_corrects, distribution, percentile


def as_wrk_does(latencies, expected):
    """Return what stats_correct() of wrk makes of whole numbers."""
    data = dict.fromkeys(range(max(latencies) + 1), 0)
    for latency in latencies:
        data[latency] += 1
    for n in range(expected * 2, max(latencies) + 1):
        count, m = data[n], n - expected
        while count and m > expected:
            data[m] += count
            m -= expected
    return [value for value in sorted(data) for _ in range(data[value])]


def test_about_forty_percentiles_in_order():
    assert 35 <= len(PERCENTILES) <= 45
    assert list(PERCENTILES) == sorted(set(PERCENTILES))
    assert {50, 90, 99} <= set(PERCENTILES)
    assert PERCENTILES[-1] < 100


@pytest.mark.parametrize(("percent", "value"), [(1, 2), (50, 51), (90, 91), (99, 100)])
def test_a_percentile_has_the_rank_of_wrk(percent, value):
    assert percentile(range(1, 101), percent) == value


def test_the_last_rank_is_the_last_value():
    assert percentile([6.0, 7.0], 100) == 7.0
    assert percentile([], 50) == 0.0


def test_short_latencies_are_left_alone():
    assert as_wrk_corrects([10, 19, 5], 10) == [5, 10, 19]
    assert as_wrk_corrects([3], 0) == [3]


@pytest.mark.parametrize(
    "latencies", [[10, 20, 21], [5, 35], [10, 100, 99], [29, 30, 31], [47, 8, 8, 23]]
)
def test_a_long_latency_stands_for_those_that_could_not_be_sent(latencies):
    found = as_wrk_corrects(latencies, 10)

    assert len(found) > len(latencies)
    assert found == as_wrk_does(latencies, 10)


def test_a_distribution_takes_the_mean_for_expected():
    # 2 at a time, 10 in 5 s: one a second each; the one of 4 s held up those of 3 and 2 s.
    found = dict(distribution([0.5] * 9 + [4.0], 2, 5.0))

    assert set(found) == set(PERCENTILES)
    assert (found[50], found[80], found[90], found[99]) == (0.5, 2.0, 3.0, 4.0)


def test_a_distribution_of_nothing_is_there_too():
    assert dict(distribution([], 4, 1.0))[99] == 0.0
