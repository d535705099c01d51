"""Memory growth under large bodies, computed from samples."""

import pytest

from tools.bench.experiments.memory_growth import CASE, MemoryRun, Sample, failures, kb_per_minute
from tools.bench.measure.result import Load

MB = 1_000_000
LOAD = Load(600, 60.0, [])


def samples_of(rss_bytes, count=31):
    return [Sample(20.0 * n, {"web-1": int(rss_bytes(n / 3))}) for n in range(count)]


def test_growth_is_in_kilobytes_per_minute():
    assert kb_per_minute(samples_of(lambda minute: 50 * MB + 0.5 * MB * minute)) == {
        "web-1": pytest.approx(500)
    }


def test_growth_during_the_warm_up_does_not_count():
    warming = samples_of(lambda minute: 50 * MB + 20 * MB * min(minute, 2))

    assert kb_per_minute(warming)["web-1"] == pytest.approx(0)
    assert kb_per_minute(warming, warm_up_share=0.0)["web-1"] > 100


def test_growth_above_a_megabyte_per_minute_is_a_failure():
    assert list(failures(MemoryRun(samples_of(lambda minute: 0.9 * MB * minute), LOAD))) == []
    (failure,) = failures(MemoryRun(samples_of(lambda minute: 1.1 * MB * minute), LOAD))

    assert failure == "web-1 grows by 1100 kB per minute"


@pytest.mark.parametrize("samples", [[], samples_of(lambda minute: MB, count=1)])
def test_too_few_samples_are_a_failure(samples):
    assert list(failures(MemoryRun(samples, LOAD))) == ["too few samples; run for longer"]


def test_failed_requests_are_a_failure():
    run = MemoryRun(samples_of(lambda minute: MB), Load(600, 60.0, [], not_2xx=2, failed=1))

    assert list(failures(run)) == ["3 requests failed"]


def test_megabytes_per_second_follow_from_requests_and_body_size():
    assert MemoryRun([], LOAD).mb_per_s == pytest.approx(10 * CASE.body_bytes / 1e6)
