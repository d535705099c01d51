"""The publisher: what is refused, what is unknown, and how a lost producer is replaced."""

import threading
from collections import deque
from dataclasses import replace

import pytest
from kafka import errors as kafka_errors

from gateway.exchange.publisher import (
    PARTITION_TURN_S,
    RECORD_OVERHEAD_BYTES,
    Publication,
    PublishRefused,
    PublishTooLarge,
    RequestPublisher,
)
from rendezvous.contract import Request
from tests.fakes import FakeAdmin, FakeFuture, FakeProducer, eventually

REQUEST = Request("the-id", "orders", "replies", 1_700_000_000_000, b"body")


class Brokers:
    """Builds the producers and admin clients of one publisher, as the test wants them."""

    def __init__(self):
        self.trouble = None
        self.producers = []
        self.next_producers: deque[FakeProducer | Exception] = deque()
        self.admins = []
        self.next_admins: deque[FakeAdmin | Exception] = deque()

    def new_producer(self, **options):
        found = self.next_producers.popleft() if self.next_producers else FakeProducer()
        if isinstance(found, Exception):
            raise found
        found.options = options
        self.producers.append(found)
        return found

    def new_admin(self, **options):
        found = self.next_admins.popleft() if self.next_admins else FakeAdmin(["orders", "replies"])
        if isinstance(found, Exception):
            raise found
        self.admins.append(found)
        return found


@pytest.fixture
def brokers():
    return Brokers()


@pytest.fixture
def new_publisher(brokers):
    built = []

    def build(reply_timeout_s=3.0, start=True, topics=("orders",)):
        publisher = RequestPublisher(
            {"bootstrap_servers": ["b:1"]},
            reply_timeout_s,
            900_000,
            topics,
            trouble=lambda: brokers.trouble,
            new_producer=brokers.new_producer,
            new_admin=brokers.new_admin,
        )
        built.append(publisher)
        if start:
            publisher.start()
        return publisher

    yield build
    for publisher in built:
        publisher.close()


def never(refused):
    raise AssertionError(f"reported as refused: {refused}")


def connected(publisher):
    eventually(publisher._connected.is_set)
    return publisher


def test_a_request_becomes_one_record(new_publisher, brokers):
    new_publisher().publish(REQUEST, 10, never)

    (sent,) = brokers.producers[0].sent
    assert (sent.topic, sent.key, sent.value) == ("orders", b"the-id", b"body")
    assert sent.header("reply-topic") == "replies"


def test_records_without_a_key_of_their_own_share_a_partition_and_take_turns(
    new_publisher, brokers, monkeypatch
):
    now = [100.01]  # in the middle of a turn
    monkeypatch.setattr("gateway.exchange.publisher.time.monotonic", lambda: now[0])
    producer = FakeProducer()
    producer.partitions = [0, 1, 2]
    brokers.next_producers.append(producer)
    publisher = new_publisher()
    turns = []
    for _ in range(3):
        producer.sent.clear()
        for _ in range(5):
            publisher.publish(REQUEST, 10, never)
        turns.append({sent.partition for sent in producer.sent})
        now[0] += PARTITION_TURN_S

    assert [len(turn) for turn in turns] == [1, 1, 1]
    assert set().union(*turns) == {0, 1, 2}


def test_a_record_with_a_key_goes_where_its_key_leads(new_publisher, brokers):
    new_publisher().publish(replace(REQUEST, key=b"customer-7"), 10, never)

    (sent,) = brokers.producers[0].sent
    assert (sent.key, sent.partition) == (b"customer-7", None)


def test_publishing_does_not_wait_for_the_acknowledgement(new_publisher, brokers):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))

    publication = new_publisher().publish(REQUEST, 10, never)
    before = publication.acknowledged
    future.succeed()

    assert (before, publication.acknowledged, publication.trouble) == (False, True, None)


def test_before_the_first_connection_a_request_is_refused_without_telling_addresses(
    new_publisher, brokers
):
    brokers.next_producers.extend([kafka_errors.KafkaTimeoutError("Unable to bootstrap")] * 100)
    publisher = new_publisher()
    eventually(lambda: "Unable" in publisher._trouble)

    with pytest.raises(PublishRefused, match="have not been reached; /readyz"):
        publisher.publish(REQUEST, 0.01, never)


def test_no_client_is_built_while_the_brokers_cannot_be_reached(
    new_publisher, brokers, monkeypatch
):
    # A TLS handshake that nobody answers would hang the constructor for ever.
    monkeypatch.setattr("gateway.exchange.publisher.CONNECT_PAUSE_S", 0.01)
    brokers.trouble = "b:1: no answer"
    publisher = new_publisher()

    with pytest.raises(PublishRefused, match="have not been reached; /readyz"):
        publisher.publish(REQUEST, 0.05, never)
    with pytest.raises(ConnectionError, match="b:1: no answer"):
        publisher.check(["orders"])
    assert brokers.producers == brokers.admins == []
    brokers.trouble = None
    assert publisher.publish(REQUEST, 10, never).acknowledged


def test_a_publisher_that_was_not_started_refuses(new_publisher):
    with pytest.raises(PublishRefused, match="have not been reached"):
        new_publisher(start=False).publish(REQUEST, 0.01, never)


def test_a_request_waits_for_the_first_connection(new_publisher, brokers):
    built = threading.Event()

    def slow(**options):
        built.wait(10)
        return FakeProducer()

    publisher = new_publisher(start=False)
    publisher._new_producer = slow
    publisher.start()
    threading.Timer(0.05, built.set).start()

    assert publisher.publish(REQUEST, 10, never).acknowledged


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            kafka_errors.KafkaError(
                "Unexpected error in InitProducerIdResponse: [Error 31] "
                "ClusterAuthorizationFailedError"
            ),
            "grant Write on topic 'orders'",
        ),
        (kafka_errors.KafkaTimeoutError("Expiring 1 record(s)"), "they do not answer"),
    ],
)
def test_what_a_producer_without_an_id_gives_up_was_never_offered(
    new_publisher, brokers, error, said
):
    future = FakeFuture()
    producer = FakeProducer(future)
    producer._transaction_manager.has_an_id = False
    brokers.next_producers.append(producer)
    refused: list[PublishRefused] = []

    publication = new_publisher().publish(REQUEST, 10, refused.append)
    future.fail(error)

    assert publication.trouble is None
    assert said in str(refused[0])


def test_the_topics_are_looked_up_before_the_first_request(new_publisher, brokers):
    connected(new_publisher())

    assert brokers.producers[0].looked_up == ["orders"]


@pytest.mark.parametrize("reply_timeout_s", [0.1, 3, 6, 28])
def test_no_send_outlives_the_reply_timeout(new_publisher, brokers, reply_timeout_s):
    connected(new_publisher(reply_timeout_s))

    options = brokers.producers[0].options
    timeout_ms = reply_timeout_s * 1000
    assert 0 < options["max_block_ms"] < timeout_ms / 2
    assert 0 < options["request_timeout_ms"] < options["delivery_timeout_ms"] < timeout_ms
    assert options["max_request_size"] == 900_000 + RECORD_OVERHEAD_BYTES
    assert options["allow_auto_create_topics"] is False


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (kafka_errors.KafkaTimeoutError("no metadata"), "create it or see to the brokers"),
        (kafka_errors.UnknownTopicOrPartitionError(), "create it or see to the brokers"),
        (kafka_errors.TopicAuthorizationFailedError(), "grant Write on topic 'orders'"),
        (kafka_errors.InvalidTopicError(), "did not take it"),
        (ValueError("Topic name is illegal"), "Topic name is illegal"),
    ],
)
def test_what_send_itself_raises_is_refused(new_publisher, brokers, error, said):
    brokers.next_producers.append(FakeProducer(error))

    with pytest.raises(PublishRefused, match=said) as caught:
        new_publisher().publish(REQUEST, 10, never)

    assert "orders" in str(caught.value)
    assert not isinstance(caught.value, PublishTooLarge)


@pytest.mark.parametrize(
    "error", [kafka_errors.MessageSizeTooLargeError(), kafka_errors.RecordListTooLargeError()]
)
def test_a_record_that_is_too_large_is_told_apart(new_publisher, brokers, error):
    brokers.next_producers.append(FakeProducer(error, FakeFuture().fail(error)))
    publisher = new_publisher()
    refused: list[PublishRefused] = []

    with pytest.raises(PublishTooLarge):
        publisher.publish(REQUEST, 10, never)
    publisher.publish(REQUEST, 10, refused.append)

    assert [type(found) for found in refused] == [PublishTooLarge]


@pytest.mark.parametrize(
    "error",
    [
        kafka_errors.TopicAuthorizationFailedError(),
        kafka_errors.InvalidTopicError(),
        kafka_errors.PolicyViolationError(),
    ],
)
def test_a_definite_no_to_the_first_offer_is_refused(new_publisher, brokers, error):
    future = FakeFuture()
    refused: list[PublishRefused] = []
    brokers.next_producers.append(FakeProducer(future))

    publication = new_publisher().publish(REQUEST, 10, refused.append)
    future.fail(error)

    assert len(refused) == 1
    assert publication.trouble is None
    assert publication.acknowledged is False


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
        kafka_errors.IllegalStateError("closed"),
    ],
)
def test_a_failure_after_which_the_record_may_be_there_is_unknown(new_publisher, brokers, error):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))

    publication = new_publisher().publish(REQUEST, 10, never)
    future.fail(error)

    assert publication.acknowledged is False
    assert publication.trouble is not None


def test_a_server_that_does_not_know_what_failed_is_unknown(new_publisher, brokers):
    future = FakeFuture()
    refused: list[PublishRefused] = []
    brokers.next_producers.append(FakeProducer(future))

    publication = new_publisher().publish(REQUEST, 10, refused.append)
    future.fail(kafka_errors.UnknownError())

    assert refused == []
    assert publication.trouble is not None


def test_a_producer_that_lost_its_place_cannot_say_that_nothing_was_appended(
    new_publisher, brokers
):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))

    publication = new_publisher().publish(REQUEST, 10, never)
    future.fail(kafka_errors.OutOfOrderSequenceNumberError())

    assert publication.trouble is not None


def test_a_no_that_comes_after_a_repetition_is_unknown(new_publisher, brokers, monkeypatch):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))
    monkeypatch.setattr(
        "gateway.exchange.publisher.RETRY_BACKOFF_MS", 0
    )  # any answer is now a later one

    publication = new_publisher().publish(REQUEST, 10, never)
    future.fail(kafka_errors.TopicAuthorizationFailedError())

    assert publication.trouble is not None


def test_too_large_is_a_no_whenever_it_comes(new_publisher, brokers, monkeypatch):
    future = FakeFuture()
    refused: list[PublishRefused] = []
    brokers.next_producers.append(FakeProducer(future))
    monkeypatch.setattr("gateway.exchange.publisher.RETRY_BACKOFF_MS", 0)

    new_publisher().publish(REQUEST, 10, refused.append)
    future.fail(kafka_errors.MessageSizeTooLargeError())

    assert len(refused) == 1


LOST = [
    kafka_errors.UnknownProducerIdError(),
    kafka_errors.OutOfOrderSequenceNumberError(),
    kafka_errors.InvalidProducerEpochError(),
    kafka_errors.ProducerFencedError(),
]


@pytest.mark.parametrize("error", LOST)
def test_a_producer_that_has_lost_its_place_is_replaced(new_publisher, brokers, error):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))
    publisher = new_publisher()
    publisher.publish(REQUEST, 10, lambda refused: None)
    future.fail(error)

    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert len(brokers.producers) == 2
    eventually(lambda: brokers.producers[0].closed)
    assert not brokers.producers[1].closed


def test_a_producer_whose_send_says_it_is_lost_is_replaced(new_publisher, brokers):
    brokers.next_producers.append(FakeProducer(kafka_errors.IllegalStateError("fatal")))
    publisher = new_publisher()
    with pytest.raises(PublishRefused):
        publisher.publish(REQUEST, 10, never)

    assert publisher.publish(REQUEST, 10, never).acknowledged


def test_what_the_lost_producer_still_fails_does_not_cost_the_new_one(new_publisher, brokers):
    first, second = FakeFuture(), FakeFuture()
    brokers.next_producers.append(FakeProducer(first, second))
    publisher = new_publisher()
    publisher.publish(REQUEST, 10, lambda refused: None)
    publisher.publish(REQUEST, 10, lambda refused: None)
    first.fail(kafka_errors.UnknownProducerIdError())
    eventually(lambda: len(brokers.producers) == 2 and publisher._connected.is_set())
    second.fail(kafka_errors.UnknownProducerIdError())

    assert publisher._producer is brokers.producers[1]


def test_a_producer_that_says_nothing_any_more_is_replaced(
    new_publisher, brokers, monkeypatch, caplog
):
    monkeypatch.setattr("gateway.exchange.publisher.LOOK_PAUSE_S", 0.005)
    brokers.next_producers.append(FakeProducer(FakeFuture()))  # its thread has died: no word ever
    publisher = new_publisher()
    publication = publisher.publish(REQUEST, 10, never)
    eventually(lambda: len(brokers.producers) == 2 and brokers.producers[0].closed)

    assert "no word of any record for 6 s" in caplog.text
    assert not publication.acknowledged  # nor refused: nobody knows
    assert publisher.publish(REQUEST, 10, never).acknowledged


def test_a_producer_that_answers_or_has_nothing_to_do_is_kept(new_publisher, brokers, monkeypatch):
    monkeypatch.setattr("gateway.exchange.publisher.LOOK_PAUSE_S", 0.001)
    publisher = new_publisher()
    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert not publisher._pulse._owed
    with pytest.raises(PublishRefused):
        publisher.publish(replace(REQUEST, topic=""), 10, never)
    assert not publisher._pulse._owed
    looks: list[int] = []
    look = publisher._pulse.look

    def noted():
        looks.append(look())
        return looks[-1]

    monkeypatch.setattr(publisher._pulse, "look", noted)
    eventually(lambda: len(looks) > 20)

    assert set(looks) == {0}
    assert len(brokers.producers) == 1


def test_an_ordinary_failure_keeps_the_producer(new_publisher, brokers):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))
    publisher = new_publisher()
    publisher.publish(REQUEST, 10, never)
    future.fail(kafka_errors.RequestTimedOutError())
    publisher.publish(REQUEST, 10, never)

    assert len(brokers.producers) == 1


def test_a_record_that_expired_costs_the_producer_nothing_and_nobody_knows_its_fate(
    new_publisher, brokers
):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))
    publisher = new_publisher()
    publication = publisher.publish(REQUEST, 10, never)
    future.fail(kafka_errors.KafkaTimeoutError("Expiring 1 record(s)"))

    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert len(brokers.producers) == 1
    assert publication.trouble is not None


def test_the_thread_of_a_producer_that_cannot_be_closed_in_time_is_ended(new_publisher, brokers):
    future, producer = FakeFuture(), FakeProducer()
    producer.troubles.append(future)
    producer.close_trouble = kafka_errors.KafkaTimeoutError("Timeout waiting for future")
    brokers.next_producers.append(producer)
    publisher = new_publisher()
    publisher.publish(REQUEST, 10, never)
    future.fail(kafka_errors.UnknownProducerIdError())

    eventually(lambda: producer._sender.force_closed)


def test_closing_closes_the_clients(new_publisher, brokers):
    publisher = connected(new_publisher())
    publisher.check(["orders"])
    publisher.close()

    assert brokers.producers[0].closed
    assert brokers.admins[0].closed


def test_a_request_after_closing_is_refused(new_publisher):
    publisher = connected(new_publisher())
    publisher.close()

    with pytest.raises(PublishRefused):
        publisher.publish(REQUEST, 0.01, never)


def test_closing_ends_the_connector_whatever_it_does(new_publisher, brokers):
    brokers.next_producers.extend([kafka_errors.KafkaTimeoutError("Unable")] * 100)
    publishers = [new_publisher()]
    eventually(lambda: "Unable" in publishers[0]._trouble)
    brokers.next_producers.clear()
    publishers.append(connected(new_publisher()))

    for publisher in publishers:
        publisher.close()
        assert publisher._thread is not None
        assert not publisher._thread.is_alive()


def test_closing_ends_the_look_ups_of_topics(new_publisher, brokers):
    publisher = new_publisher(start=False, topics=("one", "two", "three"))

    class SlowProducer(FakeProducer):
        def partitions_for(self, topic: str) -> set[int]:
            found = super().partitions_for(topic)
            eventually(publisher._closing.is_set)
            return found

    producer = SlowProducer()
    brokers.next_producers.append(producer)
    publisher.start()
    eventually(lambda: producer.looked_up)
    publisher.close()

    assert producer.looked_up == ["one"]
    assert producer.closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_connector_survives_what_nobody_expected(new_publisher, brokers, monkeypatch):
    monkeypatch.setattr("gateway.exchange.publisher.CONNECT_PAUSE_S", 0.01)
    brokers.next_producers.append(OSError("too many open files"))
    publisher = new_publisher()

    assert publisher.publish(REQUEST, 0.5, never).acknowledged


def test_a_check_succeeds_when_the_topics_are_there(new_publisher):
    connected(new_publisher()).check(["orders", "replies"])


def test_a_check_names_the_topics_that_are_missing(new_publisher):
    with pytest.raises(LookupError, match="more, others"):
        connected(new_publisher()).check(["others", "orders", "more"])


def test_a_check_tells_topics_that_are_denied_from_missing_ones(new_publisher, brokers):
    brokers.next_admins.append(FakeAdmin(["orders"], denied=["secret"]))

    with pytest.raises(PermissionError) as caught:
        connected(new_publisher()).check(["orders", "secret", "others"])

    assert str(caught.value) == "secret"


def test_a_check_fails_while_the_producer_is_not_connected(new_publisher, brokers):
    brokers.next_producers.extend([kafka_errors.KafkaTimeoutError("Unable to bootstrap")] * 100)

    with pytest.raises(ConnectionError, match="KAFKA_URL"):
        new_publisher().check(["orders"])


def test_a_check_of_a_port_that_is_no_brokers_says_what_it_may_be(new_publisher, brokers):
    brokers.next_admins.append(kafka_errors.KafkaTimeoutError("Unable to bootstrap"))

    with pytest.raises(ConnectionError, match=r"is it a TLS port \(then use kafka\+ssl://\)"):
        connected(new_publisher()).check(["orders"])


def test_a_check_that_failed_is_made_with_a_new_client(new_publisher, brokers):
    brokers.next_admins.append(kafka_errors.KafkaTimeoutError("Unable to bootstrap"))
    brokers.next_admins.append(FakeAdmin([], kafka_errors.KafkaTimeoutError("asleep")))
    publisher = connected(new_publisher())

    for _ in range(2):
        with pytest.raises(ConnectionError):
            publisher.check(["orders"])
    publisher.check(["orders"])

    assert [admin.closed for admin in brokers.admins] == [True, False]


def test_a_restart_in_another_process_begins_anew(new_publisher, brokers):
    publisher = connected(new_publisher())
    publisher.start()  # as after a fork: what was connected before is not ours
    publisher.publish(REQUEST, 10, never)

    assert [len(producer.sent) for producer in brokers.producers] == [0, 1]


def test_whoever_waits_for_the_fate_of_a_publication_is_woken_and_may_ask_again():
    publication = Publication()
    publication.wait(0.01)
    publication.wait(-1)
    before = publication.acknowledged
    waiting = [threading.Thread(target=publication.wait, args=(20,)) for _ in range(2)]
    for thread in waiting:
        thread.start()
    publication.settle(acknowledged=True)
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()
    publication.wait(20)

    assert not before
    assert publication.acknowledged
