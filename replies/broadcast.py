"""
Every replica reads all of the reply topic (REPLIES_MODE=broadcast).

No group, hence no rebalance: when one replica dies, the others have the replies already. The store
keeps the first of the copies. The price is that each replica reads every reply.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from rendezvous.kafka_client.consumer import Batch, ResilientConsumer, connect

#: New partitions are noticed within this time and the consumer's metadata age.
PARTITIONS_PAUSE_S = 5.0


class BroadcastConsumer(ResilientConsumer):
    """
    A consumer of all partitions of one topic, those that are added later included.

    Args:
        consumer: the KafkaConsumer, without a group.
        topic: what to read.
        lookback_s: how far back reading starts; older replies have expired.
    """

    def __init__(self, consumer: Any, topic: str, lookback_s: float) -> None:
        super().__init__(consumer)
        self._topic = topic
        self._looked_s = time.monotonic()
        partitions = self._partitions()
        consumer.assign(partitions)
        since_ms = round((time.time() - lookback_s) * 1000)
        # Asked for first: what arrives between the two questions lies behind these ends.
        ends = consumer.end_offsets(partitions)
        found = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition in partitions:
            young = found.get(partition)
            consumer.seek(partition, ends[partition] if young is None else young.offset)

    @classmethod
    def open_all(
        cls, topic: str, new_consumer: Callable[[], Any], lookback_s: float
    ) -> "BroadcastConsumer":
        """
        Return a consumer of all of *topic*.

        Raises:
            ConnectionError: when no broker can be reached.
            LookupError: when the topic does not exist.
        """
        consumer = connect([topic], new_consumer)
        try:
            return cls(consumer, topic, lookback_s)
        except KafkaError as error:
            consumer.close()
            raise ConnectionError(str(error)) from error

    def commit_async(self, offsets: Mapping[Any, int]) -> None:
        """Do nothing: without a group there is nobody to tell."""

    def commit(self, offsets: Mapping[Any, int]) -> None:
        """Do nothing: without a group there is nobody to tell."""

    def _records(self, timeout_ms: int) -> Batch:
        now_s = time.monotonic()
        if now_s - self._looked_s > PARTITIONS_PAUSE_S:
            self._looked_s = now_s
            self._take_new_partitions()
        return super()._records(timeout_ms)

    def _partitions(self) -> list[TopicPartition]:
        numbers = self._consumer.partitions_for_topic(self._topic) or ()
        return [TopicPartition(self._topic, number) for number in sorted(numbers)]

    def _take_new_partitions(self) -> None:
        assigned = self._consumer.assignment()
        new = [partition for partition in self._partitions() if partition not in assigned]
        if new:
            # Those that are read already keep their place; new ones start at "earliest".
            self._consumer.assign([*assigned, *new])
