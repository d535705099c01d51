"""
A textbook responder: the consume-produce loop of the tutorials, with kafka-python's defaults.

    python -m tools.bench.programs.textbook_responder BROKER TOPIC GROUP [--flush]

The README of kafka-python iterates over a consumer, whose offsets are committed automatically, and
sends without waiting for the acknowledgement. That is the faster of the usual loops and the default
here. With --flush it waits for each acknowledgement, as many tutorials do.
"""

import sys
from typing import Any

from kafka import KafkaConsumer, KafkaProducer


def main() -> None:
    """Reply until killed."""
    broker, topic, group, *options = sys.argv[1:]
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker,
        group_id=group,
        auto_offset_reset="earliest",  # requests published before the start need replies too
    )
    producer = KafkaProducer(bootstrap_servers=broker)
    for record in consumer:
        reply(producer, record)
        if "--flush" in options:
            producer.flush()


def reply(producer: Any, record: Any) -> None:
    """Echo *record* to its reply topic."""
    headers = dict(record.headers)
    correlation_id = headers["correlation-id"]
    producer.send(
        headers["reply-topic"].decode(),
        record.value,
        key=correlation_id,
        headers=[("correlation-id", correlation_id)],
    )


if __name__ == "__main__":
    main()
