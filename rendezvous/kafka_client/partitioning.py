"""The partition of a key, by the default partitioner of Kafka's clients."""

from kafka.partitioner.default import murmur2


def default_partition(key: bytes, partitions: int) -> int:
    """Return the partition, of so many, in which the default partitioner puts *key* (KIP-480)."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)
