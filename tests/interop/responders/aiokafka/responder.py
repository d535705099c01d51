"""aiokafka: copies id and key of each request to its reply."""

import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

TOPICS = [f"aiokafka.{case}" for case in ("text", "status", "error", "nothing", "copy")]


async def main() -> None:
    """Reply to each request."""
    brokers = os.environ["BOOTSTRAP"]
    producer = AIOKafkaProducer(bootstrap_servers=brokers)
    consumer = AIOKafkaConsumer(*TOPICS, bootstrap_servers=brokers, group_id="aiokafka")
    await producer.start()
    await consumer.start()
    async for request in consumer:
        headers = dict(request.headers)
        reply = [("correlation-id", headers["correlation-id"]), ("content-type", b"text/plain")]
        value = request.value.decode().upper().encode()
        match request.topic:
            case "aiokafka.status":
                reply.append(("status", b"201"))
            case "aiokafka.error":
                reply.append(("status", b"422"))
            case "aiokafka.nothing":
                value = None
            case "aiokafka.copy":
                reply = [*request.headers, *reply]
        topic = headers["reply-topic"].decode()
        await producer.send(topic, value, headers=reply, key=request.key)


asyncio.run(main())
