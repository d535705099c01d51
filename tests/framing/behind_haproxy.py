"""
Streams through haproxy, which sends them on over connections that all clients share.

After each stream a victim sends a request of its own over such a connection: if the gateway and
haproxy disagreed about the end of a request, a victim would get the response to another one.
"""

import contextlib
import http.client
import os
import shutil
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.framing.streams import stream
from tools.devstack.ports import LOOPBACK, accepts_connections, free_port
from tools.devstack.process.child import Child
from tools.devstack.waiting import wait_until

ROOT = Path(__file__).parents[2]
#: Clients that send streams, each with a victim.
CLIENTS = 6
#: Victims that send requests all the time.
BUSY_VICTIMS = 2
#: Maximum time to wait for the responses to a stream, in seconds.
STREAM_LIMIT_S = 0.3
CONFIGURATION = """
defaults
    mode http
    timeout connect 2s
    timeout client 2s
    timeout server 5s
    timeout http-request 1s
    http-reuse always

frontend clients
    bind {host}:{front}
    default_backend gateway

backend gateway
    server g {host}:{gateway} maxconn 8 pool-max-conn 4
"""


class NotAvailable(Exception):
    """Raised when haproxy is not installed."""


@contextmanager
def haproxy_and_gateway(folder: Path) -> Iterator[int]:
    """Run the gateway's worker with an echo application behind haproxy; yield haproxy's port."""
    if shutil.which("haproxy") is None:
        raise NotAvailable
    gateway, front = free_port(), free_port()
    file = folder / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(host=LOOPBACK, front=front, gateway=gateway))
    settings = ["-c", "python:tests.framing.echo_server", "-b", f"{LOOPBACK}:{gateway}"]
    commands = [
        [sys.executable, "-m", "gunicorn", *settings],
        ["haproxy", "-db", "-f", str(file)],
    ]
    env = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
    with contextlib.ExitStack() as stack:
        for number, argv in enumerate(commands):
            log = folder / f"process-{number}.log"
            child = Child.start(argv, env=env, cwd=ROOT, output=log)
            stack.callback(child.stop)
        for port in (gateway, front):
            assert wait_until(partial(accepts_connections, LOOPBACK, port), 20), folder
        yield front


class Victims:
    """Clients whose responses must be their own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._sent = 0
        self.seen: Counter[str] = Counter()
        #: Requests that got the response of another one.
        self.wrong: list[str] = []

    def send(self, connection: http.client.HTTPConnection, after: str) -> None:
        """Send one request with a token of its own, and check the response."""
        with self._lock:
            self._sent += 1
            number = self._sent
        method, body = ("POST", f"body-{number}") if number % 2 else ("GET", None)
        target = f"/victim/{number}"
        try:
            connection.request(method, target, body)
            response = connection.getresponse()
            found = response.read().decode("latin-1")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.seen[type(error).__name__] += 1
            return
        self.seen[str(response.status)] += 1
        if response.status == 200 and found != f"{method} {target} {body or ''}":
            self.wrong.append(f"{method} {target} after {after} got {found!r}")

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection to haproxy."""
        return http.client.HTTPConnection(LOOPBACK, self._port, timeout=10)


def attack(port: int, seed: int) -> int:
    """Send the stream of *seed*; return the number of responses from the application."""
    received = b""
    with (
        socket.create_connection((LOOPBACK, port), timeout=STREAM_LIMIT_S) as client,
        contextlib.suppress(OSError),
    ):
        client.sendall(stream(seed).sent)
        client.shutdown(socket.SHUT_WR)
        while part := client.recv(65_536):
            received += part
    return received.count(b"HTTP/1.1 200 ") + received.count(b"HTTP/1.0 200 ")


def through_haproxy(port: int, streams: int, first_seed: int) -> tuple[Victims, int]:
    """Send *streams*; return the victims, and the number of other requests served."""
    victims = Victims(port)
    done = threading.Event()

    def attack_all(offset: int) -> int:
        own, served = victims.connect(), 0
        for seed in range(first_seed + offset, first_seed + streams, CLIENTS):
            served += attack(port, seed)
            victims.send(own, f"seed {seed}")
        own.close()
        return served

    def be_busy() -> None:
        own = victims.connect()
        while not done.is_set():
            victims.send(own, "others")
            done.wait(0.005)
        own.close()

    with ThreadPoolExecutor(CLIENTS + BUSY_VICTIMS) as pool:
        busy = [pool.submit(be_busy) for _ in range(BUSY_VICTIMS)]
        try:
            served = sum(pool.map(attack_all, range(CLIENTS)))
        finally:
            done.set()
        for each in busy:
            each.result()
    return victims, served
