"""
FastStream subscribers, as its documentation has them.

    BOOTSTRAP=host:port python responder.py [confluent]
"""

import asyncio
import os
import sys
from typing import Any

from faststream import ExceptionMiddleware, FastStream
from pydantic import BaseModel

if "confluent" in sys.argv:
    from faststream.confluent import KafkaBroker, KafkaResponse

    PREFIX = "faststreamconfluent"
else:
    from faststream.kafka import KafkaBroker, KafkaResponse

    PREFIX = "faststream"

broker = KafkaBroker(os.environ["BOOTSTRAP"])
app = FastStream(broker)


class Greeting(BaseModel):
    name: str


class OutOfStock(Exception):
    pass


def subscriber(name: str, **options: Any) -> Any:
    return broker.subscriber(f"{PREFIX}.{name}", group_id=f"{PREFIX}-cases", **options)


@subscriber("dict")
async def a_dict(message: dict[str, Any]) -> dict[str, Any]:
    return {"hello": message["name"]}


@subscriber("model")
async def a_model(message: Greeting) -> Greeting:
    return Greeting(name=message.name.upper())


@subscriber("str")
async def a_str(message: str) -> str:
    return message.upper()


@subscriber("bytes")
async def some_bytes(message: bytes) -> bytes:
    return message


@subscriber("int")
async def an_int(message: int) -> int:
    return message + 1


@subscriber("none")
async def nothing(message: Any) -> None:
    return None


@subscriber("raises")
async def raises(message: Any) -> str:
    raise ValueError("no stock")


@subscriber("response")
async def a_response(message: Any) -> KafkaResponse:
    return KafkaResponse(
        {"why": "no stock"}, headers={"status": "422", "x-custom": "a value"}, key=b"k"
    )


@subscriber("tombstone")
async def a_tombstone(message: Any) -> KafkaResponse:
    return KafkaResponse(None, key=b"k")


@subscriber("echo")
async def echo(message: Any) -> Any:
    return message


handling = ExceptionMiddleware()


@handling.add_handler(OutOfStock, publish=True)
def reported(error: OutOfStock) -> dict[str, Any]:
    return {"error": str(error)}


handled_broker = KafkaBroker(os.environ["BOOTSTRAP"], middlewares=[handling])


@handled_broker.subscriber(f"{PREFIX}.handled", group_id=f"{PREFIX}-cases-handled")
async def handled(message: Any) -> str:
    raise OutOfStock("no stock")


async def main() -> None:
    await handled_broker.start()
    try:
        await app.run()
    finally:
        await handled_broker.stop()


asyncio.run(main())
