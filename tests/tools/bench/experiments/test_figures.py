"""What the smaller benchmarks make of what they sampled."""

import pytest

from tests.tools.bench.report.test_summary import result
from tools.bench.cases import Case
from tools.bench.experiments.memory_growth import CASE, Sample, Watched, kb_per_minute
from tools.bench.experiments.replies_process import Carried, carried, ratios
from tools.bench.experiments.replies_process import Sample as Keys
from tools.bench.experiments.waiters import Stretch, shares_of, waiting_share
from tools.bench.measure.result import Load
from tools.bench.report.plots import over_rounds, plot_all, tail_place
from tools.bench.report.progress import Progress, shown
from tools.bench.report.summary import Spread

MB = 1_000_000
LOAD = Load(600, 60.0, [])
MACHINE = dict.fromkeys(("cpu", "cores", "memory_gb", "kernel", "python", "kafka", "redis"), "x")


def held(rss, count=31):
    return [Sample(20.0 * n, {"web-1": int(rss(n / 3))}) for n in range(count)]


def stretch(load, web, number=1, subject="ours"):
    return Stretch(subject, load, number, 200.0, {"web": web}, {"mget": 50.0, "set": 200.0})


def test_waiting_costs_what_many_cost_more_than_few():
    assert waiting_share(stretch("few", 0.10), stretch("many", 0.14)) == pytest.approx(0.04)


def test_waiting_is_compared_within_a_round():
    loads = [("few", 0.1, 1), ("many", 0.2, 1), ("few", 0.3, 2), ("many", 0.5, 2)]
    stretches = [stretch(load, web, number) for load, web, number in loads]

    assert shares_of("ours", stretches) == pytest.approx([0.1, 0.2])
    assert shares_of("naive", stretches) == []


def test_what_is_stored_is_not_of_web():
    assert (stretch("few", 0.1).redis_per_s, stretch("few", 0.1).web_redis_per_s) == (250, 50)


def test_the_rate_is_that_from_the_first_stored_to_the_last():
    samples = [Keys(0.0, 0, 0.4), Keys(1.0, 5, 0.5), Keys(2.0, 105, 0.6), Keys(4.0, 2105, 1.6)]

    found = carried(samples, 3, other_keys=5)

    assert found == Carried(3, "replies", 2_000, 2.0, 1.0)
    assert (found.per_s, found.cpu_us) == (1_000, 500)


def test_time_after_the_last_does_not_count():
    samples = [Keys(1.0, 100, 0.0), Keys(2.0, 200, 1.0), Keys(9.0, 200, 1.5)]

    assert carried(samples, 1).duration_s == 1.0


def test_nothing_stored_is_no_rate():
    assert carried([Keys(0.0, 0, 0.0), Keys(1.0, 5, 0.1)], 1).per_s == 0.0


def test_replies_are_compared_with_their_floor_round_by_round():
    found = [
        Carried(1, "floor", 100, 1.0, 1.0),
        Carried(1, "replies", 50, 1.0, 1.0),
        Carried(2, "floor", 100, 2.0, 1.0),
        Carried(2, "replies", 50, 4.0, 1.0),
    ]

    assert ratios(found) == [0.5, 0.25]


def test_growth_is_told_in_kilobytes_a_minute():
    assert kb_per_minute(held(lambda minute: 50 * MB + 0.5 * MB * minute)) == {
        "web-1": pytest.approx(500)
    }


def test_growth_while_warming_up_is_none():
    warming = held(lambda minute: 50 * MB + 20 * MB * min(minute, 2))

    assert kb_per_minute(warming)["web-1"] == pytest.approx(0)
    assert kb_per_minute(warming, warm_up_share=0.0)["web-1"] > 100


def test_a_megabyte_a_minute_is_too_much():
    assert list(Watched(held(lambda minute: 0.9 * MB * minute), LOAD).failures()) == []
    (failure,) = Watched(held(lambda minute: 1.1 * MB * minute), LOAD).failures()

    assert failure == "web-1 grows by 1100 kB a minute"


@pytest.mark.parametrize("samples", [[], held(lambda minute: MB, count=1)])
def test_nothing_to_compare_is_a_failure(samples):
    assert list(Watched(samples, LOAD).failures()) == [
        "there is nothing to compare: run it for longer"
    ]


def test_a_request_that_was_not_answered_is_a_failure():
    watched = Watched(held(lambda minute: MB), Load(600, 60.0, [], not_2xx=2, failed=1))

    assert list(watched.failures()) == ["3 requests were not answered well"]


def test_bodies_make_the_megabytes():
    assert Watched([], LOAD).mb_per_s == pytest.approx(10 * CASE.body_bytes / 1e6)


def test_the_time_left_follows_the_pace_so_far():
    clock = iter([100.0, 100.0, 120.0, 160.0])
    progress = Progress(60, lambda: next(clock))

    assert progress.left_s() == 60
    progress.done(10)
    assert progress.left_s() == 100  # twice as slow as planned
    progress.done(50)
    assert progress.left_s() == 0


def test_time_is_shown_for_people():
    assert (shown(59.4).strip(), shown(90).strip()) == ("59 s", "1.5 min")


def test_each_nine_has_the_same_room():
    assert [tail_place(p) for p in (90, 99, 99.9)] == pytest.approx([1, 2, 3])


def test_a_figure_of_nobody_is_none():
    found = [result(number=1, requests=100), result(number=2, requests=300)]

    assert over_rounds(found, "ours", "c64", lambda r: r.per_s) == Spread(100, 50, 150)
    assert over_rounds(found, "naive", "c64", lambda r: r.per_s) is None


def test_plots_are_drawn_of_what_there_is(tmp_path):
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


def test_what_there_is_nothing_of_is_not_drawn(tmp_path):
    results = [result(case=Case("500kB", 16, 500_000)), result(case=Case("1s", 200, delay_s=1.0))]

    files = plot_all(results, MACHINE, tmp_path)

    assert [file.name for file in files] == ["bench-redis.svg"]
