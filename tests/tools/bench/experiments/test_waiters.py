"""The cost of waiters, computed from two loads."""

import pytest

from tools.bench.experiments.waiters import Interval, waiter_cost, waiter_costs


def interval(load, web, number=1, subject="ours"):
    return Interval(subject, load, number, 200.0, {"web": web}, {"mget": 50.0, "set": 200.0})


def test_the_cost_is_the_extra_cpu_of_many_waiters():
    assert waiter_cost(interval("few", 0.10), interval("many", 0.14)) == pytest.approx(0.04)


def test_costs_are_computed_within_rounds():
    loads = [("few", 0.1, 1), ("many", 0.2, 1), ("few", 0.3, 2), ("many", 0.5, 2)]
    intervals = [interval(load, web, number) for load, web, number in loads]

    assert waiter_costs("ours", intervals) == pytest.approx([0.1, 0.2])
    assert waiter_costs("naive", intervals) == []


def test_set_commands_do_not_count_as_those_of_web():
    assert (interval("few", 0.1).redis_per_s, interval("few", 0.1).web_redis_per_s) == (250, 50)
