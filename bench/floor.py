"""
The floor: request and reply over the same broker and the same responder, no HTTP, no Redis.

One process, one producer, one consumer, *in_flight* requests under way at any time.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

TIMEOUT_S = 10.0
#: Short, as is the fetch: see MIN_POLL_MS in replies/consuming.py.
POLL_MS = 4


class Floor:
    """
    Requests and replies with nothing in between.

    Args:
        connection: arguments that every kafka-python client takes.
        topic, reply_topic: what the responder reads, and where it replies to.
    """

    def __init__(self, connection: Mapping[str, Any], topic: str, reply_topic: str) -> None:
        self._topic, self._reply_topic = topic, reply_topic
        self._producer = KafkaProducer(**connection)
        self._consumer = KafkaConsumer(**connection, fetch_max_wait_ms=20)
        numbers = self._consumer.partitions_for_topic(reply_topic) or ()
        self._consumer.assign([TopicPartition(reply_topic, number) for number in numbers])
        self._consumer.seek_to_end()
        self._consumer.poll(timeout_ms=500)

    def run(self, in_flight: int, body: bytes, duration_s: float) -> list[float]:
        """Keep *in_flight* requests under way for *duration_s*; return the latencies in s."""
        started: dict[bytes, float] = {}
        latencies: list[float] = []
        end_s = time.perf_counter() + duration_s
        for _ in range(in_flight):
            self._send(started, body)
        while started:
            for records in self._consumer.poll(timeout_ms=POLL_MS).values():
                for record in records:
                    begun_s = started.pop(dict(record.headers)["correlation-id"], None)
                    if begun_s is None:
                        continue
                    now_s = time.perf_counter()
                    latencies.append(now_s - begun_s)
                    if now_s < end_s:
                        self._send(started, body)
            if time.perf_counter() > end_s + TIMEOUT_S:
                break
        return latencies

    def close(self) -> None:
        """Close the clients."""
        self._producer.close(timeout=5)
        self._consumer.close()

    def _send(self, started: dict[bytes, float], body: bytes) -> None:
        correlation_id = secrets.token_hex(16).encode()
        headers = [
            ("correlation-id", correlation_id),
            ("reply-topic", self._reply_topic.encode()),
            ("deadline", b"%d" % ((time.time() + TIMEOUT_S) * 1000)),
        ]
        started[correlation_id] = time.perf_counter()
        self._producer.send(self._topic, body, key=correlation_id, headers=headers)
