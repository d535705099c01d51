"""The scheduling of threads: one that becomes ready does not preempt the running one."""

import os
import subprocess
import sys

import pytest

from rendezvous.process import scheduling
from tests.fakes import raising

PROGRAM = """
import os, threading
from rendezvous.process.scheduling import do_not_preempt
do_not_preempt()
thread = threading.Thread(target=lambda: print(os.sched_getscheduler(0) == os.SCHED_BATCH))
thread.start()
thread.join()
"""

needs_linux = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has it")


@needs_linux
def test_threads_that_are_started_later_do_not_preempt_either():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)

    assert result.stdout == "True\n", result.stderr


@needs_linux
def test_a_policy_that_was_chosen_is_kept(monkeypatch):
    monkeypatch.setattr(os, "sched_getscheduler", lambda pid: os.SCHED_FIFO)
    monkeypatch.setattr(os, "sched_setscheduler", lambda *args: pytest.fail("it was replaced"))

    scheduling.do_not_preempt()


@needs_linux
def test_a_system_that_forbids_it_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(os, "sched_getscheduler", lambda pid: os.SCHED_OTHER)
    monkeypatch.setattr(os, "sched_setscheduler", raising(PermissionError("a sandbox")))

    scheduling.do_not_preempt()


def test_a_system_without_it_is_left_as_it_is(monkeypatch):
    monkeypatch.delattr(os, "SCHED_BATCH", raising=False)

    scheduling.do_not_preempt()
