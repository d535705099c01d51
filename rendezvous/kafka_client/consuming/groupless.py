"""A consumer without a group: it is assigned its partitions and commits nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from rendezvous.kafka_client.consuming.consumer import OnCommit, ResilientConsumer


class GrouplessConsumer(ResilientConsumer):
    """
    A consumer whose partitions its owner assigns. Opened again, it goes on where it was.

    Args:
        consumer: a PatchedConsumer without a group.
    """

    def commit_async(
        self, offsets: Mapping[Any, int], on_commit: OnCommit = lambda _: None
    ) -> None:
        """Do nothing: without a group there are no offsets to commit."""

    def commit(self, offsets: Mapping[Any, int]) -> None:
        """Do nothing: without a group there are no offsets to commit."""

    def _take_over(self, consumer: Any, topics: Sequence[str]) -> None:
        positions = {
            partition: self._consumer.known_position(partition)
            for partition in self._consumer.assignment()
        }
        consumer.assign(list(positions))
        for partition, position in positions.items():
            if position is not None:
                consumer.seek(partition, position)
