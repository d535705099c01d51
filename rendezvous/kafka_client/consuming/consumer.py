"""
A Kafka consumer that survives broken records and restarting brokers.

It uses no deserializers: an error in one would hang kafka-python as a broken record does.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from rendezvous.kafka_client.consuming.consumer_errors import advice
from rendezvous.kafka_client.consuming.lag import Lag
from rendezvous.kafka_client.consuming.opening import AssignmentListener, build_consumer
from rendezvous.kafka_client.consuming.recreated_topics import RecreatedTopics
from rendezvous.kafka_client.consuming.stalls import Stalls
from rendezvous.kafka_client.patches.direct_consumer import UndecodableRecord
from rendezvous.process.monitoring.metrics import count_kafka_error
from rendezvous.process.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)

#: Maximum time of one poll() in ms, hence of the delay before a stop is noticed.
POLL_MS = 200
#: Pause after an error of the brokers, in seconds.
ERROR_PAUSE_S = 0.5
#: Time without an error after which partitions count as read again, in seconds.
ERROR_MEMORY_S = 3.0
CLOSE_TIMEOUT_MS = 3_000
#: Maximum time to leave the group of a consumer that read nothing.
CLOSE_STALLED_TIMEOUT_MS = 500

NOT_COMMITTED = "offsets not committed; their records will be delivered again (%s)"

#: ConsumerRecords by TopicPartition.
RecordsByPartition = Mapping[Any, Sequence[Any]]
OnCommit = Callable[[Mapping[Any, int]], object]


class ResilientConsumer:
    """
    A consumer whose poll() survives broken records and errors. For one thread.

    Args:
        consumer: a PatchedConsumer; close() closes it.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._warn = ThrottledLog(logger)
        self._lag = Lag()
        self._recreated = RecreatedTopics(lambda topic: self._consumer.topic_id(topic))
        self._stalls = Stalls()
        self._open_again: Callable[[], Any] | None = None
        self._known_partitions = 0
        #: Assigned partitions of which nothing was read since the assignment.
        self._unread: set[Any] = set()
        self._last_error_s = -math.inf
        self._last_error: kafka_errors.KafkaError | None = None
        #: Number of records that could not be decoded and were skipped; on_skipped() gets each.
        self.undecodable = 0
        self.on_skipped: Callable[[Any, int, Exception], object] = lambda *_: None

    @classmethod
    def open(
        cls,
        topics: Sequence[str],
        new_consumer: Callable[[], Any],
        find_problem: Callable[[], str | None] = lambda: None,
    ) -> Self:
        """
        Return a consumer of *topics*; raises as build_consumer() does.

        Args:
            find_problem: returns why no broker can be reached; asked before it is opened again.
        """
        found = cls(build_consumer(topics, new_consumer))
        found._take_over(found._consumer, topics)
        found.reopen_with(topics, new_consumer, find_problem)
        return found

    def poll(self, timeout_ms: int = POLL_MS) -> RecordsByPartition:
        """Return the next records; empty when none came in time or Kafka failed."""
        try:
            self._before_poll()
            batch: RecordsByPartition = self._consumer.poll(timeout_ms=timeout_ms)
        except kafka_errors.KafkaError as error:
            self._pause_after(error)
            return {}
        except UndecodableRecord as found:
            self._skip_record(found.partition, found.error)
            return {}
        self._unread.difference_update(batch)
        self._lag.note(
            batch, self._consumer.assignment(), self._end_offset, self._consumer.known_position
        )
        return batch

    def read_on_arrival(self, partition: Any) -> bool:
        """Return whether the last records of *partition* came during the last poll()."""
        return partition in self._lag.read_on_arrival

    def lags_s(self) -> dict[Any, float]:
        """
        Return the lag of each partition that is read, in seconds.

        Empty after a recent error, and for a consumer that is no member of its group.
        """
        if self._failed_recently() or not self._consumer.is_member():
            return {}
        reading = self._consumer.assignment() - self._stalls.partitions
        return {partition: self._lag.lag_s(partition) for partition in reading}

    def problem(self) -> str | None:
        """Return why partitions are not read, or None; also for a member without partitions."""
        if self._failed_recently():
            return f"Kafka: {self._last_error}"
        if not self._consumer.is_member():
            return "no member of its consumer group yet, or not any more"
        stalled = sorted(f"{one.topic}/{one.partition}" for one in self._stalls.partitions)
        return f"nothing is read of {', '.join(stalled)}; see the log" if stalled else None

    def partitions_of(self, topic: str) -> int:
        """Return the number of partitions of *topic*, as far as is known."""
        with contextlib.suppress(kafka_errors.KafkaError):
            self._known_partitions = len(self._consumer.partitions_for_topic(topic) or ())
        return self._known_partitions

    def pause(self) -> None:
        """Stop reading the assigned partitions; poll() then only keeps the group membership."""
        self._lag.note_pause()
        self._consumer.pause(*self._consumer.assignment())

    def resume(self) -> None:
        """Read the paused partitions again."""
        paused = self._consumer.paused()
        if paused:
            self._consumer.resume(*paused)

    def commit_async(
        self, offsets: Mapping[Any, int], on_commit: OnCommit = lambda _: None
    ) -> None:
        """Commit *offsets*, each the next one to read, without waiting."""
        positions = self._committable(offsets)
        if positions:
            self._consumer.commit_async(positions, callback=partial(self._end_commit, on_commit))

    def commit(self, offsets: Mapping[Any, int]) -> None:
        """Commit *offsets* and wait for it; after a failure their records are delivered again."""
        positions = self._committable(offsets)
        if not positions:
            return
        try:
            self._consumer.commit(positions, timeout_ms=CLOSE_TIMEOUT_MS)
        except kafka_errors.KafkaError as error:
            logger.info(NOT_COMMITTED, error)

    def close(self) -> None:
        """Leave the group at once, so that the other members take over."""
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    def _before_poll(self) -> None:
        """Do what is due before each poll; may raise KafkaError."""
        if self._recreated.is_due():
            self._reread_recreated_topics()
        if not self._stalls.is_due() or self._failed_recently():
            return
        if self._stalls.check(self._consumer) and self._open_again is not None:
            self._reopen(self._open_again)

    def _failed_recently(self) -> bool:
        return time.monotonic() - self._last_error_s < ERROR_MEMORY_S

    def reopen_with(
        self,
        topics: Sequence[str],
        new_consumer: Callable[[], Any],
        find_problem: Callable[[], str | None],
    ) -> None:
        """Note how to open the consumer again; the arguments are those of open()."""

        def open_again() -> Any:
            problem = find_problem()
            if problem is not None:
                raise ConnectionError(problem)
            consumer = build_consumer(topics, new_consumer)
            self._take_over(consumer, topics)
            return consumer

        self._open_again = open_again

    def _reopen(self, open_again: Callable[[], Any]) -> None:
        """Replace a consumer that reads nothing; what it has not committed is read again."""
        self._stalls.note_reopening()
        try:
            opened = open_again()
        except (ConnectionError, LookupError, kafka_errors.KafkaError) as error:
            logger.warning("the consumer cannot be opened again (%s); trying again", error)
            return
        stalled, self._consumer = self._consumer, opened
        self._lag = Lag()
        self._unread.clear()
        logger.warning("the consumer was opened again")
        with contextlib.suppress(kafka_errors.KafkaError):
            stalled.close(autocommit=False, timeout_ms=CLOSE_STALLED_TIMEOUT_MS)

    def _take_over(self, consumer: Any, topics: Sequence[str]) -> None:
        """Let *consumer*, a new one, read what this one reads."""
        consumer.subscribe(topics, listener=AssignmentListener(consumer, self._unread.update))

    def _reread_recreated_topics(self) -> None:
        assigned = self._consumer.assignment()
        recreated = self._recreated.find({partition.topic for partition in assigned})
        for partition in assigned:
            if partition.topic in recreated:
                text = "topic of %s/%d was recreated; reading from the beginning"
                logger.warning(text, partition.topic, partition.partition)
                self._consumer.seek(partition, 0)

    def _committable(self, offsets: Mapping[Any, int]) -> dict[Any, OffsetAndMetadata]:
        # The broker accepts an older offset and delivers its records again. So nothing is committed
        # for a partition that has moved to another member, nor for one that has come back within a
        # single poll() and may have been read by another member meanwhile.
        ours = self._consumer.assignment() - self._unread
        return {p: OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items() if p in ours}

    def _end_offset(self, partition: Any) -> int | None:
        try:
            end: int | None = self._consumer.highwater(partition)
        except kafka_errors.KafkaError:
            return None  # it has just moved to another member
        return end

    def _end_commit(self, on_commit: OnCommit, positions: Any, result: object) -> None:
        if isinstance(result, kafka_errors.AuthorizationError):
            self._warn.warning("offsets not committed (%s)%s", result, advice(result))
        elif isinstance(result, Exception):
            self._warn.info(NOT_COMMITTED, result)
        else:
            on_commit({partition: position.offset for partition, position in positions.items()})

    def _pause_after(self, error: kafka_errors.KafkaError) -> None:
        self._lag.note_pause()
        self._last_error_s, self._last_error = time.monotonic(), error
        count_kafka_error("consumer", error)
        self._warn.warning("Kafka: %s; trying again%s", error, advice(error))
        time.sleep(ERROR_PAUSE_S)

    def _skip_record(self, partition: Any, error: Exception) -> None:
        self._lag.note_pause()
        offset = self._consumer.position(partition)
        self.undecodable += 1
        self._warn.warning(
            "record %s/%d/%d cannot be decoded and is skipped: %s",
            partition.topic,
            partition.partition,
            offset,
            error,
        )
        # The records behind it in the same batch cannot be decoded either, and are skipped one by
        # one: the library decodes a batch from its start.
        self._consumer.seek(partition, offset + 1)
        self.on_skipped(partition, offset, error)
