"""Producers of three client libraries: kafka-python, librdkafka, and that of Java."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import confluent_kafka
import pytest
from kafka import KafkaProducer

from tests.support.brokers import in_ci
from tools.devstack.kafka.jars import kafka_jars

CODECS = ("gzip", "snappy", "lz4", "zstd")
SOURCE = Path(__file__).with_name("java") / "RecordProducer.java"
SEND_LIMIT_S = 20

Headers = Sequence[tuple[str, bytes]]


class Send(Protocol):
    """Sends a record, compressed by *codec*, and waits until it is acknowledged."""

    def __call__(self, codec: str, topic: str, value: bytes, headers: Headers) -> None: ...


@contextmanager
def kafka_python(address: str) -> Iterator[Send]:
    producers: dict[str, Any] = {}

    def send(codec: str, topic: str, value: bytes, headers: Headers) -> None:
        if codec not in producers:
            producers[codec] = KafkaProducer(bootstrap_servers=[address], compression_type=codec)
        sent = producers[codec].send(topic, value, key=b"key", headers=list(headers))
        sent.get(SEND_LIMIT_S)

    yield send
    for producer in producers.values():
        producer.close()


@contextmanager
def librdkafka(address: str) -> Iterator[Send]:
    producers: dict[str, Any] = {}

    def send(codec: str, topic: str, value: bytes, headers: Headers) -> None:
        if codec not in producers:
            options = {"bootstrap.servers": address, "compression.type": codec}
            producers[codec] = confluent_kafka.Producer(options)
        producers[codec].produce(topic, value, key=b"key", headers=list(headers))
        assert producers[codec].flush(SEND_LIMIT_S) == 0

    yield send


@contextmanager
def java(address: str) -> Iterator[Send]:
    """Compile and run RecordProducer; skip the test without a JDK."""
    if shutil.which("javac") is None:
        reason = "needs a JDK (javac), to compile a producer"
        pytest.fail(reason) if in_ci() else pytest.skip(reason)
    command = ["java", "-cp", f"{kafka_jars()}/*", str(SOURCE), address]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def send(codec: str, topic: str, value: bytes, headers: Headers) -> None:
            fields = ",".join(f"{name}={content.hex()}" for name, content in headers)
            print(topic, codec, value.hex(), fields, sep="\t", file=stdin, flush=True)
            assert stdout.readline() == "sent\n"

        yield send
        stdin.close()
        process.wait(SEND_LIMIT_S)


PRODUCERS = {"kafka-python": kafka_python, "librdkafka": librdkafka, "java": java}
