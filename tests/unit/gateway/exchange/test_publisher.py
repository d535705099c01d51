"""The publisher: the outcomes of publications, and checks of topics."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from kafka import errors as kafka_errors

from gateway.exchange.publisher import Publication
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge
from tests.fakes import FakeAdmin, FakeFuture, FakeProducer
from tests.unit.gateway.exchange.conftest import REQUEST, connected, never


def test_a_request_becomes_one_record(new_publisher, brokers):
    new_publisher().publish(REQUEST, 10, never)

    (sent,) = brokers.producers[0].sent
    assert (sent.topic, sent.key, sent.value) == ("orders", b"the-id", b"body")
    assert sent.header("reply-topic") == "replies"


@pytest.mark.parametrize(("key", "partition"), [(None, 0), (b"customer-7", None)])
def test_the_key_of_a_request_chooses_its_partition(new_publisher, brokers, key, partition):
    new_publisher().publish(replace(REQUEST, key=key), 10, never)

    assert brokers.producers[0].sent[0].partition == partition


def test_publishing_does_not_wait_for_the_acknowledgement(new_publisher, brokers):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))

    publication = new_publisher().publish(REQUEST, 10, never)
    before = publication.acknowledged
    future.succeed()

    assert (before, publication.acknowledged, publication.failure) == (False, True, None)


def test_a_later_refusal_is_reported(new_publisher, brokers):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))
    refused: list[PublishRefused] = []

    publication = new_publisher().publish(REQUEST, 10, refused.append)
    future.fail(kafka_errors.MessageSizeTooLargeError())

    assert [type(error) for error in refused] == [PublishTooLarge]
    assert (publication.acknowledged, publication.failure) == (False, None)


def test_an_unconfirmed_record_is_a_failure(new_publisher, brokers):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))

    publication = new_publisher().publish(REQUEST, 10, never)
    future.fail(kafka_errors.RequestTimedOutError())

    assert not publication.acknowledged
    assert publication.failure is not None


def test_waiting_ends_with_the_outcome_for_every_thread():
    publication = Publication()
    publication.wait(0.01)
    publication.wait(-1)
    before = publication.acknowledged
    with ThreadPoolExecutor(2) as threads:
        waits = [threads.submit(publication.wait, 20) for _ in range(2)]
        publication.settle(acknowledged=True)
        for wait in waits:
            wait.result(10)
    publication.wait(20)

    assert not before
    assert publication.acknowledged


def test_a_check_succeeds_when_the_topics_exist(new_publisher):
    connected(new_publisher()).check(["orders", "replies"])


def test_a_check_names_the_topics_that_are_missing(new_publisher):
    with pytest.raises(LookupError, match="more, others"):
        connected(new_publisher()).check(["others", "orders", "more"])


def test_a_check_names_hidden_topics_before_missing_ones(new_publisher, brokers):
    brokers.admin = FakeAdmin(["orders"], denied=["secret"])

    with pytest.raises(PermissionError) as caught:
        connected(new_publisher()).check(["orders", "secret", "others"])

    assert str(caught.value) == "secret"


def test_a_check_fails_while_the_producer_is_not_connected(new_publisher, brokers):
    brokers.next_producers.extend([ConnectionError("Unable to bootstrap")] * 100)

    with pytest.raises(ConnectionError, match="Unable to bootstrap"):
        new_publisher().check(["orders"])


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (None, None),
        (kafka_errors.RequestTimedOutError(), "PublishUnconfirmed"),
        (kafka_errors.MessageSizeTooLargeError(), "PublishTooLarge"),
    ],
)
def test_a_span_ends_with_the_acknowledgement_or_the_failure(
    new_publisher, brokers, traced, error, failure
):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))
    new_publisher().publish(REQUEST, 10, lambda refused: None)
    before = traced()
    if error is None:
        future.succeed()
    else:
        future.fail(error)

    (span,) = traced()
    assert before == []
    assert span.name == "send orders"
    assert span.attributes.get("error.type") == failure
    context = span.context
    header = brokers.producers[0].sent[0].header("traceparent")
    assert header == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_a_span_of_a_record_that_is_not_even_queued_ends(new_publisher, brokers, traced):
    brokers.next_producers.append(FakeProducer(kafka_errors.KafkaTimeoutError("no metadata")))
    with pytest.raises(PublishRefused):
        new_publisher().publish(REQUEST, 10, never)

    (span,) = traced()
    assert span.attributes["error.type"] == "PublishRefused"


def test_a_span_of_a_record_for_which_there_is_no_broker_ends(new_publisher, traced):
    with pytest.raises(PublishRefused):
        new_publisher(start=False).publish(REQUEST, 0.01, never)

    assert [span.attributes["error.type"] for span in traced()] == ["PublishRefused"]
