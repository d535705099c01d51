"""A real gunicorn that serves the gateway, with an echo in place of Kafka and Redis."""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import start_process
from tools.devstack.waiting import wait_until

ENVIRONMENT = {
    "KAFKA_URL": "kafka://127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184",
    "REPLY_TIMEOUT_S": "5",
}
START_LIMIT_S = 30.0


class StandIn:
    """A running gunicorn with gunicorn.conf.py and the echo."""

    def __init__(self, child: Child, port: int, log: Path) -> None:
        self.child = child
        self.port = port
        self.log = log

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.port), timeout_s)

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def worker_pids(self) -> list[int]:
        """Return the process ids of all workers that were started, the oldest first."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.logged())]

    def signal_master(self, number: int) -> None:
        """Signal the master alone, as a supervisor does; Child.signal() is for all processes."""
        os.kill(self.child.pid, number)


@contextmanager
def standin(
    folder: Path, options: str = "", *, module: str = "tests.integration.standin_app", **env: str
) -> Iterator[StandIn]:
    """Run gunicorn for the ``app`` of *module*, with command line *options* and settings *env*."""
    port = free_port()
    log = folder / f"gunicorn-{port}.log"
    environment: Mapping[str, str] = ENVIRONMENT | {"PORT": str(port)} | env
    child = start_process(f"gunicorn {options} {module}:app", environment, log)
    server = StandIn(child, port, log)
    try:
        assert wait_until(lambda: _is_alive(server), START_LIMIT_S), server.logged()
        yield server
    finally:
        child.stop(10)


def _is_alive(server: StandIn) -> bool:
    try:
        return send(server, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == "200"
    except OSError:
        return False


def send(server: StandIn, request: bytes, timeout_s: float = 10.0) -> str:
    """
    Send *request* over a new connection and return the outcome.

    That is the status, "empty" for a connection that closes without a response, or the name of an
    exception.
    """
    try:
        with server.connect(timeout_s) as connection:
            connection.sendall(request)
            response = read_to_end(connection)
    except OSError as error:
        return type(error).__name__
    return response[9:12].decode() if response.startswith(b"HTTP/1.1 ") else "empty"


def read_to_end(connection: socket.socket) -> bytes:
    """Return everything until the server closes."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def post(path: str, body: bytes = b"x", *headers: str) -> bytes:
    """Return a request with ``Connection: close``."""
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
