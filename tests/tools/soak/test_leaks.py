"""What counts as growing."""

import pytest

from tools.devstack.process.procfs import Usage
from tools.soak.leaks import Leaks, Sample, slope

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


def test_what_stays_is_fine():
    assert failures() == []


def test_memory_may_grow_by_less_than_a_megabyte_a_minute():
    assert failures(rss=lambda minute: 50 * MB + 0.9 * MB * minute) == []
    (failure,) = failures(rss=lambda minute: 50 * MB + 1.1 * MB * minute)
    assert failure == "replies-0: its memory grows by 1.10 MB a minute"


def test_growth_while_warming_up_is_none():
    assert failures(rss=lambda minute: 50 * MB + 20 * MB * min(minute, 3)) == []


@pytest.mark.parametrize(
    ("what", "said"), [("threads", "5 threads more"), ("fds", "5 file descriptors more")]
)
def test_threads_and_descriptors_may_not_grow(what, said):
    (failure,) = failures(**{what: lambda minute: 10 + 5 * (minute > 15)})

    assert said in failure


def test_threads_and_descriptors_may_come_and_go():
    assert failures(threads=lambda minute: 10 + 6 * (minute % 2)) == []


def test_keys_that_do_not_expire_are_a_failure():
    (failure,) = failures(keys_left=3)

    assert failure == "Redis: 3 keys are left after the last has expired"


def test_an_answer_that_was_not_right_is_a_failure():
    assert list(Leaks(samples(), 180.0, 0, ["LOST: request 1"]).failures()) == ["LOST: request 1"]


def test_a_process_that_was_replaced_is_a_failure():
    rows = samples()
    rows[10].usage.clear()

    assert "replies-0: it was not there all the time" in failures(rows)


def test_nothing_to_compare_is_a_failure():
    assert failures([]) == ["there is nothing to compare: run it for longer"]


def test_the_slope_is_that_of_the_best_line():
    assert slope([0, 1, 2, 3], [1, 3, 5, 7]) == pytest.approx(2)
    assert slope([1], [5]) == 0
