"""One process that does not outlive us, with everything that it starts."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from tools.devstack.process.tether import group_states
from tools.devstack.waiting import wait_until

#: Takes each line of a child's output, without its end.
LineCallback = Callable[[str], None]

TETHER = Path(__file__).with_name("tether.py")
#: How long a child may take to end once we are gone and nobody waits for it any more.
ORPHAN_GRACE_S = 5.0
#: SIGKILL works at once; this is for the machine that is out of breath.
KILL_LIMIT_S = 10.0
PAUSE_LIMIT_S = 5.0


class ChildNotStarted(Exception):
    """Raised when the command of a child cannot be run."""


class Child:
    """
    A command that runs below a tether (see devstack.tether).

    Signals go to the whole process group, that is to the workers of gunicorn too. ``pid`` is the id
    of the command itself, not of the tether.
    """

    def __init__(self, tether: "subprocess.Popen[bytes]", pid: int) -> None:
        self._tether = tether
        self._reader: threading.Thread | None = None
        self._asked_to_end = False
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
        Start *argv* and return when it runs.

        Args:
            env: its whole environment; ours by default.
            output: the file to which its output is appended, or who takes each line.
            scratch: a folder to remove when it is stopped because we died.

        Raises:
            ChildNotStarted: naming the command and the reason.
        """
        report_fd, tether_report_fd = os.pipe()
        options = ["--report-fd", str(tether_report_fd), "--grace-s", str(ORPHAN_GRACE_S)]
        if scratch is not None:
            options += ["--scratch", str(scratch)]
        with contextlib.ExitStack() as stack:
            log = subprocess.PIPE if callable(output) else stack.enter_context(output.open("ab"))
            tether = subprocess.Popen(
                # -I and -S: a start in few milliseconds, whatever PYTHON* variables say.
                [sys.executable, "-I", "-S", str(TETHER), *options, "--", *argv],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                pass_fds=[tether_report_fd],
                # A terminal's Ctrl-C is for the starter, who stops things in order.
                start_new_session=True,
            )
        os.close(tether_report_fd)
        with os.fdopen(report_fd, encoding="utf-8") as report:
            kind, _, value = report.read().partition(" ")
        if kind != "pid":
            _discard(tether)
            if tether.stdout is not None:
                tether.stdout.close()
            raise ChildNotStarted(f"{argv[0]} cannot be run: {value or 'the tether did not start'}")
        child = cls(tether, int(value))
        if callable(output) and tether.stdout is not None:
            child._read(tether.stdout, output)
        return child

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal, once nothing of the process group is left."""
        return self._tether.poll()

    def terminate(self) -> None:
        """Ask it to end, once however often this is called; return at once."""
        if self.returncode is None and not self._asked_to_end:
            # A second SIGTERM would meet a process amid its end.
            self._asked_to_end = True
            self._tether.terminate()

    def stop(self, grace_s: float = 5.0) -> int:
        """Ask it to end, kill it after *grace_s*, and return its return code."""
        self.terminate()
        if not self._ends_within(grace_s):
            self.kill()
        return self.wait(KILL_LIMIT_S)

    def kill(self) -> None:
        """Kill the whole process group and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(KILL_LIMIT_S)

    def pause(self) -> None:
        """
        Stop the clock of the whole process group: it keeps its connections and is silent.

        Raises:
            TimeoutError: when it has not come to a stop in time.
        """
        self.signal(signal.SIGSTOP)
        # The signal reaches the threads one by one: for a moment some still answer.
        if not wait_until(self._is_paused, PAUSE_LIMIT_S, poll_s=0.002):
            raise TimeoutError(f"process {self.pid} did not pause in {PAUSE_LIMIT_S:g} s")

    def resume(self) -> None:
        """Let a paused process group go on."""
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Send signal *number* to the whole process group, if it is there; return at once."""
        # While the tether is there the id is taken; later it may be somebody else's.
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """
        Return the return code once nothing of the process group is left.

        Raises:
            TimeoutError: when that takes longer than *timeout_s*.
        """
        if not self._ends_within(timeout_s):
            raise TimeoutError(f"process {self.pid} is still there after {timeout_s:g} s")
        if self._reader is not None:
            # Limited, for a grandchild that left the group may hold the pipe for ever.
            self._reader.join(1.0)
        _discard(self._tether)
        return self._tether.returncode

    def _ends_within(self, limit_s: float) -> bool:
        try:
            self._tether.wait(limit_s)
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
    Run *argv*, append what it says to *output*, and return its return code.

    Raises:
        TimeoutError: when it took longer than *limit_s*; it is dead then.
    """
    child = Child.start(argv, output=output)
    try:
        return child.wait(limit_s)
    finally:
        child.kill()


def _discard(tether: "subprocess.Popen[bytes]") -> None:
    tether.wait()
    if tether.stdin is not None:
        tether.stdin.close()
