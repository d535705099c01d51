"""confluent-kafka (librdkafka): copies id and key of each request to its reply."""

import os
from typing import Any

from confluent_kafka import Consumer, Producer

brokers = os.environ["BOOTSTRAP"]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "confluent"})
producer = Producer({"bootstrap.servers": brokers})


def reply_to(request: Any) -> None:
    """Publish the reply to *request*."""
    headers = dict(request.headers())
    reply = [("correlation-id", headers["correlation-id"]), ("content-type", b"text/plain")]
    value = request.value().upper()
    match request.topic():
        case "confluent.status":
            reply.append(("status", b"201"))
        case "confluent.error":
            reply.append(("status", b"422"))
        case "confluent.nothing":
            value = None
    topic = headers["reply-topic"].decode()
    producer.produce(topic, value, key=request.key(), headers=reply)


consumer.subscribe(["confluent.text", "confluent.status", "confluent.error", "confluent.nothing"])
while True:
    request = consumer.poll(1.0)
    if request is not None and request.error() is None:
        reply_to(request)
    producer.poll(0)
