"""How the undisturbed rate and the recoveries follow from the moments of good answers."""

import pytest

from tools.soak.judge.recovery import Recovery, per_second, recoveries, undisturbed_rate
from tools.soak.judge.windows import Windows
from tools.soak.records import Happened

RATE = 100


def fault(at_s, healed_s, limit_s=10.0):
    return Happened("pause kafka", 0, at_s, healed_s, limit_s, False)


def answers(*stretches, per_s=RATE):
    """Return moments, *per_s* each second, from and to given seconds."""
    return [
        from_s + n / per_s
        for from_s, to_s in stretches
        for n in range(round((to_s - from_s) * per_s))
    ]


def recovery_s(moments, *faults, end_s=60.0):
    return [r.took_s for r in recoveries(moments, end_s, Windows(faults), RATE)]


def test_answers_are_counted_by_whole_seconds():
    assert per_second([0.0, 0.5, 1.0, 2.9, 3.0], 0.0, 3.5) == [2, 1, 1]


def test_the_undisturbed_rate_leaves_out_the_windows():
    moments = answers((0, 20), (35, 60))

    assert undisturbed_rate(moments, 0, 60, Windows([fault(20, 25)])) == RATE
    assert undisturbed_rate(moments, 0, 60, Windows([fault(0, 55)])) == 0.0


def test_the_undisturbed_rate_is_a_median():
    moments = sorted(answers((0, 50)) + answers((3, 5), per_s=1_000))

    assert undisturbed_rate(moments, 0, 50, Windows([])) == RATE


def test_a_fault_that_nobody_felt_took_no_time():
    assert recovery_s(answers((0, 60)), fault(20, 22)) == [0.0]


def test_without_faults_there_is_nothing_to_recover_from():
    assert recovery_s(answers((0, 60))) == []


@pytest.mark.parametrize("silence_s", [1.0, 4.0, 9.0])
def test_recovery_counts_from_healing(silence_s):
    moments = answers((0, 20), (25 + silence_s, 60))

    (took_s,) = recovery_s(moments, fault(20, 25))

    # A share of 90 % over two seconds is reached 0.2 s before all is well.
    assert took_s == pytest.approx(silence_s - 0.2, abs=0.11)


def test_eighty_per_cent_are_not_enough():
    moments = answers((0, 20)) + answers((20, 60), per_s=80)

    assert recovery_s(moments, fault(20, 25)) == [None]


def test_a_short_burst_is_no_recovery():
    moments = sorted(answers((0, 20), (32, 60)) + [25.5 + n / 1_000 for n in range(150)])

    (took_s,) = recovery_s(moments, fault(20, 25))

    assert took_s > 5


def test_recovery_has_to_come_before_the_next_fault():
    moments = answers((0, 20), (41, 60))

    assert recovery_s(moments, fault(20, 25), fault(40, 40))[0] is None
    assert recovery_s(moments, fault(20, 25), fault(40, 40))[1] is not None


def test_recovery_has_to_come_before_the_end():
    assert recovery_s(answers((0, 20)), fault(20, 25)) == [None]


def test_the_limit_is_that_of_the_fault():
    assert Recovery(fault(20, 25, limit_s=3.0), 3.0).in_time
    assert not Recovery(fault(20, 25, limit_s=3.0), 3.1).in_time
    assert not Recovery(fault(20, 25), None).in_time
