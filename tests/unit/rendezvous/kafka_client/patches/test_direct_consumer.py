"""A consumer whose I/O runs on the thread that polls it, without a broker."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.default_records import DefaultRecordBatch

from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.kafka_client.patches.bounded_batches import MAX_POLL_BYTES
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from rendezvous.kafka_client.patches.direct_consumer import RECORDS_PER_CHECK, UndecodableRecord
from tests.fakes import raising

P0 = TopicPartition("replies", 0)
TIMEOUT_MS = 50
#: As many records as fetched_records() returns at once while there are more.
PART = list(range(RECORDS_PER_CHECK))


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


def test_a_new_consumer_knows_no_topic_ids(new_consumer):
    assert new_consumer(PatchedConsumer).topic_id("replies") is None


@pytest.fixture
def reading(new_consumer) -> Any:
    """A consumer that has fetched the records 0, 1 and 2, of which none was read."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=0, batch_size=10_000)
    for n in range(3):
        builder.append(timestamp=1, key=None, value=b"%d" % n, headers=[])
    builder.close()
    consumer = new_consumer(PatchedConsumer)
    consumer.assign([P0])
    consumer.seek(P0, 0)
    fetcher = consumer._fetcher
    records = MemoryRecords(bytes(builder.buffer()))
    fetcher._next_partition_records = fetcher.PartitionRecords(0, P0, records)
    return consumer


def offsets(batch: Any) -> list[int]:
    return [record.offset for records in batch.values() for record in records]


def test_an_error_of_a_record_names_its_partition_after_the_records_before_it(reading, monkeypatch):
    left, decode = [0, 1], DefaultRecordBatch._read_msg

    def decode_two(batch, *args, **kwargs):
        left.pop()  # an IndexError for the third, as for a record that is cut off
        return decode(batch, *args, **kwargs)

    monkeypatch.setattr(DefaultRecordBatch, "_read_msg", decode_two)

    assert offsets(reading.poll(TIMEOUT_MS)) == [0, 1]
    with pytest.raises(UndecodableRecord) as raised:
        reading.poll(TIMEOUT_MS)
    assert raised.value.partition == P0
    assert isinstance(raised.value.error, kafka_errors.CorruptRecordError)
    assert reading.known_position(P0) == 2


@pytest.mark.parametrize("read", [1, 3], ids=["some records are left", "all were read"])
def test_an_error_that_is_not_about_a_record_skips_none(reading, monkeypatch, read):
    consumer = ResilientConsumer(reading)
    reading.poll(TIMEOUT_MS, max_records=read)
    monkeypatch.setattr(reading._coordinator, "poll", raising(OSError("too many open files")))

    with pytest.raises(OSError, match="too many open files"):
        consumer.poll(TIMEOUT_MS)
    assert reading.known_position(P0) == read
    assert consumer.undecodable == 0


@pytest.fixture
def scripted(new_consumer, monkeypatch) -> tuple[Any, list[Any], Any]:
    """A fetcher, what its next fetched_records() return or raise, and the limits of its polls."""
    fetcher = new_consumer(PatchedConsumer)._fetcher
    script: list[Any] = []
    limits = fetcher.fetch_records.args[1]

    def fetched_records(*args, **kwargs):
        found = script.pop(0) if script else {}
        if isinstance(found, Exception):
            raise found
        limits.polled_bytes += MAX_POLL_BYTES // 2
        return found, True

    monkeypatch.setattr(fetcher, "fetched_records", fetched_records)
    return fetcher, script, limits


def test_a_poll_ends_when_enough_bytes_were_decompressed(scripted):
    fetcher, script, _ = scripted
    script += [{P0: PART}, {P0: PART}, {P0: PART}, {P0: [1]}]

    assert fetcher.fetch_records(timeout_ms=TIMEOUT_MS) == ({P0: PART + PART}, False)
    assert fetcher.fetch_records(timeout_ms=TIMEOUT_MS) == ({P0: [*PART, 1]}, False)


def test_an_error_behind_records_is_raised_by_the_next_poll(scripted):
    fetcher, script, _ = scripted
    records = Fetcher.PartitionRecords(0, P0, MemoryRecords(b""))
    fetcher._next_partition_records = records
    script += [{P0: PART}, ValueError("of a record"), ValueError("at once")]

    assert fetcher.fetch_records(timeout_ms=TIMEOUT_MS) == ({P0: PART}, False)
    with pytest.raises(ValueError, match="of a record"):
        records.take()
    with pytest.raises(UndecodableRecord, match="at once"):
        fetcher.fetch_records(timeout_ms=TIMEOUT_MS)
    fetcher._next_partition_records = None


def test_an_error_behind_records_that_is_not_about_one_is_left_to_the_next_fetch(scripted):
    fetcher, script, _ = scripted
    script += [{P0: PART}, ValueError("of no record")]

    assert fetcher.fetch_records(timeout_ms=TIMEOUT_MS) == ({P0: PART}, False)
    assert fetcher.fetch_records(timeout_ms=TIMEOUT_MS) == ({}, False)
