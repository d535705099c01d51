"""Each worker runs on one core, and moves when other processes are in its way."""

import logging
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from gateway.server import cpu_affinity
from gateway.server.core_loads import CoreLoads
from gateway.server.cpu_affinity import (
    CoreKeeper,
    better_core,
    core_for_new_worker,
    free_core,
    keep_on_core,
    pin_to,
    siblings_of,
    usable_cores,
)
from tests.fakes import raising
from tests.unit.apps import SECRET_KEY
from tests.unit.test_architecture import ROOT
from tools.devstack.waiting import wait_until


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
        taken.append(free_core(taken))
    assert sorted(core for core in taken if core is not None) == [2, 5, 7]


def test_gateways_that_start_together_do_not_all_begin_on_the_same_core(cores):
    cores(*range(16))
    assert len({free_core([]) for _ in range(100)}) > 8


def test_a_replacement_gets_the_core_of_the_worker_that_ended(cores):
    cores(0, 1)
    assert free_core([0]) == 1
    assert free_core([1]) == 0


def test_workers_without_a_core_do_not_count(cores):
    cores(0, 1)
    assert {free_core([None, 0]) for _ in range(20)} == {1}


@pytest.mark.parametrize(("workers", "on_each_core"), [(4, [2, 2]), (5, [2, 3])])
def test_more_workers_than_cores_share_them_evenly(cores, workers, on_each_core):
    cores(0, 1)
    taken: list[int | None] = []
    for _ in range(workers):
        taken.append(free_core(taken))
    assert sorted([taken.count(0), taken.count(1)]) == on_each_core


def test_workers_begin_on_different_physical_cores_as_far_as_there_are_any(cores, monkeypatch):
    monkeypatch.setattr(cpu_affinity, "siblings_of", lambda core: {core % 4, core % 4 + 4})
    cores(*range(8))
    taken: list[int | None] = []
    for _ in range(8):
        taken.append(free_core(taken))
    assert {core % 4 for core in taken[:4] if core is not None} == {0, 1, 2, 3}
    assert sorted(core for core in taken if core is not None) == list(range(8))


@pytest.mark.parametrize(
    ("text", "cores"),
    [("1\n", {1}), ("1,5\n", {1, 5}), ("0-1\n", {0, 1}), ("1-2,5-6\n", {1, 2, 5, 6}), ("?", {1})],
)
def test_the_logical_cores_of_a_physical_one_are_read(tmp_path, text, cores):
    (tmp_path / "cpu1").write_text(text)
    assert siblings_of(1, f"{tmp_path}/cpu{{}}") == cores


def test_without_a_topology_each_core_is_a_physical_one(tmp_path):
    assert siblings_of(3, f"{tmp_path}/cpu{{}}") == {3}


def test_on_a_single_core_no_worker_is_pinned(cores):
    cores(0)
    assert free_core([]) is None


def test_without_cpu_affinity_in_the_system_no_worker_is_pinned(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert free_core([]) is None


def test_all_threads_of_a_process_are_pinned():
    program = """
import os, threading
from gateway.server.cpu_affinity import pin_to
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


@pytest.fixture
def threads(monkeypatch):
    """Set the threads of this process, with the cores of each."""
    found: dict[int, set[int]] = {}
    monkeypatch.setattr(os, "listdir", lambda _: [str(thread) for thread in found])
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: found.get(thread, set()))
    monkeypatch.setattr(os, "sched_setaffinity", found.__setitem__)
    return found


def test_a_thread_that_ends_meanwhile_is_no_error(threads, monkeypatch):
    threads[1] = {0, 1}
    monkeypatch.setattr(os, "sched_setaffinity", raising(ProcessLookupError(3, "No such process")))
    pin_to(0)


def test_a_thread_that_another_one_starts_meanwhile_is_pinned_too(threads, monkeypatch):
    def pin(thread, cores):
        if thread < 3:
            threads.setdefault(thread + 1, threads[thread])
        threads[thread] = cores

    threads[1] = {0, 1}
    monkeypatch.setattr(os, "sched_setaffinity", pin)

    pin_to(1)

    assert threads == {1: {1}, 2: {1}, 3: {1}}


def test_pinning_ends_though_new_threads_never_do(threads, monkeypatch):
    threads[1] = {0, 1}
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: None)
    pin_to(1)


def test_threads_that_are_pinned_are_left_alone(threads, monkeypatch):
    threads[1] = {1}
    monkeypatch.setattr(os, "sched_setaffinity", raising(AssertionError()))
    pin_to(1)


def test_a_new_worker_gets_a_core_that_no_running_worker_has(cores):
    cores(0, 1)
    running = {4711: SimpleNamespace(core=0)}

    assert core_for_new_worker(SimpleNamespace(WORKERS=running)) == 1


@pytest.mark.parametrize(
    ("core", "error", "messages", "is_moved"),
    [
        (None, None, [], False),
        (1, None, ["worker 7 is pinned to core 1"], True),
        (1, OSError("forbidden"), ["worker 7 is not pinned to a core: forbidden"], False),
    ],
)
def test_the_core_of_a_worker_is_logged(caplog, monkeypatch, core, error, messages, is_moved):
    def pin(_):
        if error is not None:
            raise error

    started = []
    monkeypatch.setattr(cpu_affinity, "pin_to", pin)
    monkeypatch.setattr(CoreKeeper, "start", lambda keeper: started.append(keeper.core))
    caplog.set_level(logging.INFO)

    keep_on_core(SimpleNamespace(core=core, pid=7, log=logging.getLogger("worker")))

    assert caplog.messages == messages
    assert started == ([core] if is_moved else [])


@pytest.mark.parametrize(
    ("busy", "own", "found"),
    [
        ({0: 1.0, 1: 0.1, 2: 0.2}, 0.3, 1),
        ({0: 1.0, 1: 0.4}, 0.3, 1),
        ({0: 1.0, 1: 0.1}, 0.8, None),  # it fills its core itself
        ({0: 1.0, 1: 0.6}, 0.2, None),  # moving back would be next
        ({0: 1.0, 1: 1.0}, 0.5, None),
        ({0: 1.0, 1: 0.0}, 1.1, None),  # counted at different times
        ({0: 0.8, 1: 0.05}, 0.4, 1),  # the other process would leave if it could
        ({0: 0.8, 1: 0.15}, 0.4, None),  # it can
        ({0: 0.6, 1: 0.0}, 0.4, None),
    ],
)
def test_the_better_core_is_the_one_that_other_processes_use_clearly_less(busy, own, found):
    assert better_core(busy, 0, 0, own) == found


@pytest.mark.parametrize(
    ("busy", "own", "found"),
    [
        # Two workers share core 1, and what is not pinned uses 0.7 of core 0.
        ({0: 0.7, 1: 1.0}, 0.5, 0),
        ({0: 0.8, 1: 1.0}, 0.5, None),
        ({0: 0.7, 1: 0.9}, 0.5, None),
        ({0: 0.7, 1: 1.0}, 0.9, None),  # it fills its core alone
        ({0: 0.7, 1: 1.0, 2: 0.0}, 0.5, 0),
        ({1: 1.0, 2: 0.2}, 0.5, 2),
    ],
)
def test_a_worker_returns_from_a_full_core_to_its_first_one(busy, own, found):
    assert better_core(busy, 1, 0, own) == found


class Machine(CoreLoads):
    """Three cores, and a process that runs on the first of them."""

    def __init__(self, monkeypatch, caplog):
        super().__init__()
        self.shares = {0: 1.0, 1: 0.5, 2: 0.1}
        self.own_s = 0.0
        self.now_s = 0.0
        self.affinity = {0}
        self.parent = {0, 1, 2}
        self.chance = 0.0
        self.log = caplog
        caplog.set_level(logging.INFO)
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda pid: self.parent if pid else self.affinity
        )
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)
        self.keeper = CoreKeeper(
            0,
            self,
            cpu_s=lambda: self.own_s,
            pin=self._pin,
            chance=lambda: self.chance,
        )

    def busy(self):
        return self.shares

    def _pin(self, core):
        self.affinity = {core}

    def look(self, own):
        """Look after a second in which the process used *own* of its core."""
        self.now_s += 1
        self.own_s += own
        self.keeper.look()
        return self.affinity


@pytest.fixture
def machine(monkeypatch, caplog):
    return Machine(monkeypatch, caplog)


def test_a_worker_leaves_a_core_that_others_load(machine):
    assert machine.look(0.3) == {2}
    [message] = machine.log.messages
    assert message.endswith("moved to core 2, which other processes use less")
    machine.shares = {0: 1.0, 1: 0.1, 2: 0.5}
    assert machine.look(0.3) == {2}


def test_a_worker_stays_on_a_core_that_it_fills_itself(machine):
    assert machine.look(0.8) == {0}


def test_half_of_the_workers_on_a_loaded_core_stay(machine):
    machine.chance = cpu_affinity.MOVE_PROBABILITY
    assert machine.look(0.3) == {0}


def test_a_worker_that_gets_no_time_leaves_a_full_core(machine):
    assert machine.look(0.0) == {2}


def test_a_worker_uses_only_the_cores_of_its_arbiter(machine):
    machine.parent = {0, 1}
    assert machine.look(0.1) == {1}


def test_a_worker_that_has_lost_its_affinity_is_pinned_again(machine):
    machine.affinity = {0, 1, 2}
    machine.shares = {}
    machine.chance = 0.99
    assert machine.look(0.3) == {0}
    [message] = machine.log.messages
    assert message.endswith("is pinned to core 0 again")


@pytest.mark.parametrize("affinity", [{0}, {1, 2}])
def test_a_worker_whose_container_got_other_cores_is_pinned_to_one_of_them(machine, affinity):
    machine.parent, machine.affinity = {1, 2}, affinity
    assert machine.look(0.3) in ({1}, {2})


def test_a_worker_stays_if_not_all_its_cores_are_counted(machine):
    machine.shares = {0: 1.0, 1: 0.1}
    assert machine.look(0.3) == {0}


def test_a_worker_returns_when_its_first_core_has_time_again(machine):
    assert machine.look(0.3) == {2}
    machine.shares = {0: 0.6, 1: 0.6, 2: 1.0}
    assert machine.look(0.5) == {0}


def test_a_worker_whose_parent_has_gone_stays(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", raising(ProcessLookupError(3, "No such process")))
    assert machine.look(0.3) == {0}


class Stop(Exception):
    pass


def test_a_failed_move_is_logged_and_tried_again(machine, monkeypatch):
    pauses = iter([None, None])
    tries = []

    def sleep(_):
        machine.now_s += 1
        if next(pauses, Stop) is Stop:
            raise Stop

    def pin(core):
        tries.append(core)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(time, "sleep", sleep)
    machine.keeper._pin = pin

    with pytest.raises(Stop):
        machine.keeper._run()

    [message] = machine.log.messages
    assert message.endswith("stays where it is: [Errno 24] Too many open files")
    assert tries == [2, 2]


#: A process that moves as the loads in a file say.
MOVER = """
import sys, time
from pathlib import Path
from gateway.server import cpu_affinity
from gateway.server.core_loads import CoreLoads
core, stat = int(sys.argv[1]), Path(sys.argv[2])
cpu_affinity.pin_to(core)
cpu_affinity.LOOK_INTERVAL_S = 0.01
cpu_affinity.CoreKeeper(core, CoreLoads(stat)).start()
time.sleep(60)
"""


@pytest.mark.skipif(len(usable_cores(0)) < 2, reason="needs Linux and two cores")
def test_a_process_leaves_a_core_that_is_loaded(tmp_path):
    core, *others = sorted(usable_cores(0))
    stat = tmp_path / "stat"

    def load(ticks):
        lines = [
            f"cpu{core} {ticks} 0 0 0 0 0 0 0",
            *(f"cpu{o} 0 0 0 {ticks} 0 0 0" for o in others),
        ]
        (tmp_path / "new").write_text("\n".join(lines))
        (tmp_path / "new").replace(stat)

    load(0)
    with subprocess.Popen([sys.executable, "-c", MOVER, str(core), str(stat)], cwd=ROOT) as mover:
        ticks = iter(range(100, 10**9, 100))

        def has_moved():
            load(next(ticks))
            return os.sched_getaffinity(mover.pid) <= set(others)

        try:
            assert wait_until(has_moved, 30)
        finally:
            mover.kill()


#: Prints whether gunicorn.conf.py gives a core to the first worker.
FIRST_CORE = """
import os, runpy
from types import SimpleNamespace
os.sched_getaffinity = lambda pid: {0, 1}
settings = runpy.run_path("gunicorn.conf.py")
server = SimpleNamespace(
    WORKERS={}, shutdown_state=None, connection_counts=None
)
worker = SimpleNamespace()
settings["pre_fork"](server, worker)
print(worker.core is not None)
"""


@pytest.mark.parametrize(("setting", "is_pinned"), [("yes", "True"), ("no", "False")])
def test_cpu_affinity_can_be_turned_off(setting, is_pinned):
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

    assert (ended.stdout, ended.stderr) == (f"{is_pinned}\n", "")
