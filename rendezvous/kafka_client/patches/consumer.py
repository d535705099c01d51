"""
PatchedConsumer: a KafkaConsumer that names broken records, and exposes topic ids.

Bug 1: kafka-python 3.0 raises once for a record that it cannot decode, and its next poll() never
returns, at 100 % CPU; the error does not name the record.
Reproduce: undecodable records in tests/e2e/kafka/test_reply_records.py, without UndecodableRecord.
Effect: one broken record does not stop every reply.
Remove: when the error has a partition and an offset, as Java's RecordDeserializationException.

Bug 2: kafka-python 3.0 takes a recreated topic for the old one cut short and goes on at its end.
Reproduce: tests/faults/kafka/test_topics.py in broadcast mode, which fails without topic_id().
Effect: no reply at the beginning of a recreated topic is lost.
Remove: when the library resets the positions of a topic whose id has changed.

Bug 3: kafka-python 3.0 reports neither a lost membership nor the number of members.
Reproduce: tests/faults/replies/test_stalls.py, without is_member().
Effect: a consumer that reads nothing is noticed and opened again.
Remove: when the library reports a lost membership, and describes the group of a consumer.
"""

from typing import Any
from uuid import UUID

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.protocol.admin import DescribeGroupsRequest
from kafka.structs import MemberState

from rendezvous.kafka_client.patches.bounded_batches import MAX_VALUE_BYTES, bound_batches
from rendezvous.kafka_client.patches.direct_consumer import poll_in_caller_thread
from rendezvous.kafka_client.patches.pending_join import finish_pending_joins


class PatchedConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python has no types
    """
    A KafkaConsumer whose broken records and recreated topics can be noticed.

    Its options are those of a KafkaConsumer. It is driven by the thread that polls it. For a record
    that cannot be decoded poll() raises UndecodableRecord; seek past it before the next poll().

    Args:
        max_value_bytes: larger values in compressed batches are DroppedValues.
    """

    def __init__(
        self, *topics: str, max_value_bytes: int = MAX_VALUE_BYTES, **options: Any
    ) -> None:
        super().__init__(*topics, **options)
        poll_in_caller_thread(self, bound_batches(self, max_value_bytes))
        finish_pending_joins(self)

    def topic_id(self, topic: str) -> UUID | None:
        """Return the id that the brokers gave to *topic*; None when it is unknown."""
        identity: UUID | None = self._cluster.topic_id(topic)
        return identity

    def is_member(self) -> bool:
        """Return whether its group has given it an assignment and answers its heartbeats."""
        metadata = self.group_metadata()
        if metadata.group_id is None:
            return True
        if metadata.state is not MemberState.STABLE:
            return False
        return not self._coordinator.heartbeat.session_timeout_expired()

    def group_members(self, timeout_ms: int) -> int:
        """
        Return the number of members of its group, by the broker.

        Raises:
            KafkaError: when the broker does not say.
        """
        request = DescribeGroupsRequest(groups=[self._coordinator.group_id])
        coordinator_id = self._coordinator.coordinator()
        if coordinator_id is None:
            raise kafka_errors.CoordinatorNotAvailableError
        found = self._net.run(self._manager.send, request, coordinator_id, timeout_ms)
        (group,) = found.groups
        if group.error_code:
            raise kafka_errors.for_code(group.error_code)
        return len(group.members)

    def known_position(self, partition: TopicPartition) -> int | None:
        """Return the offset of the next record of an assigned partition, if it is known yet."""
        state = self._subscription.assignment.get(partition)
        position = None if state is None else state.position
        return None if position is None else position.offset
