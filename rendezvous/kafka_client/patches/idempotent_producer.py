"""
Keeps an idempotent producer usable after a refused or an expired record.

Bug: kafka-python 3.0 treats the refusal of one record (too large, not authorised) as fatal: it
fails every other record with the same error, appended or not, and every later send. And after a
record has expired it gives its producer id up without asking for a new one: from then on it sends
nothing and reports nothing.
Reproduce: tests/unit/rendezvous/kafka_client/patches/test_idempotent_producer.py for the refusals;
tests/faults/kafka/test_network_partition.py (blackhole), which fails without survive_resets().
Effect: one refused record, or one broker that hangs, no longer costs a worker all its requests.
Remove: when a refused record leaves has_fatal_error() False and reset_producer_id() leads to a new
id in the installed version.
"""

from collections.abc import Iterable
from typing import Any

from kafka.producer.transaction_manager import TransactionState


def survive_refusals(producer: Any, refusals: Iterable[type[Exception]]) -> None:
    """Let *producer* begin a new epoch after each of *refusals*."""
    manager = producer._transaction_manager
    manager._NEEDS_EPOCH_BUMP_ERRORS = manager._NEEDS_EPOCH_BUMP_ERRORS | set(refusals)


def survive_resets(producer: Any) -> None:
    """Ask for a new producer id after the old one was given up."""
    manager = producer._transaction_manager
    reset = manager.reset_producer_id

    def reset_and_ask_again() -> None:
        # The library asks for an id only in the state UNINITIALIZED, which reset() does not set.
        with manager._lock:
            reset()
            if manager._current_state == TransactionState.READY:
                manager._current_state = TransactionState.UNINITIALIZED

    manager.reset_producer_id = reset_and_ask_again


def remember_ids(producer: Any) -> None:
    """Note when *producer* gets an id, for has_offered_nothing()."""
    manager = producer._transaction_manager
    manager.had_an_id = False
    set_id = manager.set_producer_id_and_epoch

    def set_and_remember(id_and_epoch: Any) -> None:
        # A reset goes through here too: the id it replaces may have been used.
        manager.had_an_id = manager.had_an_id or manager.has_producer_id()
        set_id(id_and_epoch)

    manager.set_producer_id_and_epoch = set_and_remember


def has_offered_nothing(producer: Any) -> bool:
    """Return whether *producer* never had an id, without which it sends no record."""
    manager = producer._transaction_manager
    return not (manager.had_an_id or manager.has_producer_id())


def has_fatal_error(producer: Any) -> bool:
    """Return whether *producer* fails every send from now on."""
    return bool(producer._transaction_manager.has_fatal_error())
