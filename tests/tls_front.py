"""A port that speaks TLS in front of a server that does not, as the embedded Redis."""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path
from typing import Self

from devstack.ports import LOOPBACK, free_port

CHUNK_BYTES = 65_536
STOP_LIMIT_S = 10.0


class TlsFront:
    """
    Passes TLS connections on to *target_port* of 127.0.0.1, in a thread of its own.

    Args:
        keystore: a PEM file with the key and the certificates.
    """

    def __init__(self, target_port: int, keystore: Path) -> None:
        self.target_port = target_port
        self.port = free_port()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(keystore)
        self._stop = asyncio.Event()
        self._listening = threading.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), name="tls-front")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(STOP_LIMIT_S), "the port does not listen"
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_LIMIT_S)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accept, LOOPBACK, self.port, ssl=self._tls)
        self._listening.set()
        await self._stop.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(near, back))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection(LOOPBACK, self.target_port)
        try:
            await asyncio.gather(_pass_on(near, forth), _pass_on(far, back))
        finally:
            # At once, and to the end: what is left open when the loop closes is a warning later.
            for writer in (forth, back):
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError), contextlib.closing(sink):
        while data := await source.read(CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
