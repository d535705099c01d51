"""The producer of request records: options, partitions, and what each error means."""

from typing import Any

import pytest
from kafka import errors as kafka_errors

from rendezvous.kafka_client import producer as producer_module
from rendezvous.kafka_client.producer import (
    RECORD_OVERHEAD_BYTES,
    SHARED_PARTITION_S,
    PublishRefused,
    PublishTooLarge,
    PublishUnconfirmed,
    RequestProducer,
)
from tests.fakes import FakeFuture, FakeProducer, raising


@pytest.fixture
def kafka():
    return FakeProducer()


@pytest.fixture
def producer(kafka):
    return RequestProducer(kafka)


def send(producer, topic="orders", key=b"the-id", is_ordered=False):
    """Send one record and return the list that its outcome will be in."""
    outcomes: list[Exception | None] = []
    producer.send(topic, key, b"body", [], outcomes.append, is_ordered=is_ordered)
    return outcomes


def outcome_of(kafka, producer, error):
    """Return the outcome of a record that the broker answers with *error*."""
    kafka.outcomes.append(FakeFuture().fail(error))
    (outcome,) = send(producer)
    return outcome


@pytest.mark.parametrize("reply_timeout_s", [0.1, 3, 6, 28])
def test_no_send_outlives_the_reply_timeout(reply_timeout_s):
    options: dict[str, Any] = {}
    connection = {"bootstrap_servers": ["b:1"]}
    RequestProducer.open(connection, reply_timeout_s, 900_000, lambda: 0.0, options.update)

    timeout_ms = reply_timeout_s * 1000
    assert options["bootstrap_servers"] == ["b:1"]
    assert 0 < options["max_block_ms"] < timeout_ms / 2
    assert 0 < options["request_timeout_ms"] < options["delivery_timeout_ms"] < timeout_ms
    assert options["max_request_size"] == 900_000 + RECORD_OVERHEAD_BYTES
    assert options["allow_auto_create_topics"] is False


def test_brokers_that_do_not_answer_are_a_connection_error():
    with pytest.raises(ConnectionError, match="KAFKA_URL do not answer"):
        RequestProducer.open(
            {},
            3,
            900_000,
            lambda: 0.0,
            raising(kafka_errors.KafkaTimeoutError("Unable to bootstrap")),
        )


# Partitions


def test_records_without_a_key_of_their_own_share_one_partition_at_a_time(
    kafka, producer, monkeypatch
):
    now_s = [100.01]  # in the middle of a turn
    monkeypatch.setattr("rendezvous.kafka_client.producer.time.monotonic", lambda: now_s[0])
    kafka.partitions = [0, 1, 2]
    turns = []
    for _ in range(3):
        kafka.sent.clear()
        for _ in range(5):
            send(producer)
        turns.append({sent.partition for sent in kafka.sent})
        now_s[0] += SHARED_PARTITION_S

    assert [len(turn) for turn in turns] == [1, 1, 1]
    assert set().union(*turns) == {0, 1, 2}


def test_an_ordered_record_goes_to_the_partition_of_its_key(kafka, producer):
    send(producer, key=b"customer-7", is_ordered=True)

    (sent,) = kafka.sent
    assert (sent.key, sent.partition) == (b"customer-7", None)


def test_a_topic_without_partitions_refuses_the_record_and_keeps_the_producer(kafka, producer):
    kafka.partitions = []

    with pytest.raises(PublishRefused, match="it has no partitions"):
        send(producer)
    assert producer.lost is None


def test_errors_while_fetching_metadata_are_left_to_the_first_record(kafka, producer, monkeypatch):
    producer.fetch_metadata("orders")
    monkeypatch.setattr(
        kafka, "partitions_for", raising(kafka_errors.KafkaTimeoutError("no metadata"))
    )
    producer.fetch_metadata("others")

    assert kafka.looked_up == ["orders"]


# Outcomes


def test_an_acknowledged_record_has_no_error(kafka, producer):
    future = FakeFuture()
    kafka.outcomes.append(future)
    outcomes = send(producer)
    before = list(outcomes)
    future.succeed()

    assert (before, outcomes) == ([], [None])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (kafka_errors.KafkaTimeoutError("no metadata"), "create the topic or check the brokers"),
        (kafka_errors.UnknownTopicOrPartitionError(), "create the topic or check the brokers"),
        (kafka_errors.TopicAuthorizationFailedError(), "grant Write on topic 'orders'"),
        (kafka_errors.InvalidTopicError(), "refused by topic 'orders'"),
        (ValueError("Topic name is illegal"), "Topic name is illegal"),
    ],
)
def test_a_record_for_which_send_raises_is_refused(kafka, producer, error, message):
    kafka.outcomes.append(error)

    with pytest.raises(PublishRefused, match=message) as caught:
        send(producer)

    assert "orders" in str(caught.value)
    assert not isinstance(caught.value, PublishTooLarge)


@pytest.mark.parametrize(
    "error", [kafka_errors.MessageSizeTooLargeError(), kafka_errors.RecordListTooLargeError()]
)
def test_a_record_that_is_too_large_has_an_error_of_its_own(kafka, producer, error):
    kafka.outcomes.append(error)

    with pytest.raises(PublishTooLarge):
        send(producer)
    assert isinstance(outcome_of(kafka, producer, error), PublishTooLarge)


@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.TopicAuthorizationFailedError(),
        kafka_errors.InvalidTopicError(),
        kafka_errors.PolicyViolationError(),
    ],
)
def test_a_refusal_of_the_first_attempt_is_refused(kafka, producer, error):
    assert isinstance(outcome_of(kafka, producer, error), PublishRefused)
    assert producer.lost is None


@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.KafkaTimeoutError("Expiring batch"),
        kafka_errors.RequestTimedOutError(),
        kafka_errors.NotEnoughReplicasAfterAppendError(),
        kafka_errors.KafkaConnectionError("gone"),
        kafka_errors.NetworkExceptionError(),
        kafka_errors.Cancelled(),
        kafka_errors.KafkaError("whatever"),
        kafka_errors.UnknownError(),
    ],
)
def test_a_failure_after_which_the_record_may_be_appended_is_unconfirmed(kafka, producer, error):
    assert isinstance(outcome_of(kafka, producer, error), PublishUnconfirmed)
    assert producer.lost is None


def test_a_refusal_that_may_answer_a_later_attempt_is_unconfirmed(kafka, producer, monkeypatch):
    monkeypatch.setattr(producer_module, "RETRY_BACKOFF_MS", 0)
    error = kafka_errors.TopicAuthorizationFailedError()

    assert isinstance(outcome_of(kafka, producer, error), PublishUnconfirmed)


def test_a_record_that_is_too_large_is_refused_at_any_attempt(kafka, producer, monkeypatch):
    monkeypatch.setattr(producer_module, "RETRY_BACKOFF_MS", 0)
    error = kafka_errors.MessageSizeTooLargeError()

    assert isinstance(outcome_of(kafka, producer, error), PublishTooLarge)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            kafka_errors.KafkaError(
                "Unexpected error in InitProducerIdResponse: [Error 31] "
                "ClusterAuthorizationFailedError"
            ),
            "grant Write on topic 'orders'",
        ),
        (kafka_errors.KafkaTimeoutError("Expiring 1 record(s)"), "the brokers do not answer"),
    ],
)
def test_a_producer_that_never_had_an_id_has_sent_nothing(kafka, producer, error, message):
    kafka.has_an_id = False
    outcome = outcome_of(kafka, producer, error)

    assert isinstance(outcome, PublishRefused)
    assert message in str(outcome)


# Lost producers


@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.UnknownProducerIdError(),
        kafka_errors.OutOfOrderSequenceNumberError(),
        kafka_errors.InvalidProducerEpochError(),
        kafka_errors.ProducerFencedError(),
        kafka_errors.ClusterAuthorizationFailedError(),
        kafka_errors.IllegalStateError("closed"),
    ],
)
def test_an_error_of_the_producer_itself_means_that_it_is_lost(kafka, producer, error):
    assert isinstance(outcome_of(kafka, producer, error), PublishUnconfirmed)
    assert producer.lost == str(error)


def test_a_producer_in_a_fatal_state_is_lost_after_any_error(kafka, producer):
    kafka.is_fatal = True
    outcome_of(kafka, producer, kafka_errors.KafkaError("Unexpected error in a response"))

    assert producer.lost is not None


def test_an_error_that_send_raises_can_mean_that_the_producer_is_lost(kafka, producer):
    kafka.outcomes.append(kafka_errors.IllegalStateError("fatal"))

    with pytest.raises(PublishRefused):
        send(producer)
    assert producer.lost is not None


def test_only_the_first_record_that_a_lost_producer_fails_is_refused(kafka, producer):
    first, second = FakeFuture(), FakeFuture()
    kafka.outcomes.extend([first, second])
    outcomes = send(producer), send(producer, "others")
    kafka.is_fatal = True
    error = kafka_errors.MessageSizeTooLargeError()
    first.fail(error)
    second.fail(error)

    assert [type(outcome) for (outcome,) in outcomes] == [PublishTooLarge, PublishUnconfirmed]


def test_a_producer_that_cannot_be_closed_in_time_is_logged(kafka, producer, monkeypatch, caplog):
    monkeypatch.setattr(
        kafka, "close", raising(kafka_errors.KafkaTimeoutError("Timeout waiting for future"))
    )
    producer.close()

    assert "closed with records unsent" in caplog.text
