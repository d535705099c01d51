"""
A Kafka consumer that outlives bad records and brokers that come and go.

kafka-python 3.0 raises once for a record that it cannot decode, and its next poll() then never
returns, at 100 % CPU. Whoever can write to a topic could so stop every reply. Here such a record is
stepped over, and no deserializers are used, which would raise in the same place.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from rendezvous.kafka_client.lag import Lag
from rendezvous.kafka_client.offset_gaps import OffsetGaps
from rendezvous.kafka_client.patches.prompt_client import prompt_client
from rendezvous.kafka_client.recreated_topics import RecreatedTopics
from rendezvous.process.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)

#: How long one poll() waits for records: as long as we may be late to notice that we should stop.
POLL_MS = 200
#: What a broker allows at least: a replica that was killed holds up its partitions this long.
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 1_500
#: While its members join anew, a broker waits so long for one that does not come, and all others
#: stand still; the library's 300 s were seen after a broker's restart. We poll far more often.
MAX_POLL_INTERVAL_MS = SESSION_TIMEOUT_MS
#: The pause before a gap is looked at again.
GAP_PAUSE_S = 0.005
#: The pause after the brokers refused something.
TROUBLE_PAUSE_S = 0.5
#: Trouble is over when none was met for this long: between two refusals nothing is refused.
TROUBLE_FADES_S = 3.0
CLOSE_TIMEOUT_MS = 3_000

Batch = Mapping[Any, Sequence[Any]]  # TopicPartition -> ConsumerRecords


def consumer_options(
    connection: Mapping[str, Any], group: str | None, fetch_max_wait_ms: int, client_id: str
) -> dict[str, Any]:
    """Return the arguments of a consumer in *group*, if any, that commits by hand only."""
    return dict(connection) | {
        "group_id": group,
        "client_id": client_id,
        # "latest" would lose what came before the first assignment, without a word.
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
        # A fetch that is never answered holds up its partitions this long.
        "request_timeout_ms": fetch_max_wait_ms + 3_000,
        "bootstrap_timeout_ms": 5_000,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        "kafka_client": prompt_client,
    }


class ResilientConsumer:
    """
    A KafkaConsumer whose poll() returns, whatever is in the topic. To be used by one thread.

    Args:
        consumer: the KafkaConsumer; whoever made it closes it through this object.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._warn = ThrottledLog(logger)
        self._gaps = OffsetGaps()
        self._lag = Lag()
        self._renewals = RecreatedTopics(self._identity)
        self._known_partitions = 0
        #: Partitions that were assigned to us, and of which nothing was read since.
        self._unread: set[Any] = set()
        self._troubled_s = -math.inf
        #: How many records could not be decoded and were stepped over.
        self.undecodable = 0

    @classmethod
    def open(cls, topics: Sequence[str], new_consumer: Callable[[], Any]) -> "ResilientConsumer":
        """
        Return a consumer of *topics*.

        Raises:
            ConnectionError: when no broker can be reached.
            LookupError: naming the topics that do not exist.
        """
        consumer = connect(topics, new_consumer)
        found = cls(consumer)
        consumer.subscribe(topics, listener=_Assignments(found._begin_anew))
        return found

    def poll(self, timeout_ms: int = POLL_MS) -> Batch:
        """Return the next records, by partition; empty when none came in time."""
        try:
            self._begin_renewed_topics()
            batch = self._without_gaps(self._records(timeout_ms))
            self._unread.difference_update(batch)
            self._lag.note(batch, self._consumer.assignment(), self._end)
            return batch
        except Exception as error:
            self._lag.look_away()
            if not self._step_over(error):
                raise
            return {}

    def is_fresh(self, partition: Any) -> bool:
        """Say whether what poll() returned last of *partition* was appended while we polled."""
        return partition in self._lag.fresh

    def lags_s(self) -> dict[Any, float]:
        """Return the partitions that we read now, with how late; none while Kafka refuses."""
        if time.monotonic() - self._troubled_s < TROUBLE_FADES_S:
            return {}
        return {partition: self._lag.lag_s(partition) for partition in self._consumer.assignment()}

    def partitions_of(self, topic: str) -> int:
        """Return how many partitions *topic* has, as far as is known."""
        with contextlib.suppress(kafka_errors.KafkaError):
            self._known_partitions = len(self._consumer.partitions_for_topic(topic) or ())
        return self._known_partitions

    def pause(self) -> None:
        """Hold every partition of now; poll() then only keeps this member in its group."""
        self._lag.look_away()
        self._consumer.pause(*self._consumer.assignment())

    def resume(self) -> None:
        """Take up the partitions again."""
        paused = self._consumer.paused()
        if paused:
            self._consumer.resume(*paused)

    def commit_async(self, offsets: Mapping[Any, int]) -> None:
        """Commit *offsets*, each the next one to read, without waiting."""
        positions = self._positions(offsets)
        if positions:
            self._consumer.commit_async(positions, callback=self._committed)

    def commit(self, offsets: Mapping[Any, int]) -> None:
        """Commit *offsets* and wait a moment; not to succeed only brings records again."""
        positions = self._positions(offsets)
        if not positions:
            return
        try:
            self._consumer.commit(positions, timeout_ms=CLOSE_TIMEOUT_MS)
        except kafka_errors.KafkaError as error:
            logger.info("offsets not committed, their records will come again (%s)", error)

    def close(self) -> None:
        """Leave the group at once, so that the others take over."""
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_TIMEOUT_MS)

    def _positions(self, offsets: Mapping[Any, int]) -> dict[Any, OffsetAndMetadata]:
        # A partition that has moved to another member is that one's to commit: the broker would
        # accept our older offset and bring its records again. One that has come back since, within
        # a single poll() after we had stood still for a session, has an older offset, too.
        ours = self._consumer.assignment() - self._unread
        return {p: OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items() if p in ours}

    def _begin_anew(self, partitions: Collection[Any]) -> None:
        # Another member may have read them meanwhile: what we know of them is out of date.
        self._gaps.forget(partitions)
        self._unread.update(partitions)

    def _without_gaps(self, batch: Batch) -> Batch:
        if not batch:
            return batch
        good, again = self._gaps.check(batch)
        for partition, offset in again.items():
            self._warn.warning(
                "%s: offset %d was left out; looking again", _name(partition), offset
            )
            self._consumer.seek(partition, offset)
        if again and not good:
            time.sleep(GAP_PAUSE_S)
        return good

    def _begin_renewed_topics(self) -> None:
        """Read topics that were deleted and made anew from their starts."""
        if not self._renewals.is_due():
            return
        assigned = self._consumer.assignment()
        renewed = self._renewals.look({partition.topic for partition in assigned})
        for partition in assigned:
            if partition.topic in renewed:
                logger.warning("%s was made anew: reading it from its start", _name(partition))
                self._consumer.seek(partition, 0)
                self._gaps.expect(partition, 0)

    def _identity(self, topic: str) -> UUID | None:
        # The library keeps it to itself. Pinned below 3.1, and tested on a real broker.
        identity: UUID | None = self._consumer._cluster.topic_id(topic)
        return identity

    def _end(self, partition: Any) -> int | None:
        try:
            end: int | None = self._consumer.highwater(partition)
        except kafka_errors.KafkaError:
            return None  # it has just moved to another member
        return end

    def _records(self, timeout_ms: int) -> Batch:
        records: Batch = self._consumer.poll(timeout_ms=timeout_ms)
        return records

    def _committed(self, offsets: object, answer: object) -> None:
        if isinstance(answer, kafka_errors.AuthorizationError):
            self._warn.warning("offsets not committed: %s%s", answer, _advice(answer))
        elif isinstance(answer, Exception):
            self._warn.info("offsets not committed, their records will come again (%s)", answer)

    def _step_over(self, error: Exception) -> bool:
        """Get past *error*; say whether polling can go on."""
        if isinstance(error, kafka_errors.KafkaError) and not _is_about_a_record(error):
            self._troubled_s = time.monotonic()
            self._warn.warning("Kafka: %s%s; trying again", error, _advice(error))
            time.sleep(TROUBLE_PAUSE_S)
            return True
        partition = self._undecoded_partition()
        if partition is None:
            return False
        offset = self._consumer.position(partition)
        self.undecodable += 1
        self._warn.warning(
            "record %s/%d/%d cannot be decoded and is skipped: %s",
            partition.topic,
            partition.partition,
            offset,
            error,
        )
        # One at a time. Those behind it in the same batch of the same producer cannot be reached
        # either: the library unpacks a batch from its start.
        self._consumer.seek(partition, offset + 1)
        self._gaps.expect(partition, offset + 1)
        return True

    def _undecoded_partition(self) -> TopicPartition | None:
        # The library does not say which record it stumbled over, other than by what it still
        # holds in its hands. Pinned below 3.1, and tested on a real broker.
        held = self._consumer._fetcher._next_partition_records
        return None if held is None else held.topic_partition


class _Assignments(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Tells which partitions were assigned; called by the library, before it reads them."""

    def __init__(self, tell: Callable[[Collection[Any]], None]) -> None:
        self._tell = tell

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Do nothing: they may come back, and then they are told."""

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Tell of *assigned*, all or those that are new."""
        self._tell(assigned)


def _name(partition: Any) -> str:
    return f"{partition.topic}/{partition.partition}"


def connect(topics: Sequence[str], new_consumer: Callable[[], Any]) -> Any:
    """
    Return a KafkaConsumer that has seen all of *topics*.

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
    """Return what to grant when *error* says that something is denied."""
    what = error.args[0] if error.args else None
    if isinstance(error, kafka_errors.TopicAuthorizationFailedError):
        topics = [what] if isinstance(what, str) else sorted(what or ())
        return f": grant Read on topic {', '.join(map(repr, topics))}"
    if isinstance(error, kafka_errors.GroupAuthorizationFailedError):
        return f": grant Read on {'its group' if what is None else f'group {what!r}'}"
    return ""


def _is_about_a_record(error: kafka_errors.KafkaError) -> bool:
    # The plain KafkaError is "no complete records were found".
    return type(error) is kafka_errors.KafkaError or isinstance(
        error, (kafka_errors.CorruptRecordError, kafka_errors.UnsupportedCodecError)
    )
