"""What Kafka answers to a record, and what the client is told: status, problem, `sent`."""

import pytest
from kafka import errors as kafka_errors

from gateway import problems as errors
from gateway.exchange.publisher import RequestPublisher
from gateway.exchange.requester import Requester
from gateway.problems import Problem, Sent
from rendezvous.contract import Request
from tests.fakes import FakeFuture, FakeProducer, PatientClient, eventually

LATER = "the broker did not acknowledge it"


class Brokers:
    """Builds the producers of one publisher: first *first*, then ones that acknowledge."""

    def __init__(self, first: FakeProducer) -> None:
        self.producers: list[FakeProducer] = []
        self._next = [first]

    def new_producer(self, **options):
        self.producers.append(self._next.pop() if self._next else FakeProducer())
        return self.producers[-1]


@pytest.fixture
def producer():
    return FakeProducer()


@pytest.fixture
def brokers(producer):
    return Brokers(producer)


@pytest.fixture
def kafka_publisher(brokers):
    publisher = RequestPublisher({}, 0.3, 900_000, new_producer=brokers.new_producer)
    publisher.start()
    eventually(publisher._connected.is_set)
    yield publisher
    publisher.close()


@pytest.fixture
def requester(ids, mailbox, kafka_publisher):
    return PatientClient(Requester(ids, mailbox, kafka_publisher), 0.3)


def request_to(topic: str) -> Request:
    return Request("the-id", topic, "replies", 1_700_000_000_000, b"body")


def new_request(correlation_id, deadline_ms):
    return Request(correlation_id, "orders", "replies", deadline_ms, b"body")


def ending_of(requester: PatientClient) -> Problem:
    with pytest.raises(Problem) as caught:
        requester.send_and_receive(new_request)
    return caught.value


@pytest.mark.parametrize(
    ("error", "problem", "status", "sent"),
    [
        (kafka_errors.MessageSizeTooLargeError(), errors.BodyTooLarge, 413, Sent.NO),
        (kafka_errors.RecordListTooLargeError(), errors.BodyTooLarge, 413, Sent.NO),
        (kafka_errors.TopicAuthorizationFailedError(), errors.NotSent, 503, Sent.NO),
        (kafka_errors.ClusterAuthorizationFailedError(), errors.NotSent, 503, Sent.NO),
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
def test_each_refusal_of_a_broker_ends_in_its_own_way(
    requester, producer, error, problem, status, sent
):
    producer.troubles.append(FakeFuture().fail(error))

    ending = ending_of(requester)

    assert (type(ending), ending.status, ending.sent) == (problem, status, sent)


def test_a_topic_that_may_not_be_written_is_named(requester, producer):
    refused = kafka_errors.TopicAuthorizationFailedError()
    producer.troubles.append(FakeFuture().fail(refused))

    assert "grant Write on topic 'orders'" in ending_of(requester).detail


def test_what_a_lost_producer_fails_with_the_error_of_another_is_not_called_refused(
    kafka_publisher, producer
):
    culprit, bystander = FakeFuture(), FakeFuture()
    producer.troubles.extend([culprit, bystander])
    refused: list[str] = []
    kafka_publisher.publish(request_to("small"), 1, lambda _: refused.append("culprit"))
    publication = kafka_publisher.publish(
        request_to("other"), 1, lambda _: refused.append("bystander")
    )
    producer._transaction_manager.is_fatal = True
    error = kafka_errors.MessageSizeTooLargeError()
    culprit.fail(error)
    bystander.fail(error)

    assert refused == ["culprit"]
    assert publication.trouble is not None
    assert LATER in publication.trouble


def test_a_producer_in_a_fatal_state_is_replaced_whatever_its_error_says(
    kafka_publisher, producer, brokers
):
    future = FakeFuture()
    producer.troubles.append(future)
    kafka_publisher.publish(request_to("orders"), 1, lambda _: None)
    producer._transaction_manager.is_fatal = True
    future.fail(kafka_errors.KafkaError("Unexpected error in InitProducerIdResponse"))

    assert kafka_publisher.publish(request_to("orders"), 1, lambda _: None).acknowledged
    assert len(brokers.producers) == 2
    eventually(lambda: producer.closed)
