"""Free ports on the loopback interface."""

import random
import socket
from collections import deque

LOOPBACK = "127.0.0.1"
# Below the ephemeral ports of Linux and macOS: a client that retries while its server restarts
# could get the server's port as its own and connect to itself.
FIRST_PORT, LAST_PORT = 20_000, 32_000
ATTEMPTS = 100
#: The latest ports that this process chose: their servers may not listen yet.
_chosen: deque[int] = deque(maxlen=1_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 without a listener, which this process did not choose lately."""
    for _ in range(ATTEMPTS):
        # At random, so that two stacks that start together choose different ports.
        port = random.randint(FIRST_PORT, LAST_PORT)
        if port not in _chosen and can_listen(LOOPBACK, port):
            _chosen.append(port)
            return port
    raise OSError(f"no free port found between {FIRST_PORT} and {LAST_PORT}")


def can_listen(host: str, port: int) -> bool:
    """Return whether *port* of *host* is free to listen on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that closing connections of an earlier server do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def accepts_connections(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Return whether *port* of *host* accepts a connection."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True
