"""PartitionConsumer: one partition from its end, without a group."""

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from rendezvous.kafka_client.consuming.partition_consumer import PartitionConsumer
from tests.fakes import FakeConsumer, FakeRecord

P0, P1, P2 = (TopicPartition("replies", number) for number in range(3))


@pytest.fixture
def kafka():
    """A consumer without a group: nothing is assigned by itself."""
    found = FakeConsumer(P0, P1, P2)
    found.assigned.clear()
    found.ends = {P0: 10, P1: 20, P2: 30}
    return found


def open_one(kafka, choose=lambda partitions: 1, **options):
    return PartitionConsumer.open_one("replies", lambda: kafka, choose, **options)


def test_only_the_chosen_partition_is_read_from_its_end(kafka):
    consumer = open_one(kafka, lambda partitions: partitions - 1)

    assert consumer.partition == 2
    assert kafka.assigned == {P2}
    assert kafka.positions == {P2: 30}
    assert kafka.subscribed == []


def test_records_are_returned_and_no_offset_is_committed(kafka):
    consumer = open_one(kafka)
    record = FakeRecord(b"x", [], partition=1)
    kafka.feed(record)

    assert consumer.poll() == {P1: [record]}
    consumer.commit({P1: 21})
    consumer.commit_async({P1: 21})
    assert kafka.commits == []


def test_opened_again_it_goes_on_where_it_was(kafka, monkeypatch):
    consumer = open_one(kafka)
    kafka.positions[P1] = 25
    again = FakeConsumer(P0, P1, P2)
    again.ends = {P1: 99}
    opened = [again]
    consumer.reopen_with(["replies"], opened.pop, lambda: None)
    monkeypatch.setattr(consumer._stalls, "is_due", lambda: True)
    monkeypatch.setattr(consumer._stalls, "check", lambda consumer: bool(opened))
    consumer.poll()

    assert not opened
    assert kafka.closed
    assert again.assigned == {P1}
    assert again.positions == {P1: 25}


def test_new_partitions_are_counted_and_not_read(kafka):
    consumer = open_one(kafka)
    kafka.partitions.append(TopicPartition("replies", 3))
    consumer.poll()

    assert consumer.partitions() == 4
    assert kafka.assigned == {P1}


def test_a_partition_that_vanishes_is_seen_by_the_number_of_partitions(kafka):
    consumer = open_one(kafka, lambda partitions: 2)
    kafka.partitions.remove(P2)

    assert consumer.partitions() == 2 == consumer.partition


def test_the_last_known_number_of_partitions_counts_while_kafka_fails(kafka):
    consumer = open_one(kafka)
    kafka.metadata_error = kafka_errors.KafkaTimeoutError("asleep")

    assert consumer.partitions() == 3


def test_it_is_not_reading_after_an_error(kafka, monkeypatch):
    monkeypatch.setattr("rendezvous.kafka_client.consuming.consumer.ERROR_PAUSE_S", 0.001)
    consumer = open_one(kafka)
    before = consumer.is_reading()
    kafka.fail_poll(kafka_errors.KafkaConnectionError("gone"))
    consumer.poll()

    assert before
    assert not consumer.is_reading()


def test_a_missing_topic_is_named(kafka):
    with pytest.raises(LookupError, match="others"):
        PartitionConsumer.open_one("others", lambda: kafka, lambda partitions: 0)

    assert kafka.closed


def test_a_topic_that_is_deleted_while_it_is_opened_is_named(kafka, monkeypatch):
    monkeypatch.setattr(kafka, "partitions_for_topic", lambda topic: None)
    with pytest.raises(LookupError, match="replies"):
        open_one(kafka, lambda partitions: 7 // partitions)

    assert kafka.closed


def test_brokers_that_do_not_tell_the_end_are_a_connection_error(kafka):
    kafka.ends_error = kafka_errors.KafkaTimeoutError("asleep")
    with pytest.raises(ConnectionError, match="asleep"):
        open_one(kafka)

    assert kafka.closed


def test_an_error_while_closing_is_ignored(kafka, monkeypatch):
    def fail(**options):
        raise kafka_errors.KafkaTimeoutError("asleep")

    consumer = open_one(kafka)
    monkeypatch.setattr(kafka, "close", fail)

    consumer.close()
