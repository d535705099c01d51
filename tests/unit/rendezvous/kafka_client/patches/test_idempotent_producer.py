"""Idempotent producers outlive what concerns single records; the library's own parts are asked."""

from types import SimpleNamespace

import pytest
from kafka import errors as kafka_errors
from kafka.producer.transaction_manager import TransactionManager

from gateway.exchange.publisher import RequestPublisher
from rendezvous.kafka_client.patches import idempotent_producer
from tests.fakes import FakeProducer, eventually

REFUSALS = [
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InvalidRecordError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.PolicyViolationError,
]


def new_manager() -> TransactionManager:
    """What a producer has that was told its id."""
    manager = TransactionManager(api_version=(4, 0))
    take_id(manager, 7)
    return manager


def take_id(manager: TransactionManager, producer_id: int) -> None:
    """Ask for an id as the sender does before each turn, and let the broker answer."""
    manager.init_producer_id()
    handler = manager.next_request_handler(has_incomplete_batches=False)
    assert handler is not None, "no id is asked for"
    handler.handle_response(
        SimpleNamespace(error_code=0, producer_id=producer_id, producer_epoch=0)
    )


@pytest.fixture
def manager():
    """A manager in a producer of the publisher's."""
    producer = FakeProducer()
    producer._transaction_manager = new_manager()
    publisher = RequestPublisher({}, 0.3, 900_000, new_producer=lambda **options: producer)
    publisher.start()
    eventually(publisher._connected.is_set)
    yield producer._transaction_manager
    publisher.close()


@pytest.mark.parametrize("error", REFUSALS)
def test_the_refusal_of_one_record_is_not_the_end_of_the_producer(manager, error):
    unmended = new_manager().classify_batch_error(error(), None)

    assert unmended == TransactionManager.ERROR_CLASS_FATAL
    assert manager.classify_batch_error(error(), None) == manager.ERROR_CLASS_NEEDS_EPOCH_BUMP


def test_a_producer_that_gave_its_id_up_asks_for_another(manager):
    manager.reset_producer_id()
    assert not manager.has_producer_id()
    take_id(manager, 8)

    assert manager.producer_id_and_epoch.producer_id == 8


def test_a_producer_that_is_asking_for_an_id_does_not_ask_twice(manager):
    manager.reset_producer_id()
    manager.init_producer_id()
    manager.reset_producer_id()
    manager.init_producer_id()

    assert manager.next_request_handler(has_incomplete_batches=False) is not None
    assert manager.next_request_handler(has_incomplete_batches=False) is None


def test_who_was_never_given_an_id_has_offered_nothing():
    producer = SimpleNamespace(_transaction_manager=TransactionManager(api_version=(4, 0)))
    idempotent_producer.mend(producer, REFUSALS)
    before = idempotent_producer.has_offered_nothing(producer)
    take_id(producer._transaction_manager, 7)

    assert before
    assert not idempotent_producer.has_offered_nothing(producer)


def test_who_gave_an_id_up_may_have_offered_something_under_it(manager):
    manager.reset_producer_id()

    assert not idempotent_producer.has_offered_nothing(
        SimpleNamespace(_transaction_manager=manager)
    )
