"""
A consumer of the whole reply topic in every replica (REPLIES_MODE=broadcast).

There is no group, hence no rebalance: when one replica dies, the others have its replies already.
The store keeps the first copy. The price is that each replica reads every reply.
"""

import time
from collections.abc import Callable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from rendezvous.kafka_client.consuming.groupless import GrouplessConsumer
from rendezvous.kafka_client.consuming.opening import build_consumer

#: Interval of checking for new partitions, in seconds; metadata_max_age_ms is added to it.
PARTITIONS_CHECK_INTERVAL_S = 5.0


class BroadcastConsumer(GrouplessConsumer):
    """
    A consumer of all partitions of one topic, including later ones.

    Args:
        consumer: a PatchedConsumer without a group.
        lookback_s: the age of the first records to read, in seconds; older replies have expired.
    """

    def __init__(self, consumer: Any, topic: str, lookback_s: float) -> None:
        super().__init__(consumer)
        self._topic = topic
        self._checked_s = time.monotonic()
        partitions = self._partitions()
        consumer.assign(partitions)
        since_ms = round((time.time() - lookback_s) * 1000)
        # The ends come first: records that arrive between the two calls lie behind them.
        ends = consumer.end_offsets(partitions)
        starts = consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition in partitions:
            start = starts.get(partition)
            consumer.seek(partition, ends[partition] if start is None else start.offset)

    @classmethod
    def open_all(
        cls,
        topic: str,
        new_consumer: Callable[[], Any],
        lookback_s: float,
        find_problem: Callable[[], str | None] = lambda: None,
    ) -> "BroadcastConsumer":
        """Return a consumer of all of *topic*; arguments and errors are those of open()."""
        consumer = build_consumer([topic], new_consumer)
        try:
            found = cls(consumer, topic, lookback_s)
        except KafkaError as error:
            consumer.close()
            raise ConnectionError(str(error)) from error
        found.reopen_with([topic], new_consumer, find_problem)
        return found

    def _before_poll(self) -> None:
        super()._before_poll()
        now_s = time.monotonic()
        if now_s - self._checked_s > PARTITIONS_CHECK_INTERVAL_S:
            self._checked_s = now_s
            self._assign_new_partitions()

    def _partitions(self) -> list[TopicPartition]:
        numbers = self._consumer.partitions_for_topic(self._topic) or ()
        return [TopicPartition(self._topic, number) for number in sorted(numbers)]

    def _assign_new_partitions(self) -> None:
        assigned = self._consumer.assignment()
        new = [partition for partition in self._partitions() if partition not in assigned]
        if new:
            # The others keep their positions; new ones start at "earliest".
            self._consumer.assign([*assigned, *new])
