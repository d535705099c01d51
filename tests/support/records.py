"""Reads all records of a topic of a deployment."""

from typing import Any

from kafka import KafkaConsumer, TopicPartition

from tests.support.deployment import Deployment
from tools.devstack.waiting import wait_until

READ_LIMIT_S = 30.0


def records_of(deployment: Deployment, topic: str) -> list[Any]:
    """Return all records of *topic*, named without its prefix."""
    settings = deployment.settings
    consumer = KafkaConsumer(**settings.kafka_connection(), fetch_max_wait_ms=5)
    try:
        name = settings.prefixed(topic)
        partitions = [TopicPartition(name, n) for n in consumer.partitions_for_topic(name)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []

        def is_read() -> bool:
            batch = consumer.poll(timeout_ms=100)
            found.extend(record for records in batch.values() for record in records)
            # An empty poll as well: in the embedded broker's metadata a batch ends after its
            # first record.
            return not batch and all(consumer.position(p) >= end for p, end in ends.items())

        assert wait_until(is_read, READ_LIMIT_S)
        return found
    finally:
        consumer.close()


def correlation_ids(deployment: Deployment, topic: str) -> list[str]:
    """Return the correlation id of every record of *topic*."""
    records = records_of(deployment, topic)
    return [dict(record.headers)["correlation-id"].decode() for record in records]
