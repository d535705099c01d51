"""confluent-kafka (librdkafka): copies id and key of each request to its reply."""

import os
from typing import Any

from confluent_kafka import Consumer, Producer

TOPICS = [f"python-confluent.{case}" for case in ("text", "status", "error", "nothing", "copy")]

brokers = os.environ["BOOTSTRAP"]
consumer = Consumer({"bootstrap.servers": brokers, "group.id": "python-confluent"})
producer = Producer({"bootstrap.servers": brokers})


def reply_to(request: Any) -> None:
    """Publish the reply to *request*."""
    headers = dict(request.headers())
    reply = [("correlation-id", headers["correlation-id"]), ("content-type", b"text/plain")]
    value = request.value().decode().upper().encode()
    match request.topic():
        case "python-confluent.status":
            reply.append(("status", b"201"))
        case "python-confluent.error":
            reply.append(("status", b"422"))
        case "python-confluent.nothing":
            value = None
        case "python-confluent.copy":  # to copy every header is harmless
            reply = [*request.headers(), *reply]
    topic = headers["reply-topic"].decode()
    producer.produce(topic, value, key=request.key(), headers=reply)


consumer.subscribe(TOPICS)
while True:
    request = consumer.poll(1.0)
    if request is not None and request.error() is None:
        reply_to(request)
    producer.poll(0)
