"""What is encoded quickly reads like what the library encodes."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.partitioner import Partitioner
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from rendezvous.kafka_client.patches import quick_producer
from rendezvous.kafka_client.patches.quick_producer import (
    FRAMING_BYTES,
    EncodedHeaders,
    FastBatchBuilder,
    FastProducer,
)

BATCH_BYTES = 4_000

sizes = st.one_of(st.integers(0, 300), st.sampled_from([63, 64, 4_095, 4_096, 8_191, 8_192]))
data = st.builds(lambda size, byte: bytes([byte]) * size, sizes, st.integers(0, 255))
headers = st.lists(st.tuples(st.text(max_size=80), data), max_size=20)
records = st.tuples(
    st.integers(-(10**6), 2**41),  # against the clock of the first
    st.none() | data,
    st.none() | data,
    headers,
)


def builder(cls: type[DefaultRecordBatchBuilder], compression: int = 0) -> Any:
    return cls(2, compression, False, 17, 3, 5, BATCH_BYTES)


@given(st.lists(records, max_size=12), st.sampled_from([0, 1]))
def test_a_batch_is_byte_for_byte_the_librarys(found: list[Any], compression: int):
    theirs = builder(DefaultRecordBatchBuilder, compression)
    ours = builder(FastBatchBuilder, compression)
    offset = 0
    for ms, key, value, named in found:
        expected = theirs.append(offset, 1_700_000_000_000 + ms, key, value, named)
        told = ours.append(offset, 1_700_000_000_000 + ms, key, value, EncodedHeaders(named))
        assert (told is None) == (expected is None)
        if expected is not None:
            assert (told.offset, told.size, told.timestamp) == (
                expected.offset,
                expected.size,
                expected.timestamp,
            )
            offset += 1
        assert ours.size() == theirs.size()
    assert bytes(ours.build()) == bytes(theirs.build())


def test_what_a_batch_has_no_room_for_is_not_in_it_and_the_first_always_is():
    ours = builder(FastBatchBuilder)
    large = b"x" * (BATCH_BYTES + 1)
    assert ours.append(0, 7, b"k", large, EncodedHeaders([])) is not None
    assert ours.append(1, 9, b"k", b"", EncodedHeaders([])) is None
    [record] = DefaultRecordBatch(ours.build())
    assert (record.timestamp, record.key, record.value) == (7, b"k", large)


def test_what_just_fits_is_in_it():
    roomy = builder(FastBatchBuilder)
    for offset in range(2):
        roomy.append(offset, 1, b"k", b"v", EncodedHeaders([]))
    for batch_bytes, fits in (roomy.size(), True), (roomy.size() - 1, False):
        ours = FastBatchBuilder(2, 0, False, 17, 3, 5, batch_bytes)
        ours.append(0, 1, b"k", b"v", EncodedHeaders([]))
        assert (ours.append(1, 1, b"k", b"v", EncodedHeaders([])) is not None) == fits


def test_the_latest_time_of_a_batch_is_not_always_the_last():
    ours = builder(FastBatchBuilder)
    for ms in (5, 9, 7):
        ours.append(0, ms, b"k", b"v", EncodedHeaders([]))
    assert DefaultRecordBatch(ours.build()).max_timestamp == 9


@given(st.binary(), st.binary(), headers)
def test_a_batch_takes_no_more_than_is_reckoned_with_a_record(
    key: bytes, value: bytes, named: list[Any]
):
    encoded = EncodedHeaders(named)
    ours = builder(FastBatchBuilder)
    ours.append(0, 1, key, value, encoded)
    reckoned = FRAMING_BYTES + len(key) + len(value) + len(encoded.wire)
    assert 0 <= reckoned - len(ours.build()) <= 40


def test_headers_that_are_not_encoded_are_left_to_the_library():
    ours, theirs = builder(FastBatchBuilder), builder(DefaultRecordBatchBuilder)
    for built in ours, theirs:
        built.append(0, 1, b"k", b"v", [("name", None)])
    assert bytes(ours.build()) == bytes(theirs.build())


def test_without_a_time_it_is_now(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time", lambda: 12.3456)
    ours = builder(FastBatchBuilder)
    assert ours.append(0, None, b"k", b"v", EncodedHeaders([])).timestamp == 12_345


def test_no_more_names_are_remembered_than_so_many(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quick_producer, "_NAMES", {})
    monkeypatch.setattr(quick_producer, "MAX_NAMES", 2)
    for name in "abcd":
        wire = EncodedHeaders([(name, b"v")]).wire
        assert wire == b"\x02\x02" + name.encode() + b"\x02v"
    assert list(quick_producer._NAMES) == ["a", "b"]


class Accumulator:
    def __init__(self) -> None:
        self.appended: list[Any] = []
        self.is_full = self.is_new = False

    def append(self, where: Any, timestamp_ms: Any, key: bytes, value: bytes, named: Any) -> Any:
        self.appended.append((where, timestamp_ms, key, value, named))
        return "future", self.is_full, self.is_new, False


class ByLength(Partitioner):  # type: ignore[misc]  # kafka-python has no types
    """The length of the key says which partition."""

    def partition(self, topic: str, key: Any, key_bytes: bytes, *_: Any) -> int:
        assert key == key_bytes
        return len(key_bytes)


class Offline(FastProducer):
    """A producer that knows a topic of three partitions, and no broker."""

    def __init__(self) -> None:
        self._closed = False
        self.config = {"max_request_size": 1_000, "partitioner": ByLength()}
        self._metadata = SimpleNamespace(
            topics=lambda: {"orders"},
            partitions_for_topic=lambda topic: {0, 1, 2} if topic == "orders" else None,
        )
        self._accumulator = Accumulator()
        self.woken = 0
        self._sender = SimpleNamespace(wakeup=self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def __del__(self) -> None:
        """Nothing to close."""


@pytest.fixture
def sent_by_the_library(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(KafkaProducer, "send", lambda _, *arguments: found.append(arguments))
    return found


def test_a_record_is_appended_where_it_belongs(sent_by_the_library: list[Any]):
    producer = Offline()
    named = [("name", b"value")]
    assert producer.send("orders", b"v", b"k", named, partition=2) == "future"
    [(where, timestamp_ms, key, value, encoded)] = producer._accumulator.appended
    assert (where, timestamp_ms, key, value) == (TopicPartition("orders", 2), None, b"k", b"v")
    assert encoded == named
    assert isinstance(encoded, EncodedHeaders)
    assert not sent_by_the_library


def test_without_a_partition_the_partitioner_says_where():
    producer = Offline()
    producer.send("orders", value=b"v", key=b"kk", headers=None)
    [(where, *_, encoded)] = producer._accumulator.appended
    assert where == TopicPartition("orders", 2)
    assert (encoded, encoded.wire) == ([], b"\0")


@pytest.mark.parametrize(("is_full", "is_new"), [(False, False), (True, False), (False, True)])
def test_the_sender_is_woken_for_a_new_batch_and_a_full_one(is_full: bool, is_new: bool):
    producer = Offline()
    producer._accumulator.is_full, producer._accumulator.is_new = is_full, is_new
    producer.send("orders", b"v", b"k", [], partition=0)
    assert producer.woken == int(is_full or is_new)


@pytest.mark.parametrize(
    ("topic", "value", "key"),
    [("unknown", b"v", b"k"), ("orders", None, b"k"), ("orders", b"v", None)],
)
def test_what_is_not_usual_is_left_to_the_library(
    sent_by_the_library: list[Any], topic: str, value: Any, key: Any
):
    producer = Offline()
    producer.send(topic, value, key, [], partition=1, timestamp_ms=5)
    assert sent_by_the_library == [(topic, value, key, [], 1, 5)]
    assert not producer._accumulator.appended


def test_a_partition_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="Unrecognized partition 3"):
        Offline().send("orders", b"v", b"k", [], partition=3)


def test_a_closed_producer_takes_nothing():
    producer = Offline()
    producer._closed = True
    with pytest.raises(kafka_errors.IllegalStateError):
        producer.send("orders", b"v", b"k", [], partition=0)
    assert not producer._accumulator.appended


def test_no_record_is_taken_that_a_broker_would_find_larger_than_allowed():
    producer = Offline()
    named = [("name", b"x" * 100)] * 5
    size = len(EncodedHeaders(named).wire)
    most_bytes = 1_000 - FRAMING_BYTES - size - 4
    producer.send("orders", b"v" * most_bytes, b"k" * 4, named, partition=0)
    with pytest.raises(kafka_errors.MessageSizeTooLargeError):
        producer.send("orders", b"v" * (most_bytes + 1), b"k" * 4, named, partition=0)
    with pytest.raises(kafka_errors.MessageSizeTooLargeError):
        producer.send("orders", b"", b"", [("name", b"x" * 1_000)], partition=0)
    assert len(producer._accumulator.appended) == 1


def test_every_producer_that_is_built_has_its_batches_built_quickly(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(memory_records, "DefaultRecordBatchBuilder", DefaultRecordBatchBuilder)
    monkeypatch.setattr(KafkaProducer, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(KafkaProducer, "__del__", lambda _: None, raising=False)
    FastProducer()
    built = memory_records.MemoryRecordsBuilder(2, 0, BATCH_BYTES)
    assert isinstance(built._builder, FastBatchBuilder)
