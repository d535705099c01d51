"""Requests that need threads, for a gateway that cannot have more."""

from tools.attack.attacks.wire import Target, hold

BODY = b'{"item": "x", "quantity": 1, "delay_s": 0.2}'
REQUEST = (
    b"POST /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


async def slow_orders(target: Target, number: int) -> None:
    """Place orders that take 0.2 s while no worker can start a thread."""

    async def one(_: int) -> None:
        with await target.connect() as connection:
            await connection.send(REQUEST)
            received = await connection.receive_all()
            target.counts[received[9:12].decode("latin-1") or "no response"] += 1

    await hold(target, number, one)
