"""Connections without requests, and more connections than requests."""

from tools.attack.attacks.wire import Target, hold, pace

GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


async def nothing(target: Target, number: int) -> None:
    """Send one request a second: the control, which shows what the machine itself changes."""

    async def one(_: int) -> None:
        await target.get("/livez")

    await hold(target, number, one)


async def silent(target: Target, number: int) -> None:
    """Connect and say nothing."""

    async def one(_: int) -> None:
        with await target.connect() as connection:
            await connection.wait_until_closed()

    await hold(target, number, one)


async def storm(target: Target, number: int) -> None:
    """Open connections; close each after one request, or reset it at once."""

    async def one(which: int) -> None:
        with await target.connect() as connection:
            kind = which % 3
            if kind > 0:
                await connection.send(GET)
            if kind == 1:
                await connection.receive()
            connection.reset()

    await pace(target, number, one)
