"""As many workers as cores keep to one each, and all others to none."""

import os
import subprocess
import sys

import pytest

from gateway.server.cpu_affinity import free_core, pin_to


@pytest.fixture
def cores(monkeypatch):
    """Say how many cores there are."""

    def say(*usable):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(usable))

    return say


def test_each_worker_gets_another_core(cores):
    cores(2, 5, 7)
    taken: list[int | None] = []
    for _ in range(3):
        taken.append(free_core(taken, 3))
    assert taken == [2, 5, 7]


def test_a_worker_that_follows_another_one_gets_its_core(cores):
    cores(0, 1)
    assert free_core([0], 2) == 1
    assert free_core([1], 2) == 0


def test_where_all_are_followed_at_once_there_are_two_on_each_for_a_while(cores):
    cores(0, 1)
    taken: list[int | None] = [1, 0]
    for _ in range(2):
        taken.append(free_core(taken, 2))
    assert sorted(core for core in taken if core is not None) == [0, 0, 1, 1]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8])
def test_with_more_or_fewer_workers_than_cores_the_system_decides(cores, workers):
    cores(0, 1, 2, 3)
    assert free_core([], workers) is None
    assert free_core([None], 4) == 0


def test_on_one_core_there_is_nothing_to_decide(cores):
    cores(0)
    assert free_core([], 1) is None


def test_where_the_system_does_not_say_nothing_is_decided(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert free_core([], 2) is None


def test_who_keeps_to_a_core_does_so_with_all_its_threads():
    program = """
import os, threading
from gateway.server.cpu_affinity import pin_to
found, go = [], threading.Event()
def tell():
    go.wait()
    found.append(os.sched_getaffinity(0))
before = threading.Thread(target=tell)
before.start()
pin_to({core})
after = threading.Thread(target=tell)
after.start()
go.set()
before.join()
after.join()
tell()
print(*map(sorted, found))
"""
    usable = sorted(os.sched_getaffinity(0))
    for core in usable[0], usable[-1]:
        told = subprocess.run(
            [sys.executable, "-c", program.format(core=core)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == " ".join([f"[{core}]"] * 3)


def test_what_the_system_forbids_is_raised(monkeypatch):
    def forbidden(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    with pytest.raises(PermissionError):
        pin_to(0)
