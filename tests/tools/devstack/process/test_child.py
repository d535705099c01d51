"""Child processes: output, signals and return codes."""

import os
import signal
import subprocess
import sys

import pytest

from tests.tools.devstack.support import (
    LIMIT_S,
    ROOT,
    WORKER,
    has_ended,
    ignore,
    start_parent_and_child,
    start_python,
)
from tools.devstack.process.child import ORPHAN_GRACE_S, Child, ChildNotStarted
from tools.devstack.waiting import wait_until


def test_pid_and_exit_code_are_those_of_the_command():
    lines: list[str] = []
    child = start_python("import os; print(os.getpid()); raise SystemExit(7)", lines.append)

    assert child.wait(LIMIT_S) == 7
    assert lines == [str(child.pid)]


def test_the_return_code_has_the_signal_that_killed_the_command():
    child = start_python("import time; time.sleep(1000)")

    os.kill(child.pid, signal.SIGKILL)

    assert child.wait(LIMIT_S) == -signal.SIGKILL


def test_a_missing_command_is_named():
    with pytest.raises(ChildNotStarted, match=r"no-such-command cannot be run: No such file"):
        Child.start(["no-such-command"], output=ignore)


def test_repeated_calls_of_terminate_send_one_signal():
    output: list[str] = []
    child = Child.start([sys.executable, "-c", WORKER, "stubborn"], output=output.append)
    assert wait_until(lambda: output == ["started"], LIMIT_S)
    child.terminate()
    assert wait_until(lambda: output[1:] == ["terminated"], LIMIT_S)
    child.terminate()

    assert child.stop(0.5) == -signal.SIGKILL
    assert output == ["started", "terminated"]


@pytest.mark.parametrize("behaviour", ["cooperative", "stubborn"])
def test_stopping_a_child_stops_its_children(behaviour: str):
    child = start_parent_and_child(behaviour)

    child.stop(grace_s=0.5)

    assert has_ended(child.pid)


@pytest.mark.parametrize("behaviour", ["cooperative", "stubborn"])
def test_children_of_a_killed_child_are_stopped(behaviour: str):
    child = start_parent_and_child(behaviour)

    os.kill(child.pid, signal.SIGKILL)
    child.wait(LIMIT_S)

    assert has_ended(child.pid)


def test_a_child_has_the_default_handler_of_sigpipe():
    child = Child.start(["sh", "-c", "kill -PIPE $$; echo still here"], output=ignore)

    assert child.wait(LIMIT_S) == -signal.SIGPIPE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_zombies_do_not_delay_the_end():
    # As in a container whose first process does not reap orphans.
    script = (
        "import ctypes, time\n"
        "assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0\n"
        "from tests.tools.devstack.support import start_parent_and_child\n"
        "child = start_parent_and_child('cooperative')\n"
        "started_s = time.monotonic()\n"
        "child.kill()\n"
        "print(time.monotonic() - started_s)\n"
    )

    took = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert float(took.stdout) < ORPHAN_GRACE_S / 2


def test_a_child_inherits_no_pipes():
    lines: list[str] = []
    child = start_python(
        "import os, sys\n"
        "print(sys.stdin.read() == '')\n"
        "print(sorted(os.listdir('/dev/fd'))[:3], len(os.listdir('/dev/fd')))\n",
        lines.append,
    )

    assert child.wait(LIMIT_S) == 0
    # 0, 1, 2, and the one that listdir opens.
    assert lines == ["True", "['0', '1', '2'] 4"]
