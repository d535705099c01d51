"""The estimate of the remaining time."""

from tools.bench.report.progress import Progress, readable


def test_the_remaining_time_follows_the_pace_so_far():
    clock = iter([100.0, 100.0, 120.0, 160.0])
    progress = Progress(60, lambda: next(clock))

    assert progress.left_s() == 60
    progress.done(10)
    assert progress.left_s() == 100  # twice as slow as planned
    progress.done(50)
    assert progress.left_s() == 0


def test_times_from_a_minute_on_are_shown_in_minutes():
    assert (readable(59.4).strip(), readable(90).strip()) == ("59 s", "1.5 min")
