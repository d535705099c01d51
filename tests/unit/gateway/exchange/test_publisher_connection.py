"""The publisher: connecting, replacing a lost producer, closing."""

import threading

import pytest
from kafka import errors as kafka_errors

from rendezvous.kafka_client.producer import PublishRefused
from tests.fakes import FakeFuture, FakeProducer, eventually, raising
from tests.unit.gateway.exchange.conftest import REQUEST, connected, never


def test_before_the_first_connection_a_request_is_refused_without_naming_addresses(
    new_publisher, brokers
):
    brokers.next_producers.extend([ConnectionError("b:1 is unreachable")] * 100)
    publisher = new_publisher()
    eventually(lambda: "unreachable" in publisher._problem)

    with pytest.raises(PublishRefused, match="have not been reached; see /readyz"):
        publisher.publish(REQUEST, 0.01, never)


def test_no_client_is_built_while_no_broker_can_be_reached(new_publisher, brokers):
    # A TLS handshake without an answer would block the constructor forever.
    brokers.problem = "b:1: no answer"
    publisher = new_publisher()

    with pytest.raises(PublishRefused, match="have not been reached; see /readyz"):
        publisher.publish(REQUEST, 0.05, never)
    with pytest.raises(ConnectionError, match="b:1: no answer"):
        publisher.check(["orders"])
    assert brokers.producers == []
    brokers.problem = None
    assert publisher.publish(REQUEST, 10, never).acknowledged


def test_a_publisher_that_was_not_started_refuses(new_publisher):
    with pytest.raises(PublishRefused, match="have not been reached"):
        new_publisher(start=False).publish(REQUEST, 0.01, never)


def test_a_request_waits_for_the_first_connection(new_publisher, brokers):
    brokers.problem = "b:1: no answer"
    publisher = new_publisher()
    threading.Timer(0.05, setattr, (brokers, "problem", None)).start()

    assert publisher.publish(REQUEST, 10, never).acknowledged


def test_the_metadata_of_the_topics_is_fetched_before_the_first_request(new_publisher, brokers):
    connected(new_publisher())

    assert brokers.producers[0].looked_up == ["orders"]


def test_an_unexpected_error_while_connecting_is_retried(new_publisher, brokers):
    brokers.next_producers.append(OSError("too many open files"))

    assert new_publisher().publish(REQUEST, 10, never).acknowledged


def test_an_unexpected_error_while_the_brokers_are_tried_is_retried(new_publisher, brokers):
    brokers.problem = RuntimeError("the token endpoint does not answer")
    publisher = new_publisher()
    eventually(lambda: "token endpoint" in publisher._problem)
    brokers.problem = None

    assert publisher.publish(REQUEST, 10, never).acknowledged


def test_start_in_another_process_builds_a_new_producer(new_publisher, brokers):
    publisher = connected(new_publisher())
    publisher.start()  # as after a fork
    publisher.publish(REQUEST, 10, never)

    assert [len(producer.sent) for producer in brokers.producers] == [0, 1]


@pytest.mark.parametrize("raised_by_send", [False, True])
def test_a_lost_producer_is_replaced(new_publisher, brokers, raised_by_send):
    error = kafka_errors.IllegalStateError("fatal")
    brokers.next_producers.append(
        FakeProducer(error if raised_by_send else FakeFuture().fail(error))
    )
    publisher = new_publisher()
    if raised_by_send:
        with pytest.raises(PublishRefused):
            publisher.publish(REQUEST, 10, never)
    else:
        assert publisher.publish(REQUEST, 10, never).failure is not None

    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert len(brokers.producers) == 2
    eventually(lambda: brokers.producers[0].closed)
    assert not brokers.producers[1].closed


def test_a_lost_producer_is_replaced_although_no_thread_can_be_started(
    new_publisher, brokers, monkeypatch
):
    future = FakeFuture()
    brokers.next_producers.append(FakeProducer(future))
    publisher = new_publisher()
    publication = publisher.publish(REQUEST, 10, never)
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
    future.fail(kafka_errors.UnknownProducerIdError())

    assert publication.failure is not None
    assert publisher.publish(REQUEST, 10, never).acknowledged
    eventually(lambda: brokers.producers[0].closed)


def test_a_lost_producer_that_cannot_be_closed_does_not_end_the_connector(
    new_publisher, brokers, caplog, monkeypatch
):
    lost = [FakeProducer(FakeFuture().fail(kafka_errors.UnknownProducerIdError())) for _ in "12"]
    monkeypatch.setattr(lost[0], "close", raising(RuntimeError("it is closed already")))
    brokers.next_producers.extend(lost)
    publisher = new_publisher()
    for _ in lost:
        publisher.publish(REQUEST, 10, never)
    eventually(lambda: lost[1].closed)

    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert "closing a producer that was replaced failed" in caplog.text


def test_late_failures_of_a_replaced_producer_do_not_replace_its_successor(new_publisher, brokers):
    first, second = FakeFuture(), FakeFuture()
    brokers.next_producers.append(FakeProducer(first, second))
    publisher = new_publisher()
    publisher.publish(REQUEST, 10, never)
    publisher.publish(REQUEST, 10, never)
    first.fail(kafka_errors.UnknownProducerIdError())
    eventually(lambda: len(brokers.producers) == 2 and publisher._connected.is_set())
    second.fail(kafka_errors.UnknownProducerIdError())

    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert len(brokers.producers) == 2


def test_threads_that_find_a_producer_lost_at_once_replace_it_once(
    new_publisher, brokers, caplog, monkeypatch
):
    publisher = connected(new_publisher())
    lost = publisher._producer
    lost.lost = "an error"
    threads = 8
    together = threading.Barrier(threads)

    class Slow:
        """A lock that every thread reaches before any of them has it."""

        def __init__(self, lock):
            self._lock = lock

        def __enter__(self):
            if threading.current_thread().name == "finder":
                together.wait(10)
            return self._lock.__enter__()

        def __exit__(self, *args):
            return self._lock.__exit__(*args)

    monkeypatch.setattr(publisher, "_lock", Slow(publisher._lock))
    finders = [
        threading.Thread(target=publisher._replace_if_lost, args=(lost,), name="finder")
        for _ in range(threads)
    ]
    for finder in finders:
        finder.start()
    for finder in finders:
        finder.join(10)

    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert caplog.text.count("rebuilding it") == 1
    assert len(brokers.producers) == 2


def test_an_unconfirmed_record_keeps_the_producer(new_publisher, brokers):
    future = FakeFuture().fail(kafka_errors.KafkaTimeoutError("Expiring 1 record(s)"))
    brokers.next_producers.append(FakeProducer(future))
    publisher = new_publisher()
    publisher.publish(REQUEST, 10, never)

    assert publisher.publish(REQUEST, 10, never).acknowledged
    assert len(brokers.producers) == 1


def test_closing_closes_the_clients(new_publisher, brokers):
    publisher = connected(new_publisher())
    publisher.check(["orders"])
    publisher.close()

    assert brokers.producers[0].closed
    assert brokers.admin.closed


def test_a_request_after_closing_is_refused(new_publisher):
    publisher = connected(new_publisher())
    publisher.close()

    with pytest.raises(PublishRefused):
        publisher.publish(REQUEST, 0.01, never)


@pytest.mark.parametrize("can_connect", [False, True])
def test_closing_ends_the_connector_thread(new_publisher, brokers, can_connect):
    brokers.problem = None if can_connect else "no answer"
    publisher = new_publisher()
    eventually(lambda: publisher._connected.is_set() or "no answer" in publisher._problem)
    publisher.close()

    assert publisher._thread is not None
    assert not publisher._thread.is_alive()


def test_closing_ends_the_fetching_of_metadata(new_publisher, brokers):
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
