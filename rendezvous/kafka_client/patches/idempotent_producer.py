"""
What kafka-python 3.0 gets wrong about idempotent producers, put right from outside.

Two of its mistakes end a producer that a broker would go on to serve; see _outlive_refusals() and
_outlive_resets(). Both places are private: pinned below 3.1, and tested on real brokers.
"""

from collections.abc import Iterable
from typing import Any

from kafka import errors as kafka_errors
from kafka.producer.transaction_manager import TransactionState

#: Not a record's fault but the producer's: it has lost its place and fails every later send too.
_PRODUCER_IS_LOST = (
    kafka_errors.UnknownProducerIdError,
    kafka_errors.OutOfOrderSequenceNumberError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.InvalidProducerIdMappingError,
    kafka_errors.ProducerFencedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.IllegalStateError,
)


def mend(producer: Any, refusals: Iterable[type[Exception]]) -> None:
    """
    Let *producer* outlive what concerns single records only.

    Args:
        producer: a KafkaProducer.
        refusals: the errors by which a broker refuses one record.
    """
    manager = producer._transaction_manager
    _outlive_refusals(manager, refusals)
    _outlive_resets(manager)
    _remember_ids(manager)


def is_lost(producer: Any, error: Exception) -> bool:
    """Say whether *producer*, which failed a record with *error*, will fail all others too."""
    return isinstance(error, _PRODUCER_IS_LOST) or producer._transaction_manager.has_fatal_error()


def has_offered_nothing(producer: Any) -> bool:
    """Say whether *producer* was never given an id, without which it offers no record at all."""
    manager = producer._transaction_manager
    return not (manager.had_an_id or manager.has_producer_id())


def _remember_ids(manager: Any) -> None:
    # That it has none now says little: it may have offered records under one that it gave up.
    manager.had_an_id = False
    take = manager.set_producer_id_and_epoch

    def take_and_remember(id_and_epoch: Any) -> None:
        manager.had_an_id = manager.had_an_id or manager.has_producer_id()
        take(id_and_epoch)

    manager.set_producer_id_and_epoch = take_and_remember


def _outlive_refusals(manager: Any, refusals: Iterable[type[Exception]]) -> None:
    # The library takes a refusal for fatal: with the same error it fails what is on its way to
    # other topics, appended or not, and every later send. A new epoch, as for other errors, is
    # all that is needed.
    manager._NEEDS_EPOCH_BUMP_ERRORS = manager._NEEDS_EPOCH_BUMP_ERRORS | set(refusals)


def _outlive_resets(manager: Any) -> None:
    # When a record that was offered more than once runs out of time, the library forgets its
    # producer id and asks for none: it asks only when it is uninitialised, and it still calls
    # itself ready. From then on nothing is sent, and nothing fails either.
    reset = manager.reset_producer_id

    def reset_and_begin_anew() -> None:
        with manager._lock:
            reset()
            if manager._current_state == TransactionState.READY:
                manager._current_state = TransactionState.UNINITIALIZED

    manager.reset_producer_id = reset_and_begin_anew
