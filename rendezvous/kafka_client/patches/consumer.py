"""
PatchedConsumer: a KafkaConsumer that exposes broken records and topic ids.

Bug 1: kafka-python 3.0 raises once for a record that it cannot decode, and its next poll() never
returns, at 100 % CPU; the error does not name the record.
Reproduce: undecodable records in tests/e2e/kafka/test_reply_records.py, without held_partition().
Effect: one broken record does not stop every reply.
Remove: when the error has a partition and an offset, as Java's RecordDeserializationException.

Bug 2: kafka-python 3.0 takes a recreated topic for the old one cut short and goes on at its end.
Reproduce: tests/faults/kafka/test_topics.py in broadcast mode, which fails without topic_id().
Effect: no reply at the beginning of a recreated topic is lost.
Remove: when the library resets the positions of a topic whose id has changed.
"""

from typing import Any
from uuid import UUID

from kafka import KafkaConsumer, TopicPartition

from rendezvous.kafka_client.patches.bounded_batches import MAX_VALUE_BYTES, bound_batches
from rendezvous.kafka_client.patches.direct_consumer import poll_in_caller_thread
from rendezvous.kafka_client.patches.pending_join import finish_pending_joins


class PatchedConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python has no types
    """
    A KafkaConsumer whose broken records and recreated topics can be noticed.

    Its options are those of a KafkaConsumer. It is driven by the thread that polls it.

    Args:
        max_value_bytes: larger values in compressed batches are DroppedValues.
    """

    def __init__(
        self, *topics: str, max_value_bytes: int = MAX_VALUE_BYTES, **options: Any
    ) -> None:
        super().__init__(*topics, **options)
        poll_in_caller_thread(self, bound_batches(self, max_value_bytes))
        finish_pending_joins(self)

    def held_partition(self) -> TopicPartition | None:
        """Return the partition whose records the last poll() was decoding when it failed."""
        held = self._fetcher._next_partition_records
        return None if held is None else held.topic_partition

    def topic_id(self, topic: str) -> UUID | None:
        """Return the id that the brokers gave to *topic*; None when it is unknown."""
        identity: UUID | None = self._cluster.topic_id(topic)
        return identity
