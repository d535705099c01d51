"""Requests of one byte per packet."""

from tools.attack.attacks.wire import Connection, Target, hold, trickle

BYTES_PER_S = 50.0
HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
#: Sent at once before a trickled head, so that work per byte that grows with the head shows.
LARGE_PART = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 4_000) for n in range(8))
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = b"a" * 100_000


async def trickled_heads(target: Target, number: int) -> None:
    """Send heads one byte per packet, every second one behind 32 kB."""

    async def one(which: int) -> None:
        await _trickle(target, HEAD + (LARGE_PART if which % 2 else b""), b"X-A: " + ENDLESS)

    await hold(target, number, one)


async def trickled_chunks(target: Target, number: int) -> None:
    """Send chunk lines and trailers one byte per packet."""
    begins = (b"5;a=", b"1\r\na\r\n0\r\nX-A: ", b"3")

    async def one(which: int) -> None:
        await _trickle(target, CHUNKED + begins[which % len(begins)], ENDLESS)

    await hold(target, number, one)


async def _trickle(target: Target, begin: bytes, rest: bytes) -> None:
    with await target.connect() as connection:
        await connection.send(begin)
        await trickle(connection, rest, BYTES_PER_S)
        await _read(connection)


async def _read(connection: Connection) -> None:
    await connection.receive_all()
