"""The comparison of counters with the oracle: what is a difference."""

from prometheus_client.samples import Sample

from tools.soak.metrics.comparison import Comparison, Row
from tools.soak.metrics.scrape import sums


def row(oracle, scraped, prometheus):
    return Row("gateway", "rendezvous_outcomes_total", "reply", oracle, scraped, prometheus)


def test_all_that_know_a_figure_must_agree():
    equal = [row(3, 3, 3), row(3, 3, None), row(None, 3, 3)]
    different = [row(3, 4, 4), row(3, 3, 2), row(None, 3, 4)]
    failures = list(Comparison(equal + different, ["another"]).failures())

    assert [failure.startswith("DIFFERENT") for failure in failures] == [True] * 3 + [False]
    assert [one.is_equal for one in equal] == [True] * 3


def test_a_counter_that_only_the_oracle_or_only_the_process_has_is_a_difference():
    assert not row(0, 1, 1).is_equal
    assert not row(1, 0, 0).is_equal


def test_the_samples_of_several_processes_are_added_up():
    labels = {"route": "/a", "outcome": "reply"}
    samples = [Sample("n", labels, 2), Sample("n", labels, 3)]
    samples += [Sample("n", labels | {"route": "/b"}, 5), Sample("m", labels, 7)]

    assert sums(samples, "n", "outcome", route="/a") == {"reply": 5}
