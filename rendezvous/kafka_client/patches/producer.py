"""
PatchedProducer: a KafkaProducer with these patches and a complete close().

Bug: when records are left, kafka-python 3.0's close() raises before it stops its thread and its
connections.
Reproduce: close(timeout=1) while the broker hangs; the thread remains.
Effect: a producer that was replaced leaves no thread and no connection behind.
Remove: when close() stops the sender in a ``finally``.
"""

from collections.abc import Callable, Iterable
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from rendezvous.kafka_client.patches import idempotent_producer
from rendezvous.kafka_client.patches.linger import vary_linger


class PatchedProducer(KafkaProducer):  # type: ignore[misc]  # kafka-python has no types
    """
    An idempotent KafkaProducer that survives refused and expired records.

    Args:
        refusals: the errors by which a broker refuses one record.
        linger_ms: returns the current linger in milliseconds.
        options: the arguments of a KafkaProducer.
    """

    def __init__(
        self,
        refusals: Iterable[type[Exception]],
        linger_ms: Callable[[], float],
        **options: Any,
    ) -> None:
        super().__init__(**options, enable_idempotence=True)
        idempotent_producer.survive_refusals(self, refusals)
        idempotent_producer.survive_resets(self)
        idempotent_producer.remember_ids(self)
        vary_linger(self, linger_ms)

    def has_offered_nothing(self) -> bool:
        """Return whether no record can have reached a broker."""
        return idempotent_producer.has_offered_nothing(self)

    def has_fatal_error(self) -> bool:
        """Return whether every send fails from now on."""
        return idempotent_producer.has_fatal_error(self)

    def close(self, timeout: float | None = None, null_logger: bool = False) -> None:
        """Close the producer, also when KafkaTimeoutError says that records are left."""
        try:
            super().close(timeout, null_logger)
        except kafka_errors.KafkaTimeoutError:
            self._sender.force_close()
            raise
