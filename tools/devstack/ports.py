"""Free ports on the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the ephemeral ports of Linux and macOS: a client that retries while its server restarts
# could get the server's port as its own and connect to itself.
FIRST_PORT, LAST_PORT = 20_000, 32_000
ATTEMPTS = 100


def free_port() -> int:
    """Return a port of 127.0.0.1 without a listener."""
    for _ in range(ATTEMPTS):
        # At random, so that two stacks that start together choose different ports.
        port = random.randint(FIRST_PORT, LAST_PORT)
        if can_listen(LOOPBACK, port):
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
