"""The partition of a key, by the default partitioners of Kafka's clients."""

import zlib

from kafka.partitioner.default import murmur2

_FNV_OFFSET, _FNV_PRIME = 0x811C9DC5, 0x01000193


def murmur2_partition(key: bytes, partitions: int) -> int:
    """Return where Java's clients, kafka-python, aiokafka, kafkajs and franz-go put *key*."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def crc32_partition(key: bytes, partitions: int) -> int:
    """Return where librdkafka and its bindings put *key* (``consistent_random``)."""
    return zlib.crc32(key) % partitions


def fnv1a_partition(key: bytes, partitions: int) -> int:
    """Return where Sarama, and the hash balancer of kafka-go, put *key*."""
    value = _FNV_OFFSET
    for byte in key:
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    # As a signed number, whose remainder Go takes towards zero.
    return abs(value - (value >> 31 << 32)) % partitions


#: In the order of their importance.
PARTITIONERS = (murmur2_partition, crc32_partition, fnv1a_partition)
