"""The schedule of faults of a seed."""

from collections import Counter
from itertools import pairwise

import pytest

from tools.soak.faults.schedule import KINDS, LEAD_S, TAIL_S, kinds_of, schedule
from tools.soak.judge.recovery import RATE_WINDOW_S
from tools.soak.report.plots import COLOURS

SEEDS = range(1, 30)


def test_a_seed_determines_the_schedule():
    assert schedule(5, 10) == schedule(5, 10)
    assert schedule(5, 10) != schedule(6, 10)


def test_a_longer_run_starts_with_the_same_faults():
    short = schedule(5, 3)

    assert schedule(5, 10)[: len(short)] == short


@pytest.mark.parametrize("seed", SEEDS)
def test_ten_minutes_have_forty_faults_of_all_kinds(seed):
    faults = schedule(seed, 10)

    assert len(faults) >= 40
    assert {fault.kind for fault in faults} == set(KINDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_occur_equally_often_up_to_one(seed):
    counts = Counter(fault.kind for fault in schedule(seed, 10))

    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_do_not_overlap_and_leave_time_to_see_the_recovery(seed):
    for fault, following in pairwise(schedule(seed, 10)):
        spare_s = following.at_s - (fault.at_s + fault.lasts_s + fault.kind.recovery_limit_s)
        assert RATE_WINDOW_S < spare_s <= 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("minutes", [1, 2.5, 10])
def test_the_load_starts_and_ends_without_faults(seed, minutes):
    faults = schedule(seed, minutes)

    assert faults[0].at_s == LEAD_S
    assert faults[-1].at_s + TAIL_S <= minutes * 60


@pytest.mark.parametrize("seed", SEEDS)
def test_durations_are_in_range_and_both_replicas_are_hit(seed):
    faults = schedule(seed, 10)

    assert all(f.kind.lasts_s[0] <= f.lasts_s <= f.kind.lasts_s[1] for f in faults)
    assert {fault.replica for fault in faults} == {0, 1}


def test_faults_of_redis_have_a_shorter_recovery_limit():
    assert {kind.recovery_limit_s for kind in KINDS if kind.target == "redis"} == {3.0}
    assert {kind.recovery_limit_s for kind in KINDS if kind.target == "primary"} == {5.0}
    special = ("redis", "primary", "topic")
    others = {kind.recovery_limit_s for kind in KINDS if kind.target not in special}
    assert others == {10.0}


def test_only_faults_of_gateways_may_break_connections():
    breaking = {kind.name for kind in KINDS if kind.breaks_connections}

    assert breaking == {"kill worker", "restart gateway"}


def test_every_target_has_a_colour():
    assert {kind.target for kind in KINDS} == set(COLOURS)


@pytest.mark.parametrize(
    ("kafka", "delivery", "redis", "left_out"),
    [
        ("apache", "direct", "single", {"primary"}),
        ("apache", "store", "cluster", {"redis"}),
        ("embedded", "direct", "sentinel", {"partitions", "topic", "redis"}),
        ("apache", "no-redis", "single", {"redis", "primary", "replies"}),
    ],
)
def test_a_deployment_has_no_faults_of_what_it_has_not(kafka, delivery, redis, left_out):
    kinds = kinds_of(kafka, delivery, redis)

    assert {kind.target for kind in KINDS} - {kind.target for kind in kinds} == left_out
    assert {fault.kind for fault in schedule(1, 10, kinds)} == set(kinds)


def test_a_run_too_short_for_faults_has_none():
    assert schedule(1, 0.5) == []
