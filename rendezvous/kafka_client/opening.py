"""Builds a consumer of topics that exist, and tells it of its new partitions."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener
from kafka import errors as kafka_errors


class AssignmentListener(ConsumerRebalanceListener):  # type: ignore[misc]  # no types
    """
    Calls *on_assigned* with new partitions before the library reads them.

    Args:
        consumer: a PatchedConsumer.
    """

    def __init__(self, consumer: Any, on_assigned: Callable[[Collection[Any]], None]) -> None:
        self._consumer = consumer
        self._on_assigned = on_assigned

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Do nothing: only a new assignment matters."""

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Report those of *assigned*, all partitions or the new ones, that were not kept."""
        # In one that was kept the library goes on where it was; a start often joins twice.
        self._on_assigned([p for p in assigned if self._consumer.known_position(p) is None])


def build_consumer(topics: Sequence[str], new_consumer: Callable[[], Any]) -> Any:
    """
    Return a consumer after checking that all of *topics* exist.

    Raises:
        ConnectionError: when no broker can be reached.
        LookupError: naming the topics that do not exist.
    """
    try:
        consumer = new_consumer()
    except kafka_errors.KafkaError as error:
        raise ConnectionError(str(error)) from error
    try:
        missing = sorted(set(topics) - set(consumer.topics()))
    except kafka_errors.KafkaError as error:
        consumer.close()
        raise ConnectionError(str(error)) from error
    if missing:
        consumer.close()
        raise LookupError(", ".join(missing))
    return consumer
