"""A refused or expired record does not end an idempotent producer."""

from types import SimpleNamespace

import pytest
from kafka import errors as kafka_errors
from kafka.producer.transaction_manager import TransactionManager

from rendezvous.kafka_client.patches import idempotent_producer
from rendezvous.kafka_client.producer import REFUSALS


def take_id(manager: TransactionManager, producer_id: int) -> None:
    """Request an id as the sender does before each turn, and return the broker's response."""
    manager.init_producer_id()
    handler = manager.next_request_handler(has_incomplete_batches=False)
    assert handler is not None, "no id is requested"
    handler.handle_response(
        SimpleNamespace(error_code=0, producer_id=producer_id, producer_epoch=0)
    )


@pytest.fixture
def producer():
    """What the patches need of a producer: the library's own transaction manager, without an id."""
    producer = SimpleNamespace(_transaction_manager=TransactionManager(api_version=(4, 0)))
    idempotent_producer.survive_refusals(producer, REFUSALS)
    idempotent_producer.survive_resets(producer)
    idempotent_producer.remember_ids(producer)
    return producer


@pytest.fixture
def manager(producer):
    """The manager of a producer that has an id."""
    take_id(producer._transaction_manager, 7)
    return producer._transaction_manager


@pytest.mark.parametrize("error", REFUSALS)
def test_a_refused_record_needs_a_new_epoch_only(manager, error):
    unpatched = TransactionManager(api_version=(4, 0))
    take_id(unpatched, 7)

    assert unpatched.classify_batch_error(error(), None) == manager.ERROR_CLASS_FATAL
    assert manager.classify_batch_error(error(), None) == manager.ERROR_CLASS_NEEDS_EPOCH_BUMP


def test_a_producer_without_its_id_requests_another(manager):
    manager.reset_producer_id()
    assert not manager.has_producer_id()
    take_id(manager, 8)

    assert manager.producer_id_and_epoch.producer_id == 8


def test_a_producer_requests_one_id_at_a_time(manager):
    manager.reset_producer_id()
    manager.init_producer_id()
    manager.reset_producer_id()
    manager.init_producer_id()

    assert manager.next_request_handler(has_incomplete_batches=False) is not None
    assert manager.next_request_handler(has_incomplete_batches=False) is None


def test_a_producer_that_never_had_an_id_has_offered_nothing(producer):
    before = idempotent_producer.has_offered_nothing(producer)
    take_id(producer._transaction_manager, 7)

    assert before
    assert not idempotent_producer.has_offered_nothing(producer)


def test_a_producer_that_lost_its_id_may_have_offered_something(producer, manager):
    manager.reset_producer_id()

    assert not idempotent_producer.has_offered_nothing(producer)


def test_a_fatal_error_is_noticed(producer, manager):
    before = idempotent_producer.has_fatal_error(producer)
    manager.transition_to_fatal_error(kafka_errors.ProducerFencedError())

    assert not before
    assert idempotent_producer.has_fatal_error(producer)
