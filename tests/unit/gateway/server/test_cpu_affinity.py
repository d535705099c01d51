"""Workers are pinned to a core each where there are as many as cores."""

import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gateway.server.cpu_affinity import core_for_new_worker, free_core, pin_to, pin_worker
from tests.fakes import raising
from tests.unit.apps import SECRET_KEY
from tests.unit.test_architecture import ROOT


@pytest.fixture
def cores(monkeypatch):
    """Set the usable cores."""

    def set_usable(*usable):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(usable))

    return set_usable


def test_each_worker_gets_another_core(cores):
    cores(2, 5, 7)
    taken: list[int | None] = []
    for _ in range(3):
        taken.append(free_core(taken, 3))
    assert taken == [2, 5, 7]


def test_a_replacement_gets_the_core_of_the_worker_that_ended(cores):
    cores(0, 1)
    assert free_core([0], 2) == 1
    assert free_core([1], 2) == 0


def test_during_a_reload_each_core_has_two_workers(cores):
    cores(0, 1)
    taken: list[int | None] = [1, 0]
    for _ in range(2):
        taken.append(free_core(taken, 2))
    assert sorted(core for core in taken if core is not None) == [0, 0, 1, 1]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8])
def test_with_more_or_fewer_workers_than_cores_none_is_pinned(cores, workers):
    cores(0, 1, 2, 3)
    assert free_core([], workers) is None
    assert free_core([None], 4) == 0


def test_a_single_worker_is_not_pinned(cores):
    cores(0)
    assert free_core([], 1) is None


def test_without_cpu_affinity_in_the_system_no_worker_is_pinned(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert free_core([], 2) is None


def test_all_threads_of_a_process_are_pinned():
    program = """
import os, threading
from gateway.server.cpu_affinity import pin_to
from tests.fakes import raising
from tests.unit.apps import SECRET_KEY
from tests.unit.test_architecture import ROOT
found, go = [], threading.Event()
def note():
    go.wait()
    found.append(os.sched_getaffinity(0))
before = threading.Thread(target=note)
before.start()
pin_to({core})
after = threading.Thread(target=note)
after.start()
go.set()
before.join()
after.join()
note()
print(*map(sorted, found))
"""
    usable = sorted(os.sched_getaffinity(0))
    for core in usable[0], usable[-1]:
        run = subprocess.run(
            [sys.executable, "-c", program.format(core=core)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == " ".join([f"[{core}]"] * 3)


def test_an_affinity_that_the_system_forbids_raises(monkeypatch):
    monkeypatch.setattr(
        os, "sched_setaffinity", raising(PermissionError(1, "Operation not permitted"))
    )
    with pytest.raises(PermissionError):
        pin_to(0)


def test_a_new_worker_gets_a_core_that_no_running_worker_has(cores):
    cores(0, 1)
    running = {4711: SimpleNamespace(core=0)}

    assert core_for_new_worker(SimpleNamespace(WORKERS=running, num_workers=2)) == 1


@pytest.mark.parametrize(
    ("core", "error", "messages"),
    [
        (None, None, []),
        (1, None, ["worker 7 is pinned to core 1"]),
        (1, OSError("forbidden"), ["worker 7 is not pinned to a core: forbidden"]),
    ],
)
def test_the_core_of_a_worker_is_logged(caplog, monkeypatch, core, error, messages):
    def pin(_):
        if error is not None:
            raise error

    monkeypatch.setattr("gateway.server.cpu_affinity.pin_to", pin)
    caplog.set_level(logging.INFO)

    pin_worker(SimpleNamespace(core=core, pid=7, log=logging.getLogger("worker")))

    assert caplog.messages == messages


#: Prints the core that gunicorn.conf.py gives to the first worker.
FIRST_CORE = """
import os, runpy
from types import SimpleNamespace
os.sched_getaffinity = lambda pid: {0, 1}
settings = runpy.run_path("gunicorn.conf.py")
server = SimpleNamespace(
    WORKERS={}, num_workers=2, shutdown_state=None, connection_counts=None
)
worker = SimpleNamespace()
settings["pre_fork"](server, worker)
print(worker.core)
"""


@pytest.mark.parametrize(("setting", "core"), [("yes", "0"), ("no", "None")])
def test_cpu_affinity_can_be_turned_off(setting, core):
    environment = {
        "CPU_AFFINITY": setting,
        "KAFKA_URL": "127.0.0.1:1",
        "REDIS_URL": "redis://127.0.0.1:1",
        "SECRET_KEY": SECRET_KEY,
    }
    ended = subprocess.run(
        [sys.executable, "-c", FIRST_CORE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.stderr) == (f"{core}\n", "")
