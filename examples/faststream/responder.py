"""FastStream: subscribers that reply to the topic of the request's header."""

import asyncio
import os

from faststream import ExceptionMiddleware, FastStream
from faststream.kafka import KafkaBroker, KafkaResponse


class OutOfStock(Exception):
    """Raised by the handler that fails."""


failures = ExceptionMiddleware()
broker = KafkaBroker(os.environ["BOOTSTRAP"], middlewares=[failures])
app = FastStream(broker)


@broker.subscriber("faststream.text", group_id="faststream")
async def text(message: str) -> str:
    return message.upper()


@broker.subscriber("faststream.status", group_id="faststream")
async def status(message: str) -> KafkaResponse:
    return KafkaResponse(message.upper(), headers={"status": "201"})


@broker.subscriber("faststream.error", group_id="faststream")
async def error(message: str) -> str:
    raise OutOfStock("out of stock")


@failures.add_handler(OutOfStock, publish=True)
def report(failure: OutOfStock) -> KafkaResponse:
    return KafkaResponse({"error": str(failure)}, headers={"status": "422"})


@broker.subscriber("faststream.nothing", group_id="faststream")
async def nothing(message: str) -> None:
    return None


asyncio.run(app.run())
