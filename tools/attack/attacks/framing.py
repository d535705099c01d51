"""Malformed requests, and requests hidden behind broken framing."""

import re
from itertools import product

from tests.e2e.http.malformed_requests import REQUESTS, RawRequest
from tools.attack.attacks.wire import Target, pace

#: Time in which the number of requests of an attack is sent, in seconds.
PERIOD_S = 10.0
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
HIDDEN = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhidden"
BROKEN_BYTES = (b"\n", b"\r", b"\x00", b"\r\r", b"\n\n", b"\r\x00", b"\x00\n")
#: Bodies of chunks with a place for the broken bytes.
PLACES = (
    b"5;a=%sb\r\nhello\r\n0\r\n\r\n",
    b"5%s\r\nhello\r\n0\r\n\r\n",
    b'5;a="%s"\r\nhello\r\n0\r\n\r\n',
    b"5\r\nhello\r\n0;a=%sb\r\n\r\n",
    b"5\r\nhello%s\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-A: a%sb\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX%sA: b\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX-A: b%s\r\n\r\n",
)
#: Counts: a request behind a refusal, or behind a malformed request that got no refusal.
HIDDEN_SERVED, BROKEN_ACCEPTED = "served behind a refusal", "broken framing accepted"
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})")


def hidden_shapes() -> list[bytes]:
    """Return streams whose first request is malformed and is followed by another request."""
    return [POST + place % broken + HIDDEN for place, broken in product(PLACES, BROKEN_BYTES)]


def hidden_served(received: bytes) -> str:
    """Return what to count when *received* has a response behind the first one; else empty."""
    statuses = STATUS_LINE.findall(received)
    if len(statuses) < 2:
        return ""
    return HIDDEN_SERVED if statuses[0] >= b"400" else BROKEN_ACCEPTED


async def malformed(target: Target, number: int) -> None:
    """Send the malformed requests of the end-to-end tests, again and again."""
    shapes = list(REQUESTS.values())

    async def one(which: int) -> None:
        await _send(target, shapes[which % len(shapes)])

    await pace(target, number / PERIOD_S, one)


async def hidden(target: Target, number: int) -> None:
    """Hide a request behind bare LF, CR or NUL in chunks and trailers."""
    shapes = hidden_shapes()

    async def one(which: int) -> None:
        with await target.connect() as connection:
            await connection.send(shapes[which % len(shapes)])
            if found := hidden_served(await connection.receive_all()):
                target.counts[found] += 1

    await pace(target, number / PERIOD_S, one)


async def _send(target: Target, request: RawRequest) -> None:
    with await target.connect() as connection:
        await connection.send(request.sent)
        if request.ends == "leaves":
            return
        if request.ends == "half-closes":
            connection.half_close()
        await connection.receive_all()
