"""Raw connections of attackers, and how attackers are paced."""

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

from tools.devstack.ports import LOOPBACK

#: Time for a response before an attacker gives up, in seconds.
PATIENCE_S = 10.0
#: Pause before an attacker replaces a connection that was closed, in seconds.
REPLACE_PAUSE_S = 1.0
#: New connections per second of one process that holds connections.
NEW_PER_S = 250.0
#: Maximum number of connections of a paced attack.
MAX_PENDING = 1_000
READ_BYTES = 65_536
#: What a client meets when the server refuses, resets or stays silent.
BROKEN = (OSError, TimeoutError)


class Connection:
    """A connection whose bytes are written and read as they are."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    async def send(self, data: bytes) -> None:
        """Send *data* completely."""
        await self._loop.sock_sendall(self._raw, data)

    async def receive(self, limit_s: float = PATIENCE_S) -> bytes:
        """Return the next bytes; empty when the server has closed the connection."""
        async with asyncio.timeout(limit_s):
            return await self._loop.sock_recv(self._raw, READ_BYTES)

    async def receive_all(self, limit_s: float = PATIENCE_S) -> bytes:
        """Return all bytes until the server closes the connection, or those of *limit_s*."""
        received = b""
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(limit_s):
                while part := await self.receive(limit_s):
                    received += part
        return received

    async def wait_until_closed(self) -> None:
        """Read and discard until the server closes the connection."""
        while await self._loop.sock_recv(self._raw, READ_BYTES):
            pass

    def half_close(self) -> None:
        """End the sending side."""
        self._raw.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._raw.close()


class Target:
    """
    The gateway under attack, as one attacker process sees it.

    Args:
        port: of the gateway on the loopback interface.
        source: own loopback address, so that honest clients keep their ports.
    """

    def __init__(self, port: int, source: str = LOOPBACK) -> None:
        self._port = port
        self._source = source
        #: What happened, for the report.
        self.counts: Counter[str] = Counter()

    async def connect(self, receive_buffer_bytes: int = 0) -> Connection:
        """Return a new connection."""
        raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer_bytes:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            raw.bind((self._source, 0))
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().sock_connect(raw, (LOOPBACK, self._port))
        except BaseException:
            raw.close()
            raise
        return Connection(raw)

    async def get(self, path: str) -> bytes:
        """Return the body of ``GET path``."""
        with await self.connect() as connection:
            await connection.send(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            return (await connection.receive_all()).partition(b"\r\n\r\n")[2]


#: One attacking connection; its argument is its number.
Attempt = Callable[[int], Awaitable[Any]]


class Turns:
    """Spaces new connections evenly: a pause for each, in the order of the calls."""

    def __init__(self, per_s: float) -> None:
        self._pause_s = 1 / per_s
        self._next_s = 0.0

    async def wait(self) -> None:
        """Wait for the next turn."""
        now_s = time.monotonic()
        self._next_s = max(now_s, self._next_s + self._pause_s)
        await asyncio.sleep(self._next_s - now_s)


async def hold(target: Target, number: int, attempt: Attempt, new_per_s: float = NEW_PER_S) -> None:
    """Keep *number* connections that run *attempt*; replace each that ends after a pause."""
    turns = Turns(new_per_s)

    async def one(which: int) -> None:
        while True:
            await turns.wait()
            await counted(target, attempt, which)
            await asyncio.sleep(REPLACE_PAUSE_S)

    async with asyncio.TaskGroup() as tasks:
        for which in range(number):
            tasks.create_task(one(which))


async def pace(target: Target, per_s: float, attempt: Attempt) -> None:
    """Start *attempt* *per_s* times a second, at most MAX_PENDING at a time."""
    pending: set[asyncio.Task[None]] = set()
    began_s, which = time.monotonic(), 0
    while True:
        if len(pending) < MAX_PENDING:
            task = asyncio.create_task(counted(target, attempt, which))
            pending.add(task)
            task.add_done_callback(pending.discard)
            which += 1
        else:  # lost time is not made up
            began_s, which = time.monotonic(), 0
        await asyncio.sleep(max(0.0, began_s + which / per_s - time.monotonic()))


async def trickle(connection: Connection, data: bytes, bytes_per_s: float) -> None:
    """Send *data* one byte per packet."""
    for byte in data:
        await connection.send(bytes([byte]))
        await asyncio.sleep(1 / bytes_per_s)


async def counted(target: Target, attempt: Attempt, which: int) -> None:
    """Run *attempt* and count how it ended."""
    target.counts["attempts"] += 1
    try:
        await attempt(which)
    except BROKEN as error:
        target.counts[type(error).__name__] += 1
