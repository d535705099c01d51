"""
Run a command that never outlives the process that started this supervisor.

    python -m tools.devstack.process.supervisor
        [--report-fd N] [--grace-s S] [--scratch DIR] -- COMMAND ...

Standard input is a pipe whose other end only the parent holds. When the parent closes it or dies,
even by SIGKILL, the process group of the command gets SIGTERM and S seconds later SIGKILL. SIGTERM,
SIGINT and SIGHUP are forwarded to the group. The supervisor ends after the whole group, with the
exit code or by the signal of the command.

It imports little of the standard library, because it starts before every process of the stack.
"""

import contextlib
import errno
import os
import resource
import select
import signal
import sys
import time

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Ignored signals stay ignored across exec, and Python ignores SIGPIPE.
RESET = (*FORWARDED, signal.SIGCHLD, signal.SIGPIPE)
POLL_S = 0.02
#: Maximum time for a killed process to disappear, in seconds.
KILL_LIMIT_S = 2.0
PROC = "/proc"
PARENT_FD = 0


class Supervisor:
    """The process group of the command, and its signals."""

    def __init__(self, command: list[str], grace_s: float) -> None:
        self._grace_s = grace_s
        self._wakeup_fd = _wake_up_on_signals()
        self.pid = _spawn(command)
        self.exit_status: int | None = None

    def watch(self) -> bool:
        """Wait for the end of the command (returns False) or of the parent (True)."""
        while not self._ended():
            readable, _, _ = select.select([PARENT_FD, self._wakeup_fd], [], [])
            if self._wakeup_fd in readable:
                self._forward(os.read(self._wakeup_fd, 512))
            if PARENT_FD in readable and not os.read(PARENT_FD, 4096):
                return True
        return False

    def stop(self) -> None:
        """Stop the rest of the group, including children that the command left behind."""
        self._signal_group(signal.SIGTERM)
        # A paused process handles the SIGTERM only after SIGCONT.
        self._signal_group(signal.SIGCONT)
        if not self._gone_within(self._grace_s):
            self._signal_group(signal.SIGKILL)
            self._gone_within(KILL_LIMIT_S)

    def _gone_within(self, limit_s: float) -> bool:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            # Zombies do not count: in a container without an init process they stay.
            if self._ended() and not (self._signal_group(0) and _group_lives(self.pid)):
                return True
            time.sleep(POLL_S)
        return False

    def _ended(self) -> bool:
        if self.exit_status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_status = os.waitstatus_to_exitcode(status)
        return self.exit_status is not None

    def _forward(self, numbers: bytes) -> None:
        for number in numbers:
            if number in FORWARDED:
                self._signal_group(number)
                self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            # macOS returns EPERM when only zombies are left.
            return False
        return True


def group_states(group: int) -> list[str]:
    """Return the state of each process or thread of *group*, as shown by ps."""
    # Small Linux images have no ps, and macOS has no /proc.
    lines = _states_from_proc() if os.path.exists(f"{PROC}/self/stat") else _states_from_ps()
    return [state for pgid, state in lines if pgid == group]


def _group_lives(group: int) -> bool:
    return any(not state.startswith("Z") for state in group_states(group))


def _states_from_proc() -> list[tuple[int, str]]:
    found = []
    for pid in filter(str.isdigit, os.listdir(PROC)):
        # Processes and threads may end meanwhile.
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"{PROC}/{pid}/task"):
                with open(f"{PROC}/{pid}/task/{thread}/stat", "rb") as file:
                    # pid (name) state ppid pgrp: a name may contain spaces and brackets.
                    state, _, pgid, *_ = file.read().rpartition(b")")[2].split()
                found.append((int(pgid), state.decode()))
    return found


def _states_from_ps() -> list[tuple[int, str]]:
    import subprocess  # slow to import

    lines = subprocess.check_output(["ps", "-A", "-o", "pgid=,stat="], text=True).splitlines()
    return [(int(pgid), state) for pgid, state in map(str.split, lines)]


def _wake_up_on_signals() -> int:
    """Return a file descriptor that delivers the number of each signal."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    for number in (*FORWARDED, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(write_fd)
    return read_fd


def _spawn(command: list[str]) -> int:
    """Start *command* and return its process id; OSError when it cannot be run."""
    # Closed by exec; before that, a signal would reach a copy of the supervisor.
    read_fd, write_fd = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, RESET)
    pid = os.fork()
    if pid == 0:
        _exec(command, write_fd)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, RESET)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as failure:
        number = failure.read()
    if number:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)), command[0])
    return pid


def _exec(command: list[str], failure_fd: int) -> None:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, RESET)
        os.dup2(os.open(os.devnull, os.O_RDONLY), PARENT_FD)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(failure_fd, str(error.errno or errno.EINVAL).encode())
    finally:
        os._exit(127)


def _report(report_fd: int | None, text: str) -> None:
    if report_fd is not None:
        with contextlib.suppress(BrokenPipeError):
            os.write(report_fd, text.encode())
        os.close(report_fd)


def _exit_like(exit_status: int) -> None:
    """Exit with *exit_status*, or by that signal when negative."""
    if exit_status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -exit_status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-exit_status, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_status)
    sys.exit(exit_status)


def _remove(folder: str) -> None:
    import shutil  # rarely needed

    shutil.rmtree(folder, ignore_errors=True)


def _arguments(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    end = arguments.index("--")
    options = dict(zip(arguments[:end:2], arguments[1:end:2], strict=True))
    if not arguments[end + 1 :] or set(options) - {"--report-fd", "--grace-s", "--scratch"}:
        raise ValueError
    return options, arguments[end + 1 :]


def main(arguments: list[str]) -> None:
    """Run the command and exit like it."""
    try:
        options, command = _arguments(arguments)
    except ValueError:
        sys.exit(__doc__)
    report_fd = int(options["--report-fd"]) if "--report-fd" in options else None
    if report_fd is not None:
        os.set_inheritable(report_fd, False)
    try:
        supervisor = Supervisor(command, float(options.get("--grace-s", "5")))
    except OSError as error:
        _report(report_fd, f"error {error.strerror}")
        sys.exit(f"{command[0]}: {error.strerror}")
    _report(report_fd, f"pid {supervisor.pid}")
    orphaned = supervisor.watch()
    supervisor.stop()
    if orphaned and "--scratch" in options:
        _remove(options["--scratch"])
    _exit_like(0 if supervisor.exit_status is None else supervisor.exit_status)


if __name__ == "__main__":
    main(sys.argv[1:])
