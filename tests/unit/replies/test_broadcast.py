"""REPLIES_MODE=broadcast: every replica reads all partitions, including new ones."""

import time

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndTimestamp

from replies.broadcast import PARTITIONS_CHECK_INTERVAL_S, BroadcastConsumer
from tests.fakes import FakeConsumer, FakeRecord

P0, P1, P2 = (TopicPartition("replies", number) for number in range(3))


@pytest.fixture
def kafka():
    return FakeConsumer(P0, P1)


@pytest.fixture
def consumer(kafka):
    return BroadcastConsumer(kafka, "replies", lookback_s=63)


def test_all_partitions_of_the_topic_are_read(kafka, consumer):
    kafka.feed(FakeRecord(b"0", []), FakeRecord(b"1", [], partition=1))

    assert kafka.assigned == {P0, P1}
    assert set(consumer.poll()) == {P0, P1}


def test_reading_starts_at_the_oldest_reply_that_may_be_requested(kafka):
    kafka.offsets_by_time = {P0: OffsetAndTimestamp(17, 1, -1)}
    kafka.ends = {P0: 20, P1: 30}
    now_ms = time.time() * 1000

    BroadcastConsumer(kafka, "replies", lookback_s=63)

    assert kafka.positions == {P0: 17, P1: 30}
    assert kafka.asked_since_ms[P0] == pytest.approx(now_ms - 63_000, abs=30_000)


def test_a_new_partition_is_read_too_and_the_others_keep_their_positions(kafka, consumer):
    kafka.partitions.append(P2)
    consumer.poll()
    before = set(kafka.assigned)
    consumer._checked_s -= PARTITIONS_CHECK_INTERVAL_S + 1
    kafka.positions[P0] = 99
    consumer.poll()

    assert (before, kafka.assigned) == ({P0, P1}, {P0, P1, P2})
    assert kafka.positions[P0] == 99


def test_broadcast_commits_nothing(kafka, consumer):
    consumer.commit({P0: 5})
    consumer.commit_async({P0: 5})

    assert kafka.commits == []


def test_opening_a_missing_topic_fails(kafka):
    with pytest.raises(LookupError, match="others"):
        BroadcastConsumer.open_all("others", lambda: kafka, 63)

    BroadcastConsumer.open_all("replies", lambda: kafka, 63)


def test_a_kafka_error_while_looking_for_new_partitions_does_not_end_polling(kafka, consumer):
    kafka.metadata_error = kafka_errors.KafkaTimeoutError("asleep")
    consumer._checked_s -= PARTITIONS_CHECK_INTERVAL_S + 1

    assert consumer.poll() == {}
