"""Compressed record batches: bounded memory, good records kept, offsets that go on."""

import random
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition, codec
from kafka.consumer.fetcher import Fetcher
from kafka.record import MemoryRecords
from kafka.record.memory_records import MemoryRecordsBuilder

from rendezvous.kafka_client.patches import decompression
from rendezvous.kafka_client.patches.bounded_batches import (
    MAX_BATCH_BYTES,
    MAX_HEADERS,
    DroppedValue,
    bound_batches,
)
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from rendezvous.kafka_client.patches.decompression import decompressed
from tests.fakes import raising

P0 = TopicPartition("replies", 0)
MAX_VALUE_BYTES = 1_000
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
COMPRESSED = [name for name, number in CODECS.items() if number]
#: A value that is shorter when it is compressed: other batches are published as they are.
VALUE = bytes(900)
#: First offset of the batches in these tests.
FIRST = 100


def batch(codec_number: int, *records: tuple[Any, ...], magic: int = 2) -> bytes:
    """Return a batch of (key, value) or (key, value, headers)."""
    builder = MemoryRecordsBuilder(magic, codec_number, 2**31 - 1, offset=FIRST)
    for key, value, *headers in records:
        builder.append(1_000, key, value, headers[0] if headers else [])
    builder.close()
    return bytes(builder.buffer())


def taken(data: bytes) -> tuple[list[Any], int]:
    """Return the records that a bounded consumer takes from *data*, and the offset behind them."""
    consumer = SimpleNamespace(_fetcher=SimpleNamespace(PartitionRecords=Fetcher.PartitionRecords))
    bound_batches(consumer, MAX_VALUE_BYTES)
    held = consumer._fetcher.PartitionRecords(FIRST, P0, MemoryRecords(data))
    return held.take(10_000), held.next_fetch_offset


@pytest.mark.parametrize("name", CODECS)
def test_good_records_are_returned_unchanged(name):
    good = [(b"%d" % n, b"v" * n, [("a", b"b")]) for n in range(50)]
    records, end = taken(batch(CODECS[name], *good))

    assert [(r.key, r.value, r.headers) for r in records] == good
    assert [r.offset for r in records] == list(range(FIRST, FIRST + 50))
    assert end == FIRST + 50


@pytest.mark.parametrize("name", CODECS)
def test_a_patched_consumer_reads_large_values_of_each_codec(name):
    # Half of it cannot be compressed: it spans several blocks of every codec.
    value = random.Random(1).randbytes(450_000) + bytes(450_000)
    # Port 1 refuses; with a version none is requested.
    consumer = PatchedConsumer(bootstrap_servers="127.0.0.1:1", api_version=(4, 0))
    try:
        data = MemoryRecords(batch(CODECS[name], (b"a", value), (b"b", value)))
        records = consumer._fetcher.PartitionRecords(FIRST, P0, data).take()
    finally:
        consumer.close(autocommit=False, timeout_ms=0)

    assert [(r.offset, r.key) for r in records] == [(FIRST, b"a"), (FIRST + 1, b"b")]
    assert [r.value == value for r in records] == [True, True]


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_records_before_a_bomb_are_returned_and_the_offset_goes_on(name):
    bomb = bytes(MAX_BATCH_BYTES + 1)
    data = batch(CODECS[name], (b"a", b"good"), (b"the id", bomb), (b"c", b"lost"))
    records, end = taken(data)
    last = records[-1]

    assert isinstance(last.value, DroppedValue)
    assert (last.offset, last.value, end) == (FIRST + 2, b"", FIRST + 3)
    if name == "snappy":  # its blocks are decompressed whole or not at all
        assert len(records) in (1, 2)
        return
    assert [r.value for r in records[:-1]] == [b"good"]
    assert last.key == b"the id"
    assert f"more than {MAX_BATCH_BYTES} bytes decompressed" in last.value.reason


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_value_that_is_too_large_keeps_its_headers(name):
    headers = [("correlation-id", b"x")]
    large = (b"k", bytes(MAX_VALUE_BYTES + 1), headers)
    records, end = taken(batch(CODECS[name], large, (b"k", b"good")))

    assert (records[0].value, records[0].headers) == (b"", headers)
    assert records[0].value.reason == "it has 1001 bytes; the maximum is 1000"
    assert (records[1].value, end) == (b"good", FIRST + 2)


def test_a_record_with_too_many_headers_is_dropped():
    many = [("", b"")] * (MAX_HEADERS + 1)
    records, _ = taken(batch(1, (b"k", b"v", many), (b"k", b"v", many[1:])))

    assert records[0].value.reason == f"it has {MAX_HEADERS + 1} headers; the maximum is 1000"
    assert (records[1].value, len(records[1].headers)) == (b"v", MAX_HEADERS)


def test_a_record_that_cannot_be_decoded_costs_only_itself():
    class NotUtf8(str):
        def encode(self, *_: object) -> bytes:
            return b"\xff"

    records, end = taken(batch(1, (b"k", b"v", [(NotUtf8("x"), b"")]), (b"k", VALUE)))

    assert "cannot be decoded" in records[0].value.reason
    assert (records[1].value, end) == (VALUE, FIRST + 2)


@pytest.mark.parametrize("magic", [0, 1])
def test_a_compressed_batch_of_an_old_format_is_dropped_unread(magic, monkeypatch):
    data = batch(1, (b"k", VALUE), magic=magic)
    data = struct.pack(">q", FIRST) + data[8:]  # as the broker does
    monkeypatch.setattr(codec, "gzip_decode", raising(AssertionError("decompressed")))
    records, end = taken(data)

    assert "older than Kafka 0.11" in records[0].value.reason
    assert end == FIRST + 1


def test_a_batch_without_the_library_of_its_codec_is_dropped(monkeypatch):
    data = batch(1, (b"k", VALUE), (b"k", VALUE))
    monkeypatch.setitem(decompression._CODECS, 1, ("gzip", lambda: False, lambda *_: b""))
    records, end = taken(data)

    assert "no library for its compression, gzip" in records[0].value.reason
    assert (len(records), end) == (1, FIRST + 2)


def test_an_unknown_compression_is_an_error():
    with pytest.raises(Exception, match="unknown"):
        decompressed(7, memoryview(b""), 10)


def test_gzip_of_several_members_and_a_truncated_one():
    whole = codec.gzip_encode(b"ab") + codec.gzip_encode(b"cd")

    assert decompressed(1, memoryview(whole), 10) == b"abcd"
    assert decompressed(1, memoryview(whole), 3) == b"abc"
    with pytest.raises(ValueError, match="ends early"):
        decompressed(1, memoryview(whole[:-1]), 10)


@pytest.mark.parametrize("xerial", [True, False])
def test_snappy_is_refused_before_it_is_decompressed(xerial, monkeypatch):
    data = codec.snappy_encode(bytes(2_000), xerial_compatible=xerial, xerial_blocksize=2_000)
    monkeypatch.setattr(codec.snappy, "decompress", raising(AssertionError("decompressed")))

    with pytest.raises(ValueError, match="2000 bytes; the maximum is 1999"):
        decompressed(CODECS["snappy"], memoryview(data), 1_999)


@pytest.mark.parametrize("xerial", [True, False])
def test_snappy_is_read_with_the_framing_of_java_and_without(xerial):
    value = random.Random(1).randbytes(100_000)
    data = codec.snappy_encode(value, xerial_compatible=xerial)

    assert decompressed(CODECS["snappy"], memoryview(data), len(value)) == value
