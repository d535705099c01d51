"""Statistics over the rounds of a benchmark."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tools.bench.cases import BASE, Case, cases_named
from tools.bench.load.latencies import PERCENTILES
from tools.bench.measure.result import Load, Result
from tools.bench.report.summary import Spread, plain, ratios, summarise

CASE = cases_named([BASE])[0]


def result(subject="ours", number=1, *, requests=100, latency_s=0.01, case=CASE, **changes):
    load = Load(requests, 2.0, [(percent, latency_s) for percent in PERCENTILES])
    given: dict[str, Any] = {
        "cpu_s": {"web": 0.5, "replies": 0.1},
        "redis_calls": {"mget": 60, "set": 100},
    }
    return Result(subject, case, number, load, **given | changes)


def rate(one):
    return one.per_s


def test_a_spread_has_median_minimum_and_maximum():
    assert Spread.of([3, 1, 10]) == Spread(3, 1, 10)
    assert f"{Spread(3.14, 1, 10):.1f}" == "3.1 (1.0..10.0)"


def test_ratios_are_computed_within_rounds():
    # The machine was twice as slow in round 2; a ratio of medians would give 150/100.
    results = [
        *(result("naive", number, requests=n) for number, n in ((1, 100), (2, 50), (3, 120))),
        *(result("ours", number, requests=n) for number, n in ((1, 200), (2, 150), (3, 120))),
    ]
    own = [one for one in results if one.subject == "ours"]

    assert ratios(own, results, "naive", rate) == Spread(2.0, 1.0, 3.0)


def test_ratios_compare_the_same_case_only():
    other = result("naive", case=Case("other"))

    assert ratios([result()], [other], "naive", rate) is None


def test_there_is_no_ratio_to_a_subject_without_responses():
    assert ratios([result()], [result("naive", requests=0)], "naive", rate) is None


def test_a_result_has_rates_and_costs_per_request():
    one = result()

    assert one.per_s == 50
    assert one.redis_commands == 160
    assert one.per_request(0.5) == pytest.approx(0.005)
    assert one.refused_share == 0
    assert result(requests=0).per_request(0.5) == 0


def test_responses_with_another_status_than_2xx_count_only_as_refused():
    one = replace(result(), load=replace(result().load, not_2xx=75))

    assert (one.per_s, one.refused_share) == (12.5, 0.75)
    assert one.per_request(0.5) == pytest.approx(0.02)


def test_memory_per_waiter_is_the_growth_divided_by_connections():
    one = result(rss_bytes={"idle": 10_000_000, "loaded": 16_400_000})

    assert one.memory_per_waiter_bytes == 100_000
    assert result().memory_per_waiter_bytes is None


def test_summaries_are_ordered_by_case():
    other = Case("other")
    results = [result(case=CASE), result(case=other), result("naive"), result("naive", case=other)]

    found = [(one.case, one.subject) for one in summarise(results)]

    assert found == [(BASE, "ours"), (BASE, "naive"), ("other", "ours"), ("other", "naive")]


def test_a_summary_combines_the_rounds():
    results = [
        result(number=1, latency_s=0.01),
        result(number=2, latency_s=0.03),
        result("floor", 1, latency_s=0.005, cpu_s={"floor": 0.2}),
        result("floor", 2, latency_s=0.01, cpu_s={"floor": 0.2}),
    ]
    ours = next(one for one in summarise(results) if one.subject == "ours")

    assert ours.p99_ms == Spread(20, 10, 30)
    assert ours.gateway_us == pytest.approx(6_000)
    assert ours.redis_per_request.median == pytest.approx(1.6)
    assert ours.ratios["p50/floor"] == Spread(2.5, 2, 3)
    assert "rate/naive" not in ours.ratios


def test_a_result_survives_json():
    one = result(rss_bytes={"idle": 1, "loaded": 2}, case=Case("x", 4, 5, 0.5, 1))

    assert Result.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_a_summary_can_be_written_as_json():
    (found,) = json.loads(json.dumps([plain(one) for one in summarise([result()])]))

    assert found["per_s"] == [50, 50, 50]
    assert found["cpu_us_per_request"]["web"] == [5_000, 5_000, 5_000]
