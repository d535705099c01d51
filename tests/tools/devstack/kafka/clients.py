"""Kafka clients for the tests."""

from typing import Any

from kafka import KafkaConsumer, TopicPartition

from tests.tools.devstack.support import LIMIT_S
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until


def connection(*brokers: Server) -> dict[str, Any]:
    return {"bootstrap_servers": [broker.address for broker in brokers]}


def values(kafka: dict[str, Any], topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(**kafka, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, 0)])
    found: list[bytes] = []

    def has_all() -> bool:
        for records in consumer.poll(100).values():
            found.extend(record.value for record in records)
        return len(found) >= count

    assert wait_until(has_all, LIMIT_S)
    consumer.close()
    return found
