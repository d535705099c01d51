"""Record keys that lead replies to one partition."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.exchange.waiting.reply_keys import MAX_TRIES, ReplyKeys
from rendezvous.kafka_client.partitioning import (
    PARTITIONERS,
    crc32_partition,
    fnv1a_partition,
    murmur2_partition,
)

NODE = "0a1b2c3d"


@pytest.mark.parametrize("partitions", [1, 4, 12, 48, 500])
def test_every_key_leads_to_the_partition_by_the_partitioner_of_java(partitions: int):
    for partition in (0, partitions // 2, partitions - 1):
        keys = ReplyKeys(partition, [partitions], NODE)

        assert {murmur2_partition(keys.take(), partitions) for _ in range(10)} == {partition}


def test_with_few_partitions_the_partitioners_of_all_clients_put_a_key_there():
    keys = ReplyKeys(3, [12], NODE)
    taken = [keys.take() for _ in range(5)]

    for partition_of in PARTITIONERS:
        assert {partition_of(key, 12) for key in taken} == {3}


def test_with_more_partitions_the_partitioner_of_librdkafka_does_so_too():
    keys = ReplyKeys(30, [40], NODE)
    taken = [keys.take() for _ in range(5)]

    assert 40**2 <= MAX_TRIES < 40**3
    assert {murmur2_partition(key, 40) for key in taken} == {30}
    assert {crc32_partition(key, 40) for key in taken} == {30}
    assert {fnv1a_partition(key, 40) for key in taken} != {30}


def test_after_a_change_the_keys_lead_to_the_partition_by_both_numbers():
    keys = ReplyKeys(2, [6, 4], NODE)

    for _ in range(10):
        key = keys.take()
        assert [murmur2_partition(key, count) for count in (4, 6)] == [2, 2]


def test_no_two_requests_in_flight_have_the_same_key():
    keys = ReplyKeys(1, [4], NODE)
    with ThreadPoolExecutor(8) as clients:
        taken = list(clients.map(lambda _: keys.take(), range(200)))

    assert len(set(taken)) == 200


def test_keys_of_two_processes_differ():
    one, other = (ReplyKeys(1, [4], node) for node in (NODE, "ffffffff"))

    assert not {one.take() for _ in range(20)} & {other.take() for _ in range(20)}


def test_a_key_is_used_again_only_after_it_was_given_back():
    keys = ReplyKeys(1, [4], NODE)
    first, second = keys.take(), keys.take()
    keys.give_back(first)

    assert keys.take() == first
    assert keys.take() not in (first, second)
