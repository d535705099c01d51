"""
Bounds what decompressed record batches take.

Bug: kafka-python 3.0 decompresses a batch whole. A record of 300 kB can become 300 MB, and the
process that reads it is killed, and again after each restart.
Reproduce: tests/e2e/kafka/test_decompression.py without bound_batches().
Effect: memory and time of a poll are bounded. Of a batch above the limit the first records are
returned, and one DroppedValue in place of the others, so that the offset goes on behind it.
Remove: when the library has a limit for decompressed batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kafka.record.default_records import DefaultRecord
from kafka.record.util import decode_varint

from rendezvous.kafka_client.patches.decompression import decompressed

#: Maximum size of a value in a compressed batch, in bytes, unless the consumer sets another: the
#: largest request body.
MAX_VALUE_BYTES = 1_000_000
#: Maximum size of a decompressed batch, in bytes; larger if two of the largest values need it.
#: A batch of 1 MiB, the limit of brokers by default, may shrink to a sixteenth.
MAX_BATCH_BYTES = 16 * 1024 * 1024
#: Decompressed bytes after which a poll takes no further batch.
MAX_POLL_BYTES = 8 * 1024 * 1024
#: Maximum number of headers of a record in a compressed batch; each takes up to 100 bytes.
MAX_HEADERS = 1_000


class DroppedValue(bytes):
    """The empty value of a record whose own value was not kept; *reason* says why."""

    reason: str

    def __new__(cls, reason: str) -> "DroppedValue":
        """Return an empty value."""
        dropped = super().__new__(cls)
        dropped.reason = reason
        return dropped


@dataclass
class Limits:
    """The limits of one consumer, and what its current poll has used of them."""

    max_value_bytes: int
    polled_bytes: int = 0  # decompressed during the current poll

    @property
    def max_batch_bytes(self) -> int:
        """Maximum size of a decompressed batch."""
        return max(MAX_BATCH_BYTES, 2 * self.max_value_bytes)


def bound_batches(consumer: Any, max_value_bytes: int) -> Limits:
    """
    Bound the batches that *consumer* decompresses; return the limits.

    Args:
        max_value_bytes: maximum size of a value in a compressed batch.
    """
    limits = Limits(max_value_bytes)
    fetcher = consumer._fetcher
    fetcher.PartitionRecords = partial(_partition_records, fetcher.PartitionRecords, limits)
    return limits


def _partition_records(
    new: Any, limits: Limits, offset: int, partition: Any, records: Any, **options: Any
) -> Any:
    return new(offset, partition, _BoundedRecords(records, limits), **options)


class _BoundedRecords:
    """The batches of one partition in a fetch."""

    def __init__(self, records: Any, limits: Limits) -> None:
        self._records = records
        self._limits = limits

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if batch is None or not batch.compression_type:
            return batch
        return _BoundedBatch(batch, self._limits)


class _BoundedBatch:
    """A compressed batch, whose other attributes are those of the library's batch."""

    def __init__(self, batch: Any, limits: Limits) -> None:
        self._batch = batch
        self._limits = limits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        batch, limit = self._batch, self._limits.max_batch_bytes
        if batch.magic < 2:
            # Such records have no headers, hence no correlation id.
            yield _dropped("its message format is older than Kafka 0.11", batch.base_offset)
            return
        last_offset = batch.base_offset + max(batch.last_offset_delta, batch.records_count - 1)
        try:
            compressed = memoryview(batch._buffer)[batch._pos :]
            data = decompressed(batch.compression_type, compressed, limit)
        except Exception as error:  # noqa: BLE001  # each library raises its own errors
            yield _dropped(f"its batch cannot be decompressed: {error}", last_offset)
            return
        self._limits.polled_bytes += len(data)
        batch._buffer, batch._pos, batch._decompressed = bytearray(data), 0, True
        del data
        yield from self.bounded(last_offset)

    def bounded(self, last_offset: int) -> Iterator[Any]:
        """Yield the records of the decompressed batch."""
        batch, limits = self._batch, self._limits
        for _ in range(batch.records_count):
            head = _Head.read(batch._buffer, batch._pos)
            if head is None or head.end > len(batch._buffer):
                reason = f"its batch has more than {limits.max_batch_bytes} bytes decompressed"
                yield _dropped(reason, last_offset, head.key if head else None)
                return
            yield self.next_record(head, batch.base_offset + head.offset_delta)

    def next_record(self, head: "_Head", offset: int) -> Any:
        """Return the next record, without its value if a limit is exceeded."""
        batch, max_bytes = self._batch, self._limits.max_value_bytes
        if head.headers > MAX_HEADERS:
            batch._pos = head.end
            reason = f"it has {head.headers} headers; the maximum is {MAX_HEADERS}"
            return _dropped(reason, offset, head.key)
        try:
            record = next(batch)
        except Exception as error:  # noqa: BLE001  # of any kind: the records behind it are good
            batch._pos = head.end
            return _dropped(f"it cannot be decoded: {error}", offset, head.key)
        if head.value_bytes <= max_bytes:
            return record
        reason = f"it has {head.value_bytes} bytes; the maximum is {max_bytes}"
        return _dropped(reason, offset, head.key, record.headers)


@dataclass(frozen=True, slots=True)
class _Head:
    """The sizes of a record, read without its value and its headers."""

    end: int  # position behind the record
    offset_delta: int
    key: bytes | None
    value_bytes: int
    headers: int

    @classmethod
    def read(cls, buffer: bytearray, position: int) -> "_Head | None":
        """Return the head of the record at *position*; None when the buffer ends before its key."""
        headers = 0
        try:
            size, start = decode_varint(buffer, position)
            _, at = decode_varint(buffer, start)  # attributes
            _, at = decode_varint(buffer, at)  # timestamp
            offset_delta, at = decode_varint(buffer, at)
            key_bytes, at = decode_varint(buffer, at)
            key_end = at + max(key_bytes, 0)
            value_bytes, value_at = decode_varint(buffer, key_end)
            if start + size <= len(buffer):
                headers, _ = decode_varint(buffer, value_at + max(value_bytes, 0))
        except (IndexError, ValueError):
            return None
        key = bytes(buffer[at:key_end]) if key_bytes >= 0 else None
        return cls(start + size, offset_delta, key, value_bytes, headers)


def _dropped(
    reason: str, offset: int, key: bytes | None = None, headers: Sequence[Any] = ()
) -> Any:
    return DefaultRecord(0, offset, -1, 0, key, DroppedValue(reason), list(headers))
