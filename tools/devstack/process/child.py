"""A child process that never outlives this one, nor do its own children."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tools.devstack.process.supervisor import group_states
from tools.devstack.waiting import wait_until

#: Called with each output line of a child, without the line break.
LineCallback = Callable[[str], None]

SUPERVISOR = Path(__file__).with_name("supervisor.py")
#: Time for a child to stop after the death of this process, in seconds.
ORPHAN_GRACE_S = 5.0
#: Maximum time for SIGKILL to take effect on an overloaded machine, in seconds.
KILL_LIMIT_S = 10.0
PAUSE_LIMIT_S = 5.0


class ChildNotStarted(Exception):
    """Raised when the command of a child cannot be run."""


class Child:
    """
    A command that runs under a supervisor (supervisor.py).

    Signals go to the whole process group, including gunicorn's workers. ``pid`` is the id of the
    command, not of the supervisor.
    """

    def __init__(self, supervisor: "subprocess.Popen[bytes]", pid: int) -> None:
        self._supervisor = supervisor
        self._reader: threading.Thread | None = None
        self._terminated = False
        self.pid = pid

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: Path | LineCallback,
        scratch: Path | None = None,
    ) -> "Child":
        """
        Start *argv* and return when it is running.

        Args:
            env: its whole environment; that of this process by default.
            output: a file to append to, or a function called with each line.
            scratch: a folder to remove if this process dies.

        Raises:
            ChildNotStarted: naming the command and the reason.
        """
        report_fd, supervisor_report_fd = os.pipe()
        options = ["--report-fd", str(supervisor_report_fd), "--grace-s", str(ORPHAN_GRACE_S)]
        if scratch is not None:
            options += ["--scratch", str(scratch)]
        with contextlib.ExitStack() as stack:
            log = subprocess.PIPE if callable(output) else stack.enter_context(output.open("ab"))
            supervisor = subprocess.Popen(
                # -I and -S: starts within milliseconds and ignores PYTHON* variables.
                [sys.executable, "-I", "-S", str(SUPERVISOR), *options, "--", *argv],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                pass_fds=[supervisor_report_fd],
                # Ctrl-C in a terminal reaches this process only, which stops children in order.
                start_new_session=True,
            )
        os.close(supervisor_report_fd)
        with os.fdopen(report_fd, encoding="utf-8") as report:
            kind, _, value = report.read().partition(" ")
        if kind != "pid":
            _discard(supervisor)
            if supervisor.stdout is not None:
                supervisor.stdout.close()
            raise ChildNotStarted(
                f"{argv[0]} cannot be run: {value or 'the supervisor did not start'}"
            )
        child = cls(supervisor, int(value))
        if callable(output) and supervisor.stdout is not None:
            child._read(supervisor.stdout, output)
        return child

    @property
    def returncode(self) -> int | None:
        """Exit code or minus the signal, once the whole process group has ended; else None."""
        return self._supervisor.poll()

    def terminate(self) -> None:
        """Send SIGTERM without waiting; repeated calls do nothing."""
        if self.returncode is None and not self._terminated:
            # A second SIGTERM could interrupt its shutdown.
            self._terminated = True
            self._supervisor.terminate()

    def stop(self, grace_s: float = 5.0) -> int:
        """Send SIGTERM, then SIGKILL after *grace_s*; return the return code."""
        self.terminate()
        if not self._ends_within(grace_s):
            self.kill()
        return self.wait(KILL_LIMIT_S)

    def kill(self) -> None:
        """Kill the whole process group and wait for its end."""
        self.signal(signal.SIGKILL)
        self.wait(KILL_LIMIT_S)

    def pause(self) -> None:
        """
        Suspend the whole process group; its connections stay open.

        Raises:
            TimeoutError: when a thread keeps running.
        """
        self.signal(signal.SIGSTOP)
        # The signal stops threads one by one; some still answer for a moment.
        if not wait_until(self._is_paused, PAUSE_LIMIT_S, poll_s=0.002):
            raise TimeoutError(f"process {self.pid} did not pause in {PAUSE_LIMIT_S:g} s")

    def resume(self) -> None:
        """Continue a paused process group."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send signal *number* to the whole process group, if it exists."""
        # While the supervisor runs the id cannot be reused.
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """
        Return the return code once the whole process group has ended.

        Raises:
            TimeoutError: when that takes longer than *timeout_s*.
        """
        if not self._ends_within(timeout_s):
            raise TimeoutError(f"process {self.pid} did not end within {timeout_s:g} s")
        if self._reader is not None:
            # Limited, because a grandchild outside the group may keep the pipe open.
            self._reader.join(1.0)
        _discard(self._supervisor)
        return self._supervisor.returncode

    def _ends_within(self, limit_s: float) -> bool:
        try:
            self._supervisor.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _is_paused(self) -> bool:
        return all(state[0] in "TZ" for state in group_states(self.pid))

    def _read(self, pipe: IO[bytes], on_line: LineCallback) -> None:
        def read() -> None:
            with pipe:
                for line in pipe:
                    on_line(line.decode("utf-8", "replace").rstrip("\r\n"))

        self._reader = threading.Thread(target=read, name=f"output-{self.pid}", daemon=True)
        self._reader.start()


def run_to_end(argv: Sequence[str], output: Path, limit_s: float) -> int:
    """
    Run *argv*, append its output to *output*, and return its return code.

    Raises:
        TimeoutError: when it took longer than *limit_s*; it was killed.
    """
    child = Child.start(argv, output=output)
    try:
        return child.wait(limit_s)
    finally:
        child.kill()


def _discard(supervisor: "subprocess.Popen[bytes]") -> None:
    supervisor.wait()
    if supervisor.stdin is not None:
        supervisor.stdin.close()
