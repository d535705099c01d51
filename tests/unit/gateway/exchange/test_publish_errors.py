"""Which status, problem and `sent` a client gets for each error of a broker."""

import pytest
from kafka import errors as kafka_errors

from gateway import problems as errors
from gateway.exchange.publisher import RequestPublisher
from gateway.exchange.requester import Requester
from gateway.problems import Problem, Sent
from rendezvous.contract import Request
from rendezvous.kafka_client.producer import RequestProducer
from tests.fakes import FakeFuture, FakeProducer, WaitingClient, eventually


@pytest.fixture
def producer():
    return FakeProducer()


@pytest.fixture
def kafka_publisher(producer):
    publisher = RequestPublisher(
        {}, 0.3, 900_000, open_producer=lambda *args: RequestProducer(producer)
    )
    publisher.start()
    eventually(publisher._connected.is_set)
    yield publisher
    publisher.close()


@pytest.fixture
def requester(ids, mailbox, poller, kafka_publisher):
    return WaitingClient(Requester(ids, mailbox, poller, kafka_publisher), 0.3)


def new_request(correlation_id, deadline_ms):
    return Request(correlation_id, "orders", "replies", deadline_ms, b"body")


def problem_of(requester: WaitingClient) -> Problem:
    with pytest.raises(Problem) as caught:
        requester.send_and_receive(new_request)
    return caught.value


@pytest.mark.parametrize(
    ("error", "problem", "status", "sent"),
    [
        (kafka_errors.MessageSizeTooLargeError(), errors.BodyTooLarge, 413, Sent.NO),
        (kafka_errors.RecordListTooLargeError(), errors.BodyTooLarge, 413, Sent.NO),
        (kafka_errors.TopicAuthorizationFailedError(), errors.NotSent, 503, Sent.NO),
        (kafka_errors.ClusterAuthorizationFailedError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.InvalidRecordError(), errors.NotSent, 503, Sent.NO),
        (kafka_errors.PolicyViolationError(), errors.NotSent, 503, Sent.NO),
        (kafka_errors.NotEnoughReplicasError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.NotEnoughReplicasAfterAppendError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.KafkaStorageError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.NotLeaderForPartitionError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.UnknownTopicOrPartitionError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.KafkaTimeoutError("Expiring"), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.UnknownProducerIdError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.OutOfOrderSequenceNumberError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.InvalidProducerEpochError(), errors.NotSent, 503, Sent.UNKNOWN),
        (kafka_errors.ProducerFencedError(), errors.NotSent, 503, Sent.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_error_of_a_broker_has_a_status_a_problem_and_a_sent_member(
    requester, producer, error, problem, status, sent
):
    producer.outcomes.append(FakeFuture().fail(error))

    found = problem_of(requester)

    assert (type(found), found.status, found.sent) == (problem, status, sent)


def test_a_topic_without_write_access_is_named(requester, producer):
    refused = kafka_errors.TopicAuthorizationFailedError()
    producer.outcomes.append(FakeFuture().fail(refused))

    assert "grant Write on topic 'orders'" in problem_of(requester).detail


def test_a_topic_without_partitions_is_not_sent(requester, producer):
    producer.partitions = []
    found = problem_of(requester)

    assert (type(found), found.status, found.sent) == (errors.NotSent, 503, Sent.NO)
