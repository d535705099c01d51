"""What is in a topic, read from its start."""

from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from devstack.waiting import wait_until

LIMIT_S = 30.0


def all_records(connection: Mapping[str, Any], topic: str) -> list[Any]:
    """Return every record that *topic* has now."""
    consumer = KafkaConsumer(**connection, auto_offset_reset="earliest", fetch_max_wait_ms=5)
    try:
        partitions = [
            TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)
        ]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []

        def is_read() -> bool:
            for records in consumer.poll(100).values():
                found.extend(records)
            return all(consumer.position(partition) >= ends[partition] for partition in partitions)

        assert wait_until(is_read, LIMIT_S)
        return found
    finally:
        consumer.close()


def correlation_ids(connection: Mapping[str, Any], topic: str) -> list[str]:
    """Return the correlation id of every record of *topic*."""
    return [
        dict(record.headers)["correlation-id"].decode() for record in all_records(connection, topic)
    ]
