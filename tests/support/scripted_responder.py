"""A responder that shares no code with the product, and runs a script of the test."""

import threading
from collections.abc import Callable
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer

from tests.support.deployment import Deployment
from tools.devstack.waiting import wait_until

Headers = list[tuple[str, bytes]]


def correlation_id(record: Any) -> bytes:
    """Return the correlation id of a request record."""
    return bytes(dict(record.headers)["correlation-id"])


def reply_partition(record: Any) -> int:
    """Return the partition that the waiting gateway reads, by a request record."""
    return int(dict(record.headers)["reply-partition"])


class NameNotUtf8(str):
    """A header name that is encoded as invalid UTF-8."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


class ScriptedResponder:
    """
    Consumes *topic* and calls *script* with itself and each record.

    Args:
        connection: arguments of every kafka-python client.
        reply_topic: the topic of reply().
    """

    @classmethod
    def of(cls, deployment: Deployment, topic: str, script: "Script") -> Self:
        """Return a responder to *topic* of *deployment*, named without its prefix."""
        settings = deployment.settings
        return cls(
            settings.kafka_connection(),
            settings.prefixed(topic),
            settings.prefixed(settings.reply_topic),
            script,
            settings.kafka_fetch_max_wait_ms,
        )

    def __init__(
        self,
        connection: dict[str, Any],
        topic: str,
        reply_topic: str,
        script: "Script",
        fetch_max_wait_ms: int,
    ) -> None:
        self.records: list[Any] = []
        self._reply_topic = reply_topic
        self._script = script
        self._stop = threading.Event()
        self.producer = KafkaProducer(**connection)
        self._consumer = KafkaConsumer(
            topic, **connection, auto_offset_reset="earliest", fetch_max_wait_ms=fetch_max_wait_ms
        )
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        self.producer.close()

    def reply(self, value: bytes | None, headers: Headers, partition: int | None = None) -> None:
        """Publish one reply record and wait for the acknowledgement."""
        future = self.producer.send(
            self._reply_topic, value, key=b"k", headers=headers, partition=partition
        )
        future.get(timeout=20)

    def seen(self, count: int) -> list[Any]:
        """Return the consumed records once there are *count* of them."""
        assert wait_until(lambda: len(self.records) >= count, 20)
        return self.records

    def _run(self) -> None:
        while not self._stop.is_set():
            for records in self._consumer.poll(timeout_ms=100).values():
                for record in records:
                    self.records.append(record)
                    self._script(self, record)


#: Handles one record.
Script = Callable[[ScriptedResponder, Any], None]
