"""The consumer that survives broken records and restarting brokers."""

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.kafka_client.consuming.opening import consumer_options
from tests.fakes import FakeConsumer, FakeRecord, eventually, raising
from tests.support.metric_values import increases

P0, P1 = TopicPartition("replies", 0), TopicPartition("replies", 1)
RECORD = FakeRecord(b"x", [])


@pytest.fixture(autouse=True)
def short_pause(monkeypatch):
    monkeypatch.setattr("rendezvous.kafka_client.consuming.consumer.ERROR_PAUSE_S", 0.001)


@pytest.fixture
def kafka():
    return FakeConsumer(P0, P1)


@pytest.fixture
def consumer(kafka):
    return ResilientConsumer(kafka)


def test_records_are_returned_as_the_library_returns_them(kafka, consumer):
    kafka.feed(RECORD)

    assert consumer.poll() == {P0: [RECORD]}
    assert consumer.poll() == {}


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        kafka_errors.CorruptRecordError("crc"),
        kafka_errors.UnsupportedCodecError("zstd"),
        RuntimeError("whatever"),
    ],
)
def test_a_record_that_cannot_be_decoded_is_skipped_and_counted(kafka, consumer, error, caplog):
    kafka.positions[P1] = 41
    kafka.fail_poll(error, decoding=P1)
    kafka.feed(RECORD)

    assert consumer.poll() == {}
    assert kafka.positions[P1] == 42
    assert consumer.undecodable == 1
    assert "replies/1/41 cannot be decoded" in caplog.text
    assert consumer.poll() == {P0: [RECORD]}


@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.KafkaTimeoutError("asleep"),
        kafka_errors.KafkaConnectionError("gone"),
        kafka_errors.NotCoordinatorError(),
        kafka_errors.TopicAuthorizationFailedError(),
        kafka_errors.CommitFailedError(),
    ],
)
def test_kafka_errors_do_not_end_polling(kafka, consumer, error, caplog):
    kafka.positions[P0] = 7
    kafka.fail_poll(error)
    kafka.feed(RECORD)

    assert consumer.poll() == {}
    assert consumer.poll() == {P0: [RECORD]}
    assert kafka.positions[P0] == 7
    assert consumer.undecodable == 0
    assert "trying again" in caplog.text


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (kafka_errors.TopicAuthorizationFailedError({"replies"}), "grant Read on topic 'replies'"),
        (kafka_errors.TopicAuthorizationFailedError("replies"), "grant Read on topic 'replies'"),
        (kafka_errors.GroupAuthorizationFailedError("readers"), "grant Read on group 'readers'"),
        (kafka_errors.GroupAuthorizationFailedError(), "grant Read on its group"),
    ],
)
def test_the_missing_right_is_logged(kafka, consumer, error, advice, caplog):
    kafka.fail_poll(error)
    consumer.poll()

    assert advice in caplog.text


def test_no_partition_counts_as_read_after_a_recent_error(kafka, consumer, monkeypatch):
    monkeypatch.setattr("rendezvous.kafka_client.consuming.consumer.ERROR_MEMORY_S", 0.05)
    kafka.fail_poll(kafka_errors.TopicAuthorizationFailedError({"replies"}))
    before = consumer.lags_s()
    consumer.poll()
    refused = consumer.lags_s()
    consumer.poll()  # this one succeeds
    still_refused = consumer.lags_s()

    assert (set(before), refused, still_refused) == ({P0, P1}, {}, {})
    eventually(lambda: set(consumer.lags_s()) == {P0, P1})


def test_a_recreated_topic_is_read_from_the_beginning(kafka, consumer, monkeypatch):
    monkeypatch.setattr("rendezvous.kafka_client.consuming.recreated_topics.CHECK_INTERVAL_S", 0)
    kafka.recreate("replies")
    kafka.feed(FakeRecord(b"x", [], 41))
    consumer.poll()
    kafka.positions = {P0: 42, P1: 7}
    consumer.poll()
    stayed = dict(kafka.positions)
    kafka.recreate("replies")
    kafka.feed(FakeRecord(b"new", [], 0))

    assert consumer.poll() == {P0: [FakeRecord(b"new", [], 0)]}
    assert stayed == {P0: 42, P1: 7}
    assert kafka.positions == {P0: 0, P1: 0}


def test_an_error_that_is_neither_of_a_record_nor_of_kafka_is_raised_and_skips_no_record(
    kafka, consumer
):
    kafka.positions[P0] = 7
    kafka.fail_poll(OSError("too many open files"))

    with pytest.raises(OSError, match="too many open files"):
        consumer.poll()
    assert kafka.positions[P0] == 7


@pytest.mark.parametrize("ours", ["_lag.note", "_recreated.is_due"])
def test_an_error_of_our_own_is_raised_and_skips_no_record(kafka, consumer, monkeypatch, ours):
    target, name = ours.split(".")
    monkeypatch.setattr(getattr(consumer, target), name, raising(ValueError("our own error")))
    kafka.positions[P0] = 7
    kafka.feed(RECORD)

    with pytest.raises(ValueError, match="our own error"):
        consumer.poll()
    assert kafka.positions[P0] == 7
    assert consumer.undecodable == 0


def test_pause_and_resume_apply_to_all_assigned_partitions(kafka, consumer):
    consumer.pause()
    held = kafka.paused()
    consumer.resume()

    assert held == {P0, P1}
    assert kafka.paused() == set()
    consumer.resume()  # nothing to do


@pytest.mark.parametrize("waits", ["while paused", "after an error", "never"])
def test_records_that_followed_the_end_were_read_on_arrival(kafka, consumer, waits):
    kafka.highwaters[P0] = 1
    kafka.feed(FakeRecord(b"x", [], 0))
    consumer.poll()
    first = consumer.read_on_arrival(P0)
    if waits == "while paused":
        consumer.pause()
        consumer.resume()
    elif waits == "after an error":
        kafka.fail_poll(kafka_errors.KafkaConnectionError())
        consumer.poll()
    kafka.highwaters[P0] = 2
    kafka.feed(FakeRecord(b"x", [], 1))
    consumer.poll()

    assert not first
    assert consumer.read_on_arrival(P0) == (waits == "never")


def test_offsets_are_committed_only_for_assigned_partitions(kafka, consumer):
    kafka.assigned = {P1}

    consumer.commit_async({P0: 5, P1: 6})
    consumer.commit({P0: 5, P1: 7})

    assert kafka.commits == [{P1: 6}, {P1: 7}]


def test_after_a_rejoin_nothing_is_committed_before_new_records_are_read(kafka):
    consumer = ResilientConsumer.open(["replies"], lambda: kafka)
    kafka.feed(FakeRecord(b"x", [], 17))
    consumer.poll()
    kafka.rejoin()  # another member may have read and committed more meanwhile
    consumer.commit_async({P0: 18})
    consumer.commit({P0: 18})
    before = list(kafka.commits)
    kafka.feed(FakeRecord(b"x", [], 1_700))
    consumer.poll()
    consumer.commit_async({P0: 1_701, P1: 3})

    assert (before, kafka.commits) == ([], [{P0: 1_701}])


def test_after_a_rejoin_partitions_that_were_kept_are_committed(kafka):
    consumer = ResilientConsumer.open(["replies"], lambda: kafka)
    kafka.feed(FakeRecord(b"x", [], 17))
    consumer.poll()
    kafka.positions[P0] = 18  # the library keeps the position with the partition
    kafka.rejoin()
    consumer.commit_async({P0: 18})

    assert kafka.commits == [{P0: 18}]


def test_only_what_was_committed_is_reported(kafka, consumer):
    committed: list[object] = []
    kafka.assigned = {P1}
    consumer.commit_async({P0: 5, P1: 6}, committed.append)
    kafka.commit_error = kafka_errors.CommitFailedError()
    consumer.commit_async({P1: 7}, committed.append)

    assert committed == [{P1: 6}]


def test_nothing_is_committed_without_assigned_partitions(kafka, consumer):
    kafka.assigned = set()

    consumer.commit_async({P0: 5})
    consumer.commit({P0: 5})
    consumer.commit({})

    assert kafka.commits == []


@pytest.mark.parametrize("how", ["commit", "commit_async"])
def test_a_failed_commit_is_logged_and_not_fatal(kafka, consumer, how, caplog):
    caplog.set_level("INFO")
    kafka.commit_error = kafka_errors.CommitFailedError()

    getattr(consumer, how)({P0: 5})

    assert "their records will be delivered again" in caplog.text


def test_closing_leaves_the_group_without_committing(kafka, consumer):
    consumer.close()

    assert kafka.closed
    assert kafka.commits == []


def test_opening_subscribes_to_existing_topics(kafka):
    ResilientConsumer.open(["replies"], lambda: kafka)

    assert kafka.subscribed == ["replies"]


def test_opening_without_brokers_is_a_connection_error():
    with pytest.raises(ConnectionError, match="Unable to bootstrap"):
        ResilientConsumer.open(
            ["replies"], raising(kafka_errors.KafkaTimeoutError("Unable to bootstrap"))
        )


def test_opening_names_missing_topics_and_closes_the_client(kafka):
    with pytest.raises(LookupError, match="more, others"):
        ResilientConsumer.open(["others", "replies", "more"], lambda: kafka)

    assert kafka.closed


def test_an_error_while_topics_are_looked_up_is_a_connection_error(kafka):
    kafka.metadata_error = kafka_errors.KafkaTimeoutError("asleep")

    with pytest.raises(ConnectionError):
        ResilientConsumer.open(["replies"], lambda: kafka)

    assert kafka.closed


def test_the_options_of_a_consumer():
    options = consumer_options({"bootstrap_servers": ["b:1"]}, "replies", 5, "me")

    assert options["bootstrap_servers"] == ["b:1"]
    assert options["group_id"] == "replies"
    assert options["fetch_max_wait_ms"] == 5
    assert options["enable_auto_commit"] is False
    assert options["auto_offset_reset"] == "earliest"
    assert options["allow_auto_create_topics"] is False
    # A killed member blocks its partitions for this long; the default is 45 s.
    assert options["session_timeout_ms"] <= 10_000
    assert options["heartbeat_interval_ms"] * 3 <= options["session_timeout_ms"]
    # A rebalance waits for a missing member for this long; the default is 300 s.
    assert options["session_timeout_ms"] <= options["max_poll_interval_ms"] <= 10_000
    # A deserializer that raises would hang the library.
    assert not [name for name in options if "deserializer" in name]


def test_without_a_group_the_group_id_is_none():
    assert consumer_options({}, None, 500, "me")["group_id"] is None


def test_a_problem_is_an_error_or_the_lack_of_membership_but_no_lack_of_partitions(kafka, consumer):
    consumer.poll()
    assert consumer.problem() is None
    kafka.member = False
    assert "no member" in (consumer.problem() or "")
    kafka.member = True
    kafka.fail_poll(kafka_errors.GroupAuthorizationFailedError("replies"))
    consumer.poll()
    assert "GroupAuthorizationFailedError" in (consumer.problem() or "")


@pytest.mark.parametrize("error", [kafka_errors.GroupAuthorizationFailedError("replies")])
def test_errors_are_counted_by_class(kafka, consumer, error):
    counted = increases(
        1, "rendezvous_kafka_errors_total", client="consumer", error=type(error).__name__
    )
    kafka.fail_poll(error)
    with counted:
        consumer.poll()
