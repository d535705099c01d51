"""The running servers and processes, and how to stop them in order."""

import signal
import time
from collections.abc import Iterable

from tools.devstack.console import Console
from tools.devstack.process.child import Child
from tools.devstack.process.server import Server

WEB = "web"
#: Time to stop for the gateway, then the other processes, then the servers; with killing 10 s.
WEB_GRACE_S, PROCESSES_GRACE_S, SERVERS_GRACE_S = 5.0, 2.5, 1.5


class EndedByItself(Exception):
    """Raised with the process or server that ended, and how."""


class Stack:
    """Running servers and processes, stopped in order."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.servers: list[Server] = []
        self.processes: dict[str, Child] = {}

    def start_server(self, server: Server) -> None:
        """Print and start *server*."""
        self._console.print(f"starting {server.name} on {server.address} ...")
        # Before its start, so that stop() also covers an interrupted start.
        self.servers.append(server)
        server.start()

    def check(self) -> None:
        """
        Check that everything is running.

        Raises:
            EndedByItself: for the first process or server that is not.
        """
        for name, process in self.processes.items():
            if process.returncode is not None:
                raise EndedByItself(f"{name} ended by itself: {_how(process.returncode)}")
        for server in self.servers:
            if server.returncode is not None:
                reason = f"{server.name} ended by itself: {_how(server.returncode)}"
                raise EndedByItself(f"{reason}\n{server.log_tail()}".rstrip())

    def stop(self) -> None:
        """Stop the gateway, then the other processes, then the servers."""
        # The gateway first, so that pending requests still get their replies.
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
        """Kill everything without waiting; a running stop() then returns soon."""
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
