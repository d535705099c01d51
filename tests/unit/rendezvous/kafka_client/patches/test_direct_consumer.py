"""A consumer whose I/O runs on the thread that polls it, without a broker."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from rendezvous.kafka_client.patches.consumer import PatchedConsumer

P0 = TopicPartition("replies", 0)
TIMEOUT_MS = 50


@pytest.fixture
def new_consumer() -> Iterator[Callable[[type], Any]]:
    built: list[Any] = []

    def build(client: type) -> Any:
        # Port 1 refuses; with a version none is requested.
        built.append(client(bootstrap_servers="127.0.0.1:1", api_version=(4, 0)))
        return built[-1]

    yield build
    for consumer in built:
        consumer.close(autocommit=False, timeout_ms=0)


@pytest.mark.parametrize(("client", "is_found"), [(KafkaConsumer, False), (PatchedConsumer, True)])
def test_an_answered_fetch_is_not_overlooked(new_consumer, monkeypatch, client, is_found):
    fetcher = new_consumer(client)._fetcher
    calls = 0

    def fetched_records(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 1:
            # Answered after the first check for records, before the next fetch is sent.
            fetcher._completed_fetches.append(SimpleNamespace(topic_partition=P0))
            return {}, False
        fetcher._completed_fetches.clear()
        return {P0: ["a record"]}, False

    monkeypatch.setattr(fetcher, "fetched_records", fetched_records)
    records, _ = fetcher.fetch_records(timeout_ms=TIMEOUT_MS)
    fetcher._completed_fetches.clear()

    # When the plain client finds it too, the patch is not needed any more.
    assert bool(records) == is_found


def test_a_patched_consumer_has_no_thread(new_consumer):
    before = set(threading.enumerate())
    consumer = new_consumer(PatchedConsumer)
    consumer.assign([P0])

    assert consumer.poll(timeout_ms=TIMEOUT_MS) == {}
    assert set(threading.enumerate()) == before


def test_a_new_consumer_has_no_held_partition_and_no_topic_ids(new_consumer):
    consumer = new_consumer(PatchedConsumer)

    assert consumer.held_partition() is None
    assert consumer.topic_id("replies") is None
