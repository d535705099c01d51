"""A consumer of one partition of a topic, which it reads from its end."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from rendezvous.kafka_client.consuming.groupless import GrouplessConsumer
from rendezvous.kafka_client.consuming.opening import build_consumer


class PartitionConsumer(GrouplessConsumer):
    """
    A consumer of one partition: what is appended from now on.

    There is no group, so nothing stops while other processes come and go.

    Args:
        consumer: a PatchedConsumer without a group.
        choose: returns the partition to read, given their number.

    Attributes:
        partition: the number of the partition.
    """

    def __init__(self, consumer: Any, topic: str, choose: Callable[[int], int]) -> None:
        super().__init__(consumer)
        self._topic = topic
        partitions = self.partitions()
        if not partitions:  # deleted meanwhile
            raise LookupError(topic)
        self.partition = choose(partitions)
        own = TopicPartition(topic, self.partition)
        consumer.assign([own])
        consumer.seek(own, consumer.end_offsets([own])[own])

    @classmethod
    def open_one(
        cls,
        topic: str,
        new_consumer: Callable[[], Any],
        choose: Callable[[int], int],
        find_problem: Callable[[], str | None] = lambda: None,
    ) -> "PartitionConsumer":
        """Return a consumer of a partition of *topic*; raises as open() does."""
        consumer = build_consumer([topic], new_consumer)
        try:
            found = cls(consumer, topic, choose)
        except LookupError:
            consumer.close()
            raise
        except KafkaError as error:
            consumer.close()
            raise ConnectionError(str(error)) from error
        found.reopen_with([topic], new_consumer, find_problem)
        return found

    def partitions(self) -> int:
        """Return the number of partitions of the topic, as far as is known."""
        return self.partitions_of(self._topic)

    def is_reading(self) -> bool:
        """Return whether the partition is read, without an error or a stall."""
        return bool(self.lags_s())

    def close(self) -> None:
        """Close the connections, as far as the brokers let it."""
        with suppress(KafkaError):
            super().close()
