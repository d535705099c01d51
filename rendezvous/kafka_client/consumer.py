"""
A Kafka consumer that survives broken records and restarting brokers.

It uses no deserializers: an error in one would hang kafka-python as a broken record does.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from rendezvous.kafka_client.lag import Lag
from rendezvous.kafka_client.patches.prompt_client import prompt_client
from rendezvous.kafka_client.recreated_topics import RecreatedTopics
from rendezvous.process.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)

#: Maximum time of one poll() in ms, hence of the delay before a stop is noticed.
POLL_MS = 200
#: Session timeout of the group: the minimum of brokers; a killed member blocks its partitions.
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 1_500
#: How long a rebalance waits for a missing member, while no member reads. The library's default of
#: 300 s stopped all replies after a broker's restart. Our consumers poll far more often than this.
MAX_POLL_INTERVAL_MS = SESSION_TIMEOUT_MS
#: Pause after an error of the brokers, in seconds.
ERROR_PAUSE_S = 0.5
#: Time without an error after which partitions count as read again, in seconds.
ERROR_MEMORY_S = 3.0
CLOSE_TIMEOUT_MS = 3_000

#: ConsumerRecords by TopicPartition.
RecordsByPartition = Mapping[Any, Sequence[Any]]


def consumer_options(
    connection: Mapping[str, Any], group: str | None, fetch_max_wait_ms: int, client_id: str
) -> dict[str, Any]:
    """Return the arguments of a consumer without automatic commits, in *group* if given."""
    return dict(connection) | {
        "group_id": group,
        "client_id": client_id,
        # "latest" would silently skip what came before the first assignment.
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "session_timeout_ms": SESSION_TIMEOUT_MS,
        "heartbeat_interval_ms": HEARTBEAT_MS,
        "max_poll_interval_ms": MAX_POLL_INTERVAL_MS,
        "fetch_max_wait_ms": fetch_max_wait_ms,
        # New topics and partitions are noticed within this time.
        "metadata_max_age_ms": 10_000,
        "max_poll_records": 1_000,
        "reconnect_backoff_max_ms": 1_000,
        # A fetch without an answer blocks its partitions for this long.
        "request_timeout_ms": fetch_max_wait_ms + 3_000,
        "bootstrap_timeout_ms": 5_000,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        "kafka_client": prompt_client,
    }


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
        self._recreated = RecreatedTopics(consumer.topic_id)
        self._known_partitions = 0
        #: Assigned partitions of which nothing was read since the assignment.
        self._unread: set[Any] = set()
        self._last_error_s = -math.inf
        #: Number of records that could not be decoded and were skipped.
        self.undecodable = 0

    @classmethod
    def open(cls, topics: Sequence[str], new_consumer: Callable[[], Any]) -> "ResilientConsumer":
        """Return a consumer of *topics*; raises as build_consumer() does."""
        consumer = build_consumer(topics, new_consumer)
        found = cls(consumer)
        consumer.subscribe(topics, listener=_AssignmentListener(found._unread.update))
        return found

    def poll(self, timeout_ms: int = POLL_MS) -> RecordsByPartition:
        """Return the next records; empty when none came in time or Kafka failed."""
        try:
            self._before_poll()
        except kafka_errors.KafkaError as error:
            self._pause_after(error)
            return {}
        try:
            batch: RecordsByPartition = self._consumer.poll(timeout_ms=timeout_ms)
        except Exception as error:
            if not self._recover_from(error):
                raise
            return {}
        # Outside of "try": an error below is not about a record, and must not skip one.
        self._unread.difference_update(batch)
        self._lag.note(batch, self._consumer.assignment(), self._end_offset)
        return batch

    def read_on_arrival(self, partition: Any) -> bool:
        """Return whether the last records of *partition* came during the last poll()."""
        return partition in self._lag.read_on_arrival

    def lags_s(self) -> dict[Any, float]:
        """Return the lag of each assigned partition in seconds; empty after a recent error."""
        if time.monotonic() - self._last_error_s < ERROR_MEMORY_S:
            return {}
        return {partition: self._lag.lag_s(partition) for partition in self._consumer.assignment()}

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

    def commit_async(self, offsets: Mapping[Any, int]) -> None:
        """Commit *offsets*, each the next one to read, without waiting."""
        positions = self._committable(offsets)
        if positions:
            self._consumer.commit_async(positions, callback=self._log_failed_commit)

    def commit(self, offsets: Mapping[Any, int]) -> None:
        """Commit *offsets* and wait for it; after a failure their records are delivered again."""
        positions = self._committable(offsets)
        if not positions:
            return
        try:
            self._consumer.commit(positions, timeout_ms=CLOSE_TIMEOUT_MS)
        except kafka_errors.KafkaError as error:
            logger.info("offsets not committed; their records will be delivered again (%s)", error)

    def close(self) -> None:
        """Leave the group at once, so that the other members take over."""
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    def _before_poll(self) -> None:
        """Do what is due before each poll; may raise KafkaError."""
        if self._recreated.is_due():
            self._reread_recreated_topics()

    def _reread_recreated_topics(self) -> None:
        assigned = self._consumer.assignment()
        recreated = self._recreated.find({partition.topic for partition in assigned})
        for partition in assigned:
            if partition.topic in recreated:
                logger.warning(
                    "topic of %s/%d was recreated; reading from the beginning",
                    partition.topic,
                    partition.partition,
                )
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

    def _log_failed_commit(self, offsets: object, result: object) -> None:
        if isinstance(result, kafka_errors.AuthorizationError):
            self._warn.warning("offsets not committed (%s)%s", result, _advice(result))
        elif isinstance(result, Exception):
            self._warn.info(
                "offsets not committed; their records will be delivered again (%s)", result
            )

    def _recover_from(self, error: Exception) -> bool:
        """Make the next poll() possible; return False when *error* is not Kafka's."""
        if isinstance(error, kafka_errors.KafkaError) and not _is_about_a_record(error):
            self._pause_after(error)
            return True
        partition = self._consumer.held_partition()
        if partition is None:
            return False
        self._skip_record(partition, error)
        return True

    def _pause_after(self, error: kafka_errors.KafkaError) -> None:
        self._lag.note_pause()
        self._last_error_s = time.monotonic()
        self._warn.warning("Kafka: %s; trying again%s", error, _advice(error))
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


class _AssignmentListener(ConsumerRebalanceListener):  # type: ignore[misc]  # no types
    """Calls *on_assigned* with new partitions before the library reads them."""

    def __init__(self, on_assigned: Callable[[Collection[Any]], None]) -> None:
        self._on_assigned = on_assigned

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Do nothing: only a new assignment matters."""

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Report *assigned*, which are all partitions or the new ones."""
        self._on_assigned(assigned)


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


def _advice(error: kafka_errors.KafkaError) -> str:
    """Return advice about the right that *error* shows to be missing, if any."""
    what = error.args[0] if error.args else None
    if isinstance(error, kafka_errors.TopicAuthorizationFailedError):
        topics = [what] if isinstance(what, str) else sorted(what or ())
        return f"; grant Read on topic {', '.join(map(repr, topics))}"
    if isinstance(error, kafka_errors.GroupAuthorizationFailedError):
        return f"; grant Read on {'its group' if what is None else f'group {what!r}'}"
    return ""


def _is_about_a_record(error: kafka_errors.KafkaError) -> bool:
    # The plain KafkaError is "no complete records were found".
    return type(error) is kafka_errors.KafkaError or isinstance(
        error, (kafka_errors.CorruptRecordError, kafka_errors.UnsupportedCodecError)
    )
