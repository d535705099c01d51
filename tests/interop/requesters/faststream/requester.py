"""FastStream: requests whose replies a subscriber matches, as its documents on RPC show it."""

import asyncio
import os
import sys
from asyncio import Future, wait_for
from typing import Any
from uuid import uuid4

from faststream import FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

TIMEOUT_S = 10.0
REPLIES = "faststream.replies"

broker = KafkaBroker(os.environ["BOOTSTRAP"])
app = FastStream(broker)
pending: dict[str, Future[KafkaMessage]] = {}


@broker.subscriber(REPLIES)
async def take(body: Any, message: KafkaMessage) -> None:
    if future := pending.pop(message.correlation_id, None):
        future.set_result(message)


async def call(name: str, data: Any, topic: str) -> None:
    id_ = str(uuid4())
    pending[id_] = asyncio.get_running_loop().create_future()
    await broker.publish(data, topic, reply_to=REPLIES, correlation_id=id_)
    try:
        reply = await wait_for(pending[id_], TIMEOUT_S)
    except TimeoutError:
        report(name, "error", "no reply")
        return
    # It has no header for failures: the status is ours.
    outcome = "error" if int(reply.headers["status"]) >= 400 else "reply"
    report(name, outcome, repr(await reply.decode()))


def report(name: str, outcome: str, text: str) -> None:
    sys.stdout.write(f"call\t{name}\t{outcome}\t{text}\n")
    sys.stdout.flush()


@app.after_startup
async def run() -> None:
    await asyncio.sleep(3)  # until its subscriber has joined
    await call("object", {"a": 1}, "echo")
    await call("text", "hello", "echo")
    await call("bytes", b"\x00\xff", "echo")
    await call("order", {"item": "tea", "quantity": 2}, "orders")
    await call("order refused", {"item": ""}, "orders")
    app.exit()


asyncio.run(app.run())
