"""A Service B without our code: it sees the records as they are and replies what a test wants."""

import threading
from collections.abc import Callable
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer

from tests.support.deployment import Deployment
from tools.devstack.waiting import wait_until

Headers = list[tuple[str, bytes]]


def correlation_id(record: Any) -> bytes:
    """Return the id under which *record* waits for its reply."""
    return bytes(dict(record.headers)["correlation-id"])


class NameNotUtf8(str):
    """A header name that no text encoding yields: what a client in another language may send."""

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


class ScriptedResponder:
    """
    Consumes *topic* and calls *script* with itself and each record.

    Args:
        connection: arguments that every kafka-python client takes.
        reply_topic: where reply() publishes to.
    """

    @classmethod
    def of(cls, deployment: Deployment, topic: str, script: "Script") -> Self:
        """Return one for *topic* of *deployment*, without its prefix."""
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
            topic,
            **connection,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=fetch_max_wait_ms,
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

    def reply(self, value: bytes | None, headers: Headers) -> None:
        """Publish one reply record and wait until the broker has it."""
        future = self.producer.send(self._reply_topic, value, key=b"k", headers=headers)
        future.get(timeout=20)

    def seen(self, count: int) -> list[Any]:
        """Return the records once there are *count* of them."""
        assert wait_until(lambda: len(self.records) >= count, 20)
        return self.records

    def _run(self) -> None:
        while not self._stop.is_set():
            for records in self._consumer.poll(timeout_ms=100).values():
                for record in records:
                    self.records.append(record)
                    self._script(self, record)


#: What it does with itself and each record.
Script = Callable[[ScriptedResponder, Any], None]
