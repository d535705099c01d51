"""Which partition a key belongs to, and which replies went straight to it."""

from collections.abc import Iterable
from typing import Any

from kafka.partitioner.default import murmur2

from rendezvous.framework_requests import ID_HEADERS

REPLY_PARTITION = "reply-partition"


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's default partitioner chooses for *key*."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def wanted_partitions(requests: Iterable[Any], partitions: int) -> dict[str, int]:
    """Return the partition where each request's reply is awaited, by correlation id."""
    wanted = {}
    for record in requests:
        headers = dict(record.headers)
        named = headers.get(REPLY_PARTITION)
        partition = partition_of(record.key, partitions) if named is None else int(named)
        wanted[correlation_id(record)] = partition
    return wanted


def straight_and_all(wanted: dict[str, int], replies: Iterable[Any]) -> tuple[int, int]:
    """Return the number of replies in their partition, and of all replies, to those of *wanted*."""
    found = [(wanted.get(correlation_id(record)), record.partition) for record in replies]
    answered = [(partition, actual) for partition, actual in found if partition is not None]
    return sum(partition == actual for partition, actual in answered), len(answered)


def correlation_id(record: Any) -> str:
    """Return the id of *record* under any of its names, or an empty text."""
    headers = dict(record.headers)
    return next((headers[name].decode() for name in ID_HEADERS if name in headers), "")
