"""Base class of the Kafka and Redis servers."""

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
    """Raised with the end of the log when a server does not answer in time."""


class Server(abc.ABC):
    """
    A server on a fixed port of 127.0.0.1, with its own data folder.

    The folder exists from start() to stop(); it survives kill() and restart().
    """

    #: Name in messages.
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
        """URL for clients, in the format of KAFKA_URL or REDIS_URL."""
        return f"{self.scheme}://{self.address}{self.url_path}"

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """Return code of the process, or None while it is running."""
        return self._running().returncode

    @property
    def runs(self) -> bool:
        """Whether the process is running."""
        return self._child is not None and self._child.returncode is None

    @property
    def folder(self) -> Path:
        """The data folder, which also has the log."""
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
            raise RuntimeError(f"{self.name} is already running")
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
        """Stop the server, if it is running, and remove its data folder."""
        self._end(lambda child: child.stop(self.stop_grace_s))
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def terminate(self) -> None:
        """Send SIGTERM without waiting; stop() waits."""
        if self._child is not None:
            self._child.terminate()

    def signal(self, number: int) -> None:
        """Send signal *number* to the server, if it is running."""
        if self._child is not None:
            self._child.signal(number)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self._end(lambda child: child.kill())

    def pause(self) -> None:
        """Suspend the server: its port accepts connections, but nothing is answered."""
        self._running().pause()

    def resume(self) -> None:
        """End a pause."""
        self._running().resume()

    def restart(self) -> None:
        """Stop the server, if running, and start it with the same port and data folder."""
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
        """Return whether the server answers a request within *timeout_s*."""

    @abc.abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs the server."""

    def environment(self) -> Mapping[str, str] | None:
        """Return the whole environment of the server, or None for that of this process."""
        return None

    def prepare(self) -> None:  # noqa: B027 - most servers need nothing
        """Prepare a start; called before each."""

    def log_tail(self) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return ""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    @property
    def log(self) -> Path:
        """The file with the output of the server."""
        return self.folder / "server.log"

    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._child

    def _end(self, how: Callable[[Child], object]) -> None:
        if self._child is not None:
            how(self._child)
            # Also closes the pipes of a child that something else killed.
            self._child.wait(self.stop_grace_s)
            self._child = None

    def _wait_for_answer(self, child: Child) -> None:
        deadline = time.monotonic() + self.start_limit_s
        while not self.answers():
            if child.returncode is not None:
                raise ServerNotStarted(self._failure(f"it ended with {child.returncode}"))
            if time.monotonic() > deadline:
                raise ServerNotStarted(self._failure(f"no answer within {self.start_limit_s:g} s"))
            time.sleep(POLL_S)

    def _failure(self, what: str) -> str:
        return f"{self.name} did not start on {self.address}: {what}\n{self.log_tail()}".rstrip()
