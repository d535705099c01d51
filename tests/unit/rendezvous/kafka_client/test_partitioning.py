"""Partitioners: each puts a key where the clients put it whose default it is."""

import pytest

from rendezvous.kafka_client.partitioning import (
    crc32_partition,
    fnv1a_partition,
    murmur2_partition,
)

#: With this number of partitions the partition equals the hash.
MANY = 2**31


@pytest.mark.parametrize(
    ("key", "java"),
    [
        # From testMurmur2() of Kafka's UtilsTest.java.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
@pytest.mark.parametrize("partitions", [1, 4, 48, MANY])
def test_murmur2_is_that_of_java(key: bytes, java: int, partitions: int):
    assert murmur2_partition(key, partitions) == (java & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize("partitions", [1, 4, 48, 2**32])
def test_crc32_is_that_of_zip(partitions: int):
    assert crc32_partition(b"123456789", partitions) == 0xCBF43926 % partitions


@pytest.mark.parametrize(
    ("key", "fnv1a"),
    [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968), (b"foob", 0x3F5076EF)],
)
@pytest.mark.parametrize("partitions", [1, 4, 48, MANY])
def test_fnv1a_is_a_signed_number_whose_sign_is_dropped(key: bytes, fnv1a: int, partitions: int):
    signed = fnv1a - 2**32 if fnv1a >= 2**31 else fnv1a

    assert fnv1a_partition(key, partitions) == abs(signed) % partitions
