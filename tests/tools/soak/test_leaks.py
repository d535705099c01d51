"""Which growth is a failure."""

import pytest

from tools.devstack.process.procfs import Usage
from tools.soak.leaks import Leaks, Sample

MB = 1_000_000


def samples(rss=lambda minute: 50 * MB, threads=lambda minute: 10, fds=lambda minute: 20):
    """Return a sample for each of 30 minutes."""
    return [
        Sample(60.0 * n, {"replies-0": Usage(int(rss(n)), threads(n), fds(n))}, 5, 1_000)
        for n in range(31)
    ]


def failures(*given, keys_left=0, **grow):
    found = Leaks(given[0] if given else samples(**grow), 180.0, keys_left)
    return list(found.failures())


def test_constant_usage_passes():
    assert failures() == []


def test_memory_growth_above_a_megabyte_per_minute_is_a_failure():
    assert failures(rss=lambda minute: 50 * MB + 0.9 * MB * minute) == []
    (failure,) = failures(rss=lambda minute: 50 * MB + 1.1 * MB * minute)
    assert failure == "replies-0: memory grows by 1.10 MB per minute"


def test_growth_during_the_warm_up_does_not_count():
    assert failures(rss=lambda minute: 50 * MB + 20 * MB * min(minute, 3)) == []


@pytest.mark.parametrize(
    ("resource", "failure"), [("threads", "5 more threads"), ("fds", "5 more file descriptors")]
)
def test_growing_threads_or_descriptors_are_a_failure(resource, failure):
    (found,) = failures(**{resource: lambda minute: 10 + 5 * (minute > 15)})

    assert failure in found


def test_varying_threads_and_descriptors_pass():
    assert failures(threads=lambda minute: 10 + 6 * (minute % 2)) == []


def test_keys_that_do_not_expire_are_a_failure():
    (failure,) = failures(keys_left=3)

    assert failure == "Redis: 3 keys are left after the last expiry"


def test_an_incorrect_response_is_a_failure():
    assert list(Leaks(samples(), 180.0, 0, ["LOST: request 1"]).failures()) == ["LOST: request 1"]


def test_a_process_that_did_not_run_all_the_time_is_a_failure():
    rows = samples()
    rows[10].usage.clear()

    assert "replies-0: did not run all the time" in failures(rows)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_samples_are_a_failure(count):
    after_the_warm_up = samples()[10 : 10 + count]

    assert failures(after_the_warm_up) == ["too few samples; run for longer"]
