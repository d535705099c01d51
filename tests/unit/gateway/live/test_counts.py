"""Counts of responses: from the histogram, within windows, and quantiles."""

from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, Histogram

from gateway.live.counts import RouteCounts, Windows, counts_of, difference
from gateway.metrics import SECONDS

LABELS = ("http_route", "http_request_method", "http_response_status_code", "error_type")


@pytest.fixture
def histogram():
    return Histogram("d_seconds", "", LABELS, buckets=SECONDS, registry=CollectorRegistry())


def test_the_responses_of_a_route_are_counted_over_all_statuses(histogram):
    for status, duration_s in (("200", 0.03), ("200", 0.03), ("404", 0.2), ("503", 3.0)):
        histogram.labels("/orders", "POST", status, "").observe(duration_s)
    histogram.labels("unmatched", "GET", "404", "").observe(0.001)

    counts = counts_of(histogram)

    assert set(counts) == {"POST /orders"}
    assert (counts["POST /orders"].finished, counts["POST /orders"].failed) == (4, 1)
    assert counts["POST /orders"].buckets == {"0.05": 2, "0.25": 1, "5.0": 1}


def test_quantiles_are_interpolated_within_the_buckets_of_the_histogram():
    counts = RouteCounts(4, 0, Counter({"0.25": 4}))

    # From 0.1 s, where the bucket begins, though no smaller one has a response.
    assert counts.quantile_s(0.5) == pytest.approx(0.175)
    assert counts.quantile_s(1.0) == pytest.approx(0.25)
    assert RouteCounts().quantile_s(0.5) is None
    # Of longer ones only the last bound is known.
    assert RouteCounts(1, 0, Counter({"+Inf": 1})).quantile_s(0.5) == SECONDS[-1]


def test_what_was_counted_before_is_subtracted_and_idle_routes_are_left_out():
    earlier = {"a": RouteCounts(3, 1, Counter({"0.1": 3})), "b": RouteCounts(1)}
    later = {"a": RouteCounts(5, 1, Counter({"0.1": 4, "0.5": 1})), "b": RouteCounts(1)}

    assert difference(later, earlier) == {"a": RouteCounts(2, 0, Counter({"0.1": 1, "0.5": 1}))}


def test_a_window_has_the_last_seconds_only():
    now_s, finished = [0.0], [0]
    windows = Windows(lambda: {"a": RouteCounts(finished[0])}, 10.0, lambda: now_s[0])
    for second in range(30):
        now_s[0], finished[0] = float(second), second * second
        windows.take()

    assert windows.within(3) == ({"a": RouteCounts(29**2 - 26**2)}, 3)
    assert windows.within(10) == ({"a": RouteCounts(29**2 - 19**2)}, 10)
    assert len(windows._readings) <= 12


def test_a_window_before_the_start_is_as_long_as_the_process_runs():
    windows = Windows(lambda: {"a": RouteCounts(7)}, 10.0, lambda: 5.0)
    windows.take()

    assert windows.within(10) == ({}, 0.0)


@pytest.mark.parametrize("value", [None, [], [1, 2], "abc", [1, "x", {}], [1, 2, []], {"a": 1}])
def test_what_another_release_wrote_otherwise_counts_nothing(value):
    assert RouteCounts.from_json(value) == RouteCounts()


def test_counts_survive_json():
    counts = RouteCounts(5, 1, Counter({"0.1": 4, "+Inf": 1}))

    assert RouteCounts.from_json(counts.to_json()) == counts
