"""What the servers of the development stack have in common."""

import abc
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import Child

ANSWER_TIMEOUT_S = 1.0
POLL_S = 0.05
LOG_TAIL_LINES = 20


class ServerNotStarted(Exception):
    """Raised when a server does not answer in time, with the end of its log."""


class Server(abc.ABC):
    """
    A server on a port of 127.0.0.1 that it keeps for life, with a data folder of its own.

    The folder lives from start() to stop(), kill() and restart() leave it alone.
    """

    #: What the server is called in messages.
    name: str
    scheme: str
    url_path = ""
    start_limit_s = 30.0
    stop_grace_s = 5.0

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._child: Child | None = None
        self._folder: Path | None = None

    @property
    def url(self) -> str:
        """Where clients find it, as KAFKA_URL or REDIS_URL says it."""
        return f"{self.scheme}://{self.address}{self.url_path}"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The id of the server's process."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """How the server's process ended, or None while it runs."""
        return self._running().returncode

    @property
    def runs(self) -> bool:
        """Whether its process is there."""
        return self._child is not None and self._child.returncode is None

    @property
    def folder(self) -> Path:
        """The data folder, with the log in it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="rendezvous-"))
        return self._folder

    def start(self) -> Self:
        """
        Start the server and return when it answers.

        Raises:
            ServerNotStarted: when it ended or did not answer within ``start_limit_s``.
        """
        if self.runs:
            raise RuntimeError(f"{self.name} runs already")
        self.prepare()
        self._child = Child.start(
            self.command(),
            env=self.environment(),
            cwd=self.folder,
            output=self.log,
            scratch=self.folder,
        )
        self._wait_for_answer(self._child)
        return self

    def stop(self) -> None:
        """End the server and remove its data folder; nothing happens when it does not run."""
        self._end(lambda child: child.stop(self.stop_grace_s))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def terminate(self) -> None:
        """Ask the server to end and return at once; stop() waits for it."""
        if self._child is not None:
            self._child.terminate()

    def signal(self, number: int) -> None:
        """Send signal *number* to the server, if it runs, and return at once."""
        if self._child is not None:
            self._child.signal(number)

    def kill(self) -> None:
        """End the server as a crash does: SIGKILL."""
        self._end(lambda child: child.kill())

    def pause(self) -> None:
        """Make the server hang: its port still accepts connections, nothing is answered."""
        self._running().pause()

    def resume(self) -> None:
        """End a pause."""
        self._running().resume()

    def restart(self) -> None:
        """Stop the server, if it still runs, and start it on the same port and data folder."""
        self._end(lambda child: child.stop(self.stop_grace_s))
        self.start()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *error: object) -> None:
        self.stop()

    @abc.abstractmethod
    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Say whether the server answers a real request within *timeout_s*."""

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs the server."""

    def environment(self) -> Mapping[str, str] | None:
        """Return the whole environment of the server; ours when None."""
        return None

    def prepare(self) -> None:  # noqa: B027 - most servers need nothing
        """Do what has to be done before each start."""

    def log_tail(self) -> str:
        """Return the last lines that the server logged."""
        if not self.log.exists():
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    @property
    def log(self) -> Path:
        """The file with what the server says."""
        return self.folder / "server.log"

    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._child

    def _end(self, how: Callable[[Child], object]) -> None:
        if self._child is not None:
            how(self._child)
            # A kill from outside leaves a child that ended; its pipes are closed here.
            self._child.wait(self.stop_grace_s)
            self._child = None

    def _wait_for_answer(self, child: Child) -> None:
        deadline = time.monotonic() + self.start_limit_s
        while not self.answers():
            if child.returncode is not None:
                raise ServerNotStarted(self._failure(f"ended with {child.returncode}"))
            if time.monotonic() > deadline:
                raise ServerNotStarted(self._failure(f"no answer in {self.start_limit_s:g} s"))
            time.sleep(POLL_S)

    def _failure(self, what: str) -> str:
        return f"{self.name} did not start on {self.address}: {what}\n{self.log_tail()}".rstrip()
