"""
An echo responder with aiokafka: the loop of its documentation.

    BOOTSTRAP=host:port TOPIC=... GROUP=... python aio_responder.py
"""

import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main() -> None:
    """Reply until killed."""
    broker = os.environ["BOOTSTRAP"]
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    consumer = AIOKafkaConsumer(
        os.environ["TOPIC"], bootstrap_servers=broker, group_id=os.environ["GROUP"]
    )
    await producer.start()
    await consumer.start()
    async for record in consumer:
        headers = dict(record.headers)
        await producer.send(
            headers["kafka_replyTopic"].decode(),
            record.value,
            headers=[("kafka_correlationId", headers["kafka_correlationId"])],
        )


asyncio.run(main())
