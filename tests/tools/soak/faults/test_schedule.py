"""Which faults a seed gives."""

from collections import Counter
from itertools import pairwise

import pytest

from tools.soak.faults.schedule import KINDS, LAST_S, QUIET_S, schedule
from tools.soak.judge.recovery import SPAN_S
from tools.soak.report.plots import COLOURS

SEEDS = range(1, 30)


def test_a_schedule_follows_from_its_seed():
    assert schedule(5, 10) == schedule(5, 10)
    assert schedule(5, 10) != schedule(6, 10)


def test_a_longer_run_begins_as_a_shorter_one():
    short = schedule(5, 3)

    assert schedule(5, 10)[: len(short)] == short


@pytest.mark.parametrize("seed", SEEDS)
def test_ten_minutes_hold_forty_faults_of_all_kinds(seed):
    faults = schedule(seed, 10)

    assert len(faults) >= 40
    assert {fault.kind for fault in faults} == set(KINDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_kind_comes_twice_more_than_any_other(seed):
    counts = Counter(fault.kind for fault in schedule(seed, 10))

    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_do_not_overlap_and_leave_time_to_see_the_recovery(seed):
    for fault, following in pairwise(schedule(seed, 10)):
        spare_s = following.at_s - (fault.at_s + fault.lasts_s + fault.kind.recovery_limit_s)
        assert SPAN_S < spare_s <= 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("minutes", [1, 2.5, 10])
def test_the_load_begins_and_ends_in_peace(seed, minutes):
    faults = schedule(seed, minutes)

    assert faults[0].at_s == QUIET_S
    assert faults[-1].at_s + LAST_S <= minutes * 60


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_last_as_long_as_their_kind_says_and_hit_both_replicas(seed):
    faults = schedule(seed, 10)

    assert all(f.kind.lasts_s[0] <= f.lasts_s <= f.kind.lasts_s[1] for f in faults)
    assert {fault.replica for fault in faults} == {0, 1}


def test_redis_has_to_be_got_over_sooner():
    assert {kind.recovery_limit_s for kind in KINDS if kind.target == "redis"} == {3.0}
    assert {kind.recovery_limit_s for kind in KINDS if kind.target != "redis"} == {10.0}


def test_only_faults_of_gateways_excuse_broken_connections():
    breaking = {kind.name for kind in KINDS if kind.breaks_connections}

    assert breaking == {"kill worker", "restart gateway"}


def test_every_target_has_a_colour_in_the_plot():
    assert {kind.target for kind in KINDS} == set(COLOURS)


def test_a_run_too_short_for_faults_has_none():
    assert schedule(1, 0.5) == []
