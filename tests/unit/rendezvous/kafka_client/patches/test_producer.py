"""The patched producer, without a broker."""

from collections.abc import Iterator

import pytest
from kafka import errors as kafka_errors

from rendezvous.kafka_client.patches.producer import PatchedProducer
from rendezvous.kafka_client.producer import REFUSALS
from tests.fakes import eventually, raising


@pytest.fixture
def linger_ms() -> list[float]:
    return [0.0]


@pytest.fixture
def producer(linger_ms: list[float]) -> Iterator[PatchedProducer]:
    producer = PatchedProducer(
        REFUSALS,
        lambda: linger_ms[0],
        bootstrap_servers="127.0.0.1:1",
        api_version=(4, 0),  # else the constructor would request it from a broker
    )
    yield producer
    producer._sender.force_close()
    producer._sender.join(10)


def test_the_linger_is_read_before_each_decision_to_send(producer, linger_ms):
    read = []
    for linger_ms[0] in (0.0, 7.5, 0.0):
        producer._accumulator.ready(producer._metadata)
        read.append(producer._accumulator.config["linger_ms"])

    assert read == [0.0, 7.5, 0.0]


def test_without_a_broker_nothing_is_offered_and_nothing_is_fatal(producer):
    assert producer.has_offered_nothing()
    assert not producer.has_fatal_error()


def test_closing_ends_the_thread_when_records_are_left(producer, monkeypatch):
    monkeypatch.setattr(
        producer, "flush", raising(kafka_errors.KafkaTimeoutError("records are left"))
    )
    with pytest.raises(kafka_errors.KafkaTimeoutError):
        producer.close(timeout=0)

    eventually(lambda: not producer._sender.is_alive())
