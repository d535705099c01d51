"""Plots of results."""

import pytest

from tests.tools.bench.report.test_summary import result
from tools.bench.cases import Case
from tools.bench.report.plots import over_rounds, plot_all, tail_position
from tools.bench.report.summary import Spread

MACHINE = dict.fromkeys(("cpu", "cores", "memory_gb", "kernel", "python", "kafka", "redis"), "x")


def test_each_further_nine_takes_the_same_room():
    assert [tail_position(p) for p in (90, 99, 99.9)] == pytest.approx([1, 2, 3])


def test_a_subject_without_results_has_no_spread():
    found = [result(number=1, requests=100), result(number=2, requests=300)]

    assert over_rounds(found, "ours", "c64", lambda r: r.per_s) == Spread(100, 50, 150)
    assert over_rounds(found, "naive", "c64", lambda r: r.per_s) is None


def test_the_same_results_give_the_same_plots(tmp_path):
    results = [result("naive"), result("ours"), result("floor", cpu_s={"floor": 0.1})]

    files = plot_all(results, MACHINE, tmp_path)

    assert [file.name for file in files] == [
        "bench-latency.svg",
        "bench-throughput.svg",
        "bench-cpu.svg",
        "bench-redis.svg",
    ]
    assert "floor" in files[0].read_text()
    assert files[0].read_text() == plot_all(results, MACHINE, tmp_path)[0].read_text()


def test_plots_without_results_are_not_drawn(tmp_path):
    results = [result(case=Case("500kB", 16, 500_000)), result(case=Case("1s", 200, delay_s=1.0))]

    files = plot_all(results, MACHINE, tmp_path)

    assert [file.name for file in files] == ["bench-redis.svg"]


def test_subjects_as_shipped_have_a_plot_of_their_own(tmp_path):
    files = plot_all([result("shipped"), result("textbook"), result("ours")], MACHINE, tmp_path)

    assert files[0].name == "bench-shipped.svg"
    assert "textbook" in files[0].read_text()
    assert "textbook" not in files[1].read_text()
