"""A TCP proxy that can delay, drop, forget, reset or refuse connections."""

import asyncio
import enum
import math
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from tools.devstack.ports import LOOPBACK, free_port

T = TypeVar("T")

CHUNK_BYTES = 65_536
#: Maximum number of buffered chunks per direction; then the sender's window fills.
CHUNKS = 16
BACKLOG = 128
COMMAND_LIMIT_S = 10.0
#: Values of SO_LINGER: on for 0 s, which sends RST instead of FIN, and off.
RESET_AT_CLOSE, FINISH_AT_CLOSE = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)

#: Chunks with their due times by the clock of the loop; an empty chunk is the end.
Chunks = asyncio.Queue[tuple[float, bytes]]


class Direction(enum.Enum):
    """The two directions of a connection."""

    UPSTREAM = "from client to target"
    DOWNSTREAM = "from target to client"


class _Activity:
    """When a connection last forwarded data; it is forgotten for good after a long pause."""

    def __init__(self, now_s: float) -> None:
        self._last_s = now_s
        self._is_forgotten = False

    def is_forgotten(self, now_s: float, max_idle_s: float) -> bool:
        """Note data at *now_s*; return whether it is to be dropped."""
        self._is_forgotten |= now_s - self._last_s > max_idle_s
        self._last_s = now_s
        return self._is_forgotten


class TcpProxy:
    """
    Forwards connections to *target_port* of 127.0.0.1, in a thread of its own.

    A change of *target_port* applies to new connections, like a change of a DNS entry.

    A fault applies to existing and new connections from the return of its method until heal(). If
    the target refuses a connection, that of the client is reset.

    Args:
        port: to listen on; a free one by default.
        host: address to listen on.
    """

    def __init__(self, target_port: int, port: int | None = None, host: str = LOOPBACK) -> None:
        self.target_port = target_port
        self._host = host
        self.port = port or free_port()
        self._delay_s = 0.0
        self._max_idle_s = math.inf
        self._open = {direction: asyncio.Event() for direction in Direction}
        self._listener: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"tcp-proxy-{self.port}", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._do(self._heal())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(COMMAND_LIMIT_S)
        self._loop.close()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._connections)

    def delay(self, seconds: float) -> None:
        """Delay data by *seconds* in each direction from now on."""
        self._do(self._slow_down(seconds))

    def blackhole(self, upstream: bool = True, downstream: bool = True) -> None:
        """
        Accept connections and forward nothing, like a network partition; heal() resets them.

        Args:
            upstream, downstream: whether to cut this direction.
        """
        cut = {Direction.UPSTREAM: upstream, Direction.DOWNSTREAM: downstream}
        self._do(self._cut({direction for direction, is_cut in cut.items() if is_cut}))

    def forget_idle(self, max_idle_s: float) -> None:
        """
        Drop without a word what comes on connections that were idle for longer than *max_idle_s*.

        Neither end gets a FIN or RST, as from a load balancer whose table lost the entry.
        """
        self._do(self._forget_idle(max_idle_s))

    def reset(self) -> None:
        """Reset all existing connections; new ones work."""
        self._do(self._reset())

    def refuse(self) -> None:
        """Refuse new connections and reset existing ones."""
        self._do(self._stop())

    def heal(self) -> None:
        """End every fault."""
        self._do(self._heal())

    def _do(self, command: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(command, self._loop).result(COMMAND_LIMIT_S)

    # The following methods run in the thread of the loop.

    async def _stop(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _reset(self) -> None:
        cancelled = list(self._connections)
        for connection in cancelled:
            connection.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)

    async def _slow_down(self, delay_s: float) -> None:
        self._delay_s = delay_s

    async def _forget_idle(self, max_idle_s: float) -> None:
        self._max_idle_s = max_idle_s

    async def _cut(self, directions: set[Direction]) -> None:
        for direction in directions:
            self._open[direction].clear()

    async def _heal(self) -> None:
        self._delay_s = 0.0
        self._max_idle_s = math.inf
        if not all(event.is_set() for event in self._open.values()):
            # Before the directions open, so that no data from the partition arrives after it.
            await self._reset()
        for event in self._open.values():
            event.set()
        if self._listener is None:
            family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
            address = (self._host, self.port)
            self._listener = socket.create_server(address, family=family, backlog=BACKLOG)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:  # the client has closed already
            return
        _prepare(client)
        connection = self._loop.create_task(self._connect(client))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        # A task that is cancelled before its first step closes nothing.
        connection.add_done_callback(lambda _: client.close())

    async def _connect(self, client: socket.socket) -> None:
        target = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with client, target:
            _prepare(target)
            try:
                await self._open[Direction.UPSTREAM].wait()
                await self._loop.sock_connect(target, (LOOPBACK, self.target_port))
                await self._forward(client, target)
            except* OSError:
                pass  # both are closed below
            else:
                for end in (client, target):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FINISH_AT_CLOSE)

    async def _forward(self, client: socket.socket, target: socket.socket) -> None:
        """Return when both ends have closed."""
        activity = _Activity(self._loop.time())
        async with asyncio.TaskGroup() as tasks:
            for source, sink, direction in (
                (client, target, Direction.UPSTREAM),
                (target, client, Direction.DOWNSTREAM),
            ):
                chunks: Chunks = asyncio.Queue(CHUNKS)
                tasks.create_task(self._read(source, chunks))
                tasks.create_task(self._write(chunks, sink, direction, activity))

    async def _read(self, source: socket.socket, chunks: Chunks) -> None:
        data = None
        while data != b"":
            data = await self._loop.sock_recv(source, CHUNK_BYTES)
            await chunks.put((self._loop.time() + self._delay_s, data))

    async def _write(
        self, chunks: Chunks, sink: socket.socket, direction: Direction, activity: _Activity
    ) -> None:
        data = None
        while data != b"":
            due_s, data = await chunks.get()
            await asyncio.sleep(due_s - self._loop.time())
            await self._open[direction].wait()
            if activity.is_forgotten(self._loop.time(), self._max_idle_s):
                continue
            if data:
                await self._loop.sock_sendall(sink, data)
            else:
                sink.shutdown(socket.SHUT_WR)


def _prepare(end: socket.socket) -> None:
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # If the connection breaks, both ends see a reset.
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
