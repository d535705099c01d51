"""The consumer that outlives bad records and brokers that come and go."""

import pytest
from kafka import TopicPartition
from kafka import errors as kafka_errors

from rendezvous.kafka_client.consumer import ResilientConsumer, consumer_options
from tests.fakes import FakeConsumer, FakeRecord, eventually

P0, P1 = TopicPartition("replies", 0), TopicPartition("replies", 1)
RECORD = FakeRecord(b"x", [])


@pytest.fixture(autouse=True)
def short_pause(monkeypatch):
    monkeypatch.setattr("rendezvous.kafka_client.consumer.TROUBLE_PAUSE_S", 0.001)


@pytest.fixture
def kafka():
    return FakeConsumer(P0, P1)


@pytest.fixture
def consumer(kafka):
    return ResilientConsumer(kafka)


def test_records_come_as_the_library_returns_them(kafka, consumer):
    kafka.feed(RECORD)

    assert consumer.poll() == {P0: [RECORD]}
    assert consumer.poll() == {}


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        kafka_errors.CorruptRecordError("crc"),
        kafka_errors.UnsupportedCodecError("zstd"),
        kafka_errors.KafkaError("no complete records were found"),
        RuntimeError("whatever"),
    ],
)
def test_a_record_that_cannot_be_decoded_is_stepped_over_and_counted(
    kafka, consumer, error, caplog
):
    kafka.positions[P1] = 41
    kafka.stumble(error, over=P1)
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
    # A record is in its hands all the same: it is not the one at fault.
    kafka.positions[P0] = 7
    kafka.stumble(error, over=P0)
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
def test_what_has_to_be_granted_is_said(kafka, consumer, error, advice, caplog):
    kafka.stumble(error)
    consumer.poll()

    assert advice in caplog.text


def test_nothing_counts_as_read_while_kafka_refuses(kafka, consumer, monkeypatch):
    monkeypatch.setattr("rendezvous.kafka_client.consumer.TROUBLE_FADES_S", 0.05)
    kafka.stumble(kafka_errors.TopicAuthorizationFailedError({"replies"}))
    before = consumer.lags_s()
    consumer.poll()
    refused = consumer.lags_s()
    consumer.poll()  # nothing is refused this time
    still_refused = consumer.lags_s()

    assert (set(before), refused, still_refused) == ({P0, P1}, {}, {})
    eventually(lambda: set(consumer.lags_s()) == {P0, P1})


def test_a_topic_that_was_made_anew_is_read_from_its_start(kafka, consumer, monkeypatch):
    monkeypatch.setattr("rendezvous.kafka_client.recreated_topics.LOOK_PAUSE_S", 0)
    kafka.renew("replies")
    kafka.feed(FakeRecord(b"x", [], 41))
    consumer.poll()
    kafka.positions = {P0: 42, P1: 7}
    consumer.poll()
    stayed = dict(kafka.positions)
    kafka.renew("replies")
    kafka.feed(FakeRecord(b"new", [], 0))

    assert consumer.poll() == {P0: [FakeRecord(b"new", [], 0)]}
    assert stayed == {P0: 42, P1: 7}
    assert kafka.positions == {P0: 0, P1: 0}


def test_an_error_that_is_about_no_record_is_not_hidden(kafka, consumer):
    kafka.stumble(RuntimeError("a fault of ours"))

    with pytest.raises(RuntimeError, match="a fault of ours"):
        consumer.poll()


def test_pausing_holds_what_is_assigned_now_and_resuming_takes_all_up_again(kafka, consumer):
    consumer.pause()
    held = kafka.paused()
    consumer.resume()

    assert held == {P0, P1}
    assert kafka.paused() == set()
    consumer.resume()  # nothing to do


@pytest.mark.parametrize("waits", ["while paused", "while Kafka is in trouble", "never"])
def test_what_was_appended_while_we_polled_is_told_from_what_may_have_waited(
    kafka, consumer, waits
):
    kafka.highwaters[P0] = 1
    kafka.feed(FakeRecord(b"x", [], 0))
    consumer.poll()
    first = consumer.is_fresh(P0)
    if waits == "while paused":
        consumer.pause()
        consumer.resume()
    elif waits == "while Kafka is in trouble":
        kafka.stumble(kafka_errors.KafkaConnectionError())
        consumer.poll()
    kafka.highwaters[P0] = 2
    kafka.feed(FakeRecord(b"x", [], 1))
    consumer.poll()

    assert not first
    assert consumer.is_fresh(P0) == (waits == "never")


def test_offsets_are_committed_for_partitions_that_are_still_ours_only(kafka, consumer):
    kafka.assigned = {P1}

    consumer.commit_async({P0: 5, P1: 6})
    consumer.commit({P0: 5, P1: 7})

    assert kafka.commits == [{P1: 6}, {P1: 7}]


def test_after_partitions_left_and_came_back_within_a_poll_what_was_read_before_says_nothing(kafka):
    consumer = ResilientConsumer.open(["replies"], lambda: kafka)
    before, by_another = FakeRecord(b"x", [], 17), FakeRecord(b"x", [], 1_700)
    kafka.feed(before)
    consumer.poll()
    kafka.rejoin()
    consumer.commit_async({P0: 18})
    consumer.commit({P0: 18})
    at_first = list(kafka.commits)
    kafka.feed(by_another)

    assert at_first == []
    assert consumer.poll() == {P0: [by_another]}
    assert kafka.positions == {}  # no second look at what another one has read
    consumer.commit_async({P0: 1_701, P1: 3})
    assert kafka.commits == [{P0: 1_701}]


def test_nothing_is_committed_when_nothing_is_ours(kafka, consumer):
    kafka.assigned = set()

    consumer.commit_async({P0: 5})
    consumer.commit({P0: 5})
    consumer.commit({})

    assert kafka.commits == []


@pytest.mark.parametrize("how", ["commit", "commit_async"])
def test_a_commit_that_fails_is_told_and_not_fatal(kafka, consumer, how, caplog):
    caplog.set_level("INFO")
    kafka.commit_error = kafka_errors.CommitFailedError()

    getattr(consumer, how)({P0: 5})

    assert "their records will come again" in caplog.text


def test_closing_leaves_the_group_without_committing(kafka, consumer):
    consumer.close()

    assert kafka.closed
    assert kafka.commits == []


def test_opening_subscribes_to_topics_that_are_there(kafka):
    ResilientConsumer.open(["replies"], lambda: kafka)

    assert kafka.subscribed == ["replies"]


def test_opening_without_brokers_is_a_connection_error():
    def unreachable():
        raise kafka_errors.KafkaTimeoutError("Unable to bootstrap")

    with pytest.raises(ConnectionError, match="Unable to bootstrap"):
        ResilientConsumer.open(["replies"], unreachable)


def test_opening_names_the_topics_that_are_missing_and_closes_what_it_built(kafka):
    with pytest.raises(LookupError, match="more, others"):
        ResilientConsumer.open(["others", "replies", "more"], lambda: kafka)

    assert kafka.closed


def test_brokers_that_go_away_while_topics_are_looked_up_are_a_connection_error(kafka):
    kafka.metadata_error = kafka_errors.KafkaTimeoutError("asleep")

    with pytest.raises(ConnectionError):
        ResilientConsumer.open(["replies"], lambda: kafka)

    assert kafka.closed


def test_a_consumer_commits_by_hand_and_misses_nothing():
    options = consumer_options({"bootstrap_servers": ["b:1"]}, "replies", 5, "me")

    assert options["bootstrap_servers"] == ["b:1"]
    assert options["group_id"] == "replies"
    assert options["fetch_max_wait_ms"] == 5
    assert options["enable_auto_commit"] is False
    assert options["auto_offset_reset"] == "earliest"
    assert options["allow_auto_create_topics"] is False
    # A killed replica stalls its partitions this long; the default is 45 s.
    assert options["session_timeout_ms"] <= 10_000
    assert options["heartbeat_interval_ms"] * 3 <= options["session_timeout_ms"]
    # A member that does not come holds up the others so long when they join; the default is 300 s.
    assert options["session_timeout_ms"] <= options["max_poll_interval_ms"] <= 10_000
    # A deserializer that raises would hang the library for good.
    assert not [name for name in options if "deserializer" in name]


def test_without_a_group_there_is_none():
    assert consumer_options({}, None, 500, "me")["group_id"] is None


def test_a_record_that_was_stepped_over_is_not_looked_for_again(kafka, consumer):
    kafka.feed(FakeRecord(b"x", [], 5))
    consumer.poll()
    kafka.positions[P0] = 6
    kafka.stumble(kafka_errors.CorruptRecordError("crc"), over=P0)
    consumer.poll()
    behind = FakeRecord(b"x", [], 7)
    kafka.feed(behind)

    assert consumer.poll() == {P0: [behind]}
