"""Free ports on the loopback interface."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the ports that Linux and macOS give to outgoing connections: in there, a client that
# retries while its server restarts can be given the server's port, and connects to itself.
FIRST_PORT, LAST_PORT = 20_000, 32_000
ATTEMPTS = 100


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    for _ in range(ATTEMPTS):
        # At random, so that two stacks that start at once do not choose the same one.
        port = random.randint(FIRST_PORT, LAST_PORT)
        if can_listen(LOOPBACK, port):
            return port
    raise OSError(f"no free port found between {FIRST_PORT} and {LAST_PORT}")


def can_listen(host: str, port: int) -> bool:
    """Say whether *port* of *host* can be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: the closing connections of a predecessor are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def accepts_connections(host: str, port: int, timeout_s: float = 1.0) -> bool:
    """Say whether somebody listens on *port* of *host*."""
    try:
        socket.create_connection((host, port), timeout_s).close()
    except OSError:
        return False
    return True
