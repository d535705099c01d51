"""The undisturbed rate and the recoveries, computed from times of responses."""

import pytest

from tools.soak.judge.recovery import Recovery, per_second, recoveries, undisturbed_rate
from tools.soak.judge.windows import Windows
from tools.soak.records import InjectedFault

RATE = 100


def fault(at_s, healed_s, limit_s=10.0):
    return InjectedFault("pause kafka", 0, at_s, healed_s, limit_s, False)


def responses(*intervals, per_s=RATE):
    """Return times of *per_s* responses a second in each of *intervals*."""
    return [
        from_s + n / per_s
        for from_s, to_s in intervals
        for n in range(round((to_s - from_s) * per_s))
    ]


def recovery_s(moments, *faults, end_s=60.0):
    return [r.took_s for r in recoveries(moments, end_s, Windows(faults), RATE)]


def test_responses_are_counted_by_whole_seconds():
    assert per_second([0.0, 0.5, 1.0, 2.9, 3.0], 0.0, 3.5) == [2, 1, 1]


def test_the_undisturbed_rate_excludes_fault_windows():
    moments = responses((0, 20), (35, 60))

    assert undisturbed_rate(moments, 0, 60, Windows([fault(20, 25)])) == RATE
    assert undisturbed_rate(moments, 0, 60, Windows([fault(0, 55)])) == 0.0


def test_the_undisturbed_rate_is_a_median():
    moments = sorted(responses((0, 50)) + responses((3, 5), per_s=1_000))

    assert undisturbed_rate(moments, 0, 50, Windows([])) == RATE


def test_a_fault_without_effect_has_no_recovery_time():
    assert recovery_s(responses((0, 60)), fault(20, 22)) == [0.0]


def test_without_faults_there_are_no_recoveries():
    assert recovery_s(responses((0, 60))) == []


@pytest.mark.parametrize("outage_s", [1.0, 4.0, 9.0])
def test_recovery_is_measured_from_healing(outage_s):
    moments = responses((0, 20), (25 + outage_s, 60))

    (took_s,) = recovery_s(moments, fault(20, 25))

    # 90 % over two seconds are reached 0.2 s before full throughput.
    assert took_s == pytest.approx(outage_s - 0.2, abs=0.11)


def test_eighty_per_cent_of_the_rate_is_no_recovery():
    moments = responses((0, 20)) + responses((20, 60), per_s=80)

    assert recovery_s(moments, fault(20, 25)) == [None]


def test_a_short_burst_is_no_recovery():
    moments = sorted(responses((0, 20), (32, 60)) + [25.5 + n / 1_000 for n in range(150)])

    (took_s,) = recovery_s(moments, fault(20, 25))

    assert took_s > 5


def test_recovery_must_precede_the_next_fault():
    moments = responses((0, 20), (41, 60))

    assert recovery_s(moments, fault(20, 25), fault(40, 40))[0] is None
    assert recovery_s(moments, fault(20, 25), fault(40, 40))[1] is not None


def test_recovery_must_precede_the_end():
    assert recovery_s(responses((0, 20)), fault(20, 25)) == [None]


def test_each_fault_has_its_own_limit():
    assert Recovery(fault(20, 25, limit_s=3.0), 3.0).in_time
    assert not Recovery(fault(20, 25, limit_s=3.0), 3.1).in_time
    assert not Recovery(fault(20, 25), None).in_time
