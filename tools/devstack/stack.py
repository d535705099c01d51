"""Everything that one start of the development stack has running, and how it ends."""

import signal
import time
from collections.abc import Iterable

from tools.devstack.console import Console
from tools.devstack.process.child import Child
from tools.devstack.process.server import Server

WEB = "web"
#: Time to end for the gateway, then for the other processes, then for the servers: 10 s with the
#: killing of those who do not.
WEB_GRACE_S, PROCESSES_GRACE_S, SERVERS_GRACE_S = 5.0, 2.5, 1.5


class PartEnded(Exception):
    """Raised when a process or server ended by itself, saying which and how."""


class Stack:
    """The servers and processes that run, stopped in order at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.servers: list[Server] = []
        self.processes: dict[str, Child] = {}

    def start_server(self, server: Server) -> None:
        """Start *server*, and say so."""
        self._console.say(f"starting {server.name} on {server.address} ...")
        # First, so that one that is interrupted while it starts is stopped too.
        self.servers.append(server)
        server.start()

    def check(self) -> None:
        """
        Return when everything still runs.

        Raises:
            PartEnded: naming the first one that does not.
        """
        for name, process in self.processes.items():
            if process.returncode is not None:
                raise PartEnded(f"{name} ended by itself: {_how(process.returncode)}")
        for server in self.servers:
            if server.returncode is not None:
                reason = f"{server.name} ended by itself: {_how(server.returncode)}"
                raise PartEnded(f"{reason}\n{server.log_tail()}".rstrip())

    def stop(self) -> None:
        """Stop the gateway, then the other processes, then the servers."""
        # No new request is taken while those under way still find their responder.
        web = [process for name, process in self.processes.items() if name == WEB]
        others = [process for name, process in self.processes.items() if name != WEB]
        _stop_together(web, WEB_GRACE_S)
        _stop_together(others, PROCESSES_GRACE_S)
        for server in self.servers:
            server.terminate()
            server.stop_grace_s = SERVERS_GRACE_S
        for server in self.servers:
            server.stop()

    def kill(self) -> None:
        """Kill everything and return at once; a stop() under way has nothing left to wait for."""
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        for server in self.servers:
            server.signal(signal.SIGKILL)


def _stop_together(processes: Iterable[Child], grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    for process in processes:
        process.terminate()
    for process in processes:
        process.stop(max(0.0, deadline - time.monotonic()))


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    return f"killed by {signal.Signals(-returncode).name}"
