"""
The floor on librdkafka, to compare the client libraries.

    python -m tools.bench.load.floor_librdkafka BROKER TOPIC REPLY_TOPIC ...   see floor
"""

from collections.abc import Iterable
from typing import cast

from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from tools.bench.load.floor import POLL_MS, Header, main

METADATA_LIMIT_S = 10.0


class LibrdkafkaWire:
    """The clients of librdkafka, configured for low latency."""

    def __init__(self, broker: str, topic: str, reply_topic: str, fetch_max_wait_ms: int) -> None:
        self._topic = topic
        common = {"bootstrap.servers": broker, "socket.nagle.disable": True}
        # Its default linger is 5 ms; that of kafka-python is 0.
        self._producer = Producer(common | {"linger.ms": 0})
        self._consumer = Consumer(
            common
            | {
                "group.id": f"{reply_topic}-floor",  # required, never joined
                "enable.auto.commit": False,
                "fetch.wait.max.ms": fetch_max_wait_ms,
            }
        )
        known = self._consumer.list_topics(reply_topic, timeout=METADATA_LIMIT_S)
        numbers = known.topics[reply_topic].partitions
        self._consumer.assign([TopicPartition(reply_topic, n, OFFSET_END) for n in numbers])
        # Resolve the end of the partitions before the first reply is published.
        self._consumer.poll(1.0)

    def send(self, correlation_id: bytes, body: bytes, headers: list[Header]) -> None:
        self._producer.produce(self._topic, body, correlation_id, headers=[*headers])

    def poll(self) -> Iterable[bytes]:
        self._producer.poll(0)  # drains the bounded queue of delivery reports
        message = self._consumer.poll(POLL_MS / 1e3)
        while message is not None:
            if message.error() is None:
                yield cast(bytes, dict(message.headers() or ())["correlation-id"])
            message = self._consumer.poll(0)

    def close(self) -> None:
        self._producer.flush(5)
        self._consumer.close()


if __name__ == "__main__":
    main(LibrdkafkaWire)
