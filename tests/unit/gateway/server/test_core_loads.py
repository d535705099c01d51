"""The busy shares of cores are those of /proc/stat."""

import time

import pytest

from gateway.server.core_loads import STAT, CoreLoads

FIRST = """cpu  300 0 100 1600 0 0 0 0 0 0
cpu0 100 0 50 800 50 0 0 0 0 0
cpu2 200 0 50 700 50 0 0 0 0 0
intr 1 2 3
"""
#: Later: 30 ticks of each kind for core 0; core 2 went offline, and core 3 online.
SECOND = """cpu  500 0 100 1800 0 0 0 0 0 0
cpu0 130 30 80 830 80 30 30 30 30 30
cpu3 10 0 0 10 0 0 0 0 0 0
intr 1 2 3
"""


@pytest.fixture
def stat(tmp_path):
    return tmp_path / "stat"


def test_all_but_idle_time_waiting_for_disks_and_other_machines_is_busy(stat):
    loads = CoreLoads(stat)
    stat.write_text(FIRST)
    assert loads.busy() == {}
    stat.write_text(SECOND)
    assert loads.busy() == {0: pytest.approx(5 / 8)}


def test_a_core_without_new_ticks_is_left_out(stat):
    loads = CoreLoads(stat)
    stat.write_text(FIRST)
    loads.busy()
    assert loads.busy() == {}


@pytest.mark.parametrize("text", [None, "", "intr 1\n\n"])
def test_a_system_that_does_not_count_has_no_loads(stat, text):
    if text is not None:
        stat.write_text(text)
    loads = CoreLoads(stat)
    assert loads.busy() == loads.busy() == {}


@pytest.mark.skipif(not STAT.exists(), reason="needs Linux")
def test_the_cores_of_this_machine_are_counted():
    loads = CoreLoads()
    loads.busy()
    until_s = time.monotonic() + 0.1
    while time.monotonic() < until_s:
        pass
    busy = loads.busy()
    assert all(0 <= share <= 1 for share in busy.values())
    assert not busy or max(busy.values()) > 0  # some systems count nothing
