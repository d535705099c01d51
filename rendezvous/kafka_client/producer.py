"""
The producer of request records: its options and its errors.

A record has one of three outcomes. Acknowledged. Refused: it is not in Kafka and never will be.
Unconfirmed: kafka-python reports a failure, and the broker may still append the record.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import errors as kafka_errors

from rendezvous.kafka_client.patches.producer import PatchedProducer
from rendezvous.kafka_client.patches.prompt_client import prompt_client
from rendezvous.process.monitoring.metrics import count_kafka_error

logger = logging.getLogger(__name__)

BOOTSTRAP_TIMEOUT_MS = 5_000
#: Minimum time before a failed batch is sent again. A refusal that comes sooner answers the first
#: attempt, so nothing was appended before it.
RETRY_BACKOFF_MS = 100
#: Time for which records without a key of their own go to one partition, in seconds.
SHARED_PARTITION_S = 0.02
#: Maximum size of a batch in bytes, hence of most produce requests.
BATCH_BYTES = 65_536
#: Maximum excess of a request record over its body: key, headers, framing.
RECORD_OVERHEAD_BYTES = 100_000
CLOSE_TIMEOUT_S = 1

#: Errors that are refusals after any attempt: none can have appended the record.
_ALWAYS_REFUSED: tuple[type[Exception], ...] = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InvalidRecordError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.UnsupportedForMessageFormatError,
)
#: Errors that are refusals if they answer the first attempt.
_REFUSED_AT_FIRST: tuple[type[Exception], ...] = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.InvalidRequiredAcksError,
    kafka_errors.PolicyViolationError,
)
REFUSALS = _ALWAYS_REFUSED + _REFUSED_AT_FIRST
#: Errors of the producer rather than of a record: every later send fails too.
_PRODUCER_IS_LOST = (
    kafka_errors.UnknownProducerIdError,
    kafka_errors.OutOfOrderSequenceNumberError,
    kafka_errors.InvalidProducerEpochError,
    kafka_errors.InvalidProducerIdMappingError,
    kafka_errors.ProducerFencedError,
    # Not a refusal: the library fails whatever is in flight with it, appended or not.
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.IllegalStateError,
)
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_NOT_AUTHORIZED_FOR_AN_ID = kafka_errors.ClusterAuthorizationFailedError.__name__


class PublishRefused(Exception):
    """Raised when a record is not in Kafka and never will be."""


class PublishTooLarge(PublishRefused):
    """Raised when a record is larger than the producer or the broker accepts."""


class PublishUnconfirmed(Exception):
    """Reported when a record was not acknowledged and may still be appended."""


#: Called with None for an acknowledged record, else PublishRefused or PublishUnconfirmed.
OnEnd = Callable[[Exception | None], None]


class RequestProducer:
    """
    Sends records and reports each as acknowledged, refused or unconfirmed.

    Args:
        kafka: a PatchedProducer; close() closes it.
    """

    def __init__(self, kafka: Any) -> None:
        self._kafka = kafka
        #: Why every later send will fail; None while the producer works.
        self.lost: str | None = None

    @classmethod
    def open(
        cls,
        connection: Mapping[str, Any],
        reply_timeout_s: float,
        max_body_bytes: int,
        linger_ms: Callable[[], float],
        new_kafka: Callable[..., Any] = PatchedProducer,
        compression: str | None = None,
    ) -> "RequestProducer":
        """
        Return a connected producer.

        Args:
            connection: arguments that every kafka-python client takes.
            reply_timeout_s: how long a client waits; no record is sent after that.
            linger_ms: returns the current linger in milliseconds.
            compression: gzip, snappy, lz4 or zstd; None for none.

        Raises:
            ConnectionError: when no broker answers.
        """
        timeout_ms = reply_timeout_s * 1000
        try:
            kafka = new_kafka(
                refusals=REFUSALS,
                linger_ms=linger_ms,
                **connection,
                client_id="rendezvous-gateway",
                bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
                # Every default of the library exceeds an HTTP deadline.
                max_block_ms=round(min(timeout_ms / 3, 1_000)),
                request_timeout_ms=round(timeout_ms * 0.6),
                delivery_timeout_ms=round(timeout_ms * 0.9),
                retry_backoff_ms=RETRY_BACKOFF_MS,
                reconnect_backoff_max_ms=1_000,
                max_request_size=max_body_bytes + RECORD_OVERHEAD_BYTES,
                batch_size=BATCH_BYTES,
                compression_type=compression,
                allow_auto_create_topics=False,
                metrics_enabled=False,
                kafka_client=prompt_client,
            )
        except kafka_errors.KafkaError as error:
            raise ConnectionError(no_broker(error)) from error
        return cls(kafka)

    def fetch_metadata(self, topic: str) -> None:
        """Fetch the partitions of *topic*, for which its first record would wait."""
        with contextlib.suppress(kafka_errors.KafkaError):
            self._kafka.partitions_for(topic)

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Sequence[tuple[str, bytes]],
        on_end: OnEnd,
        *,
        is_ordered: bool,
    ) -> None:
        """
        Send a record without waiting for the acknowledgement.

        Args:
            on_end: called once, on the producer's thread or before send() returns.
            is_ordered: whether *key* chooses the partition; else any partition will do.

        Raises:
            PublishRefused: when the record was not even queued; *on_end* is not called then.
        """
        started_s = time.monotonic()
        try:
            future = self._kafka.send(
                topic,
                value=value,
                key=key,
                headers=headers,
                partition=None if is_ordered else self._shared_partition(topic),
            )
        except (kafka_errors.KafkaError, ValueError) as error:
            self._note(error)
            raise _refusal(topic, error) from error

        def failed(error: Exception) -> None:
            is_first_attempt = (time.monotonic() - started_s) * 1000 < RETRY_BACKOFF_MS
            on_end(self._failure(topic, error, is_first_attempt))

        future.add_callback(lambda _: on_end(None))
        future.add_errback(failed)

    def close(self) -> None:
        """Close the producer; records that are left fail."""
        try:
            self._kafka.close(timeout=CLOSE_TIMEOUT_S)
        except kafka_errors.KafkaError as error:
            logger.warning("the producer was closed with records unsent (%s)", error)

    def _shared_partition(self, topic: str) -> int:
        """
        Return the current partition for records whose order does not matter.

        Their keys are random: spread by key, they would fill a batch for each partition, and each
        batch is a request. One partition at a time makes one batch of them.
        """
        partitions = sorted(self._kafka.partitions_for(topic))
        if not partitions:
            raise kafka_errors.UnknownTopicOrPartitionError("it has no partitions")
        turn = int(time.monotonic() / SHARED_PARTITION_S) + os.getpid()
        return int(partitions[turn % len(partitions)])

    def _failure(self, topic: str, error: Exception, is_first_attempt: bool) -> Exception:
        # A lost producer fails all its records with the error of the one that made it unusable.
        was_lost = self.lost is not None
        self._note(error)
        is_refusal = isinstance(error, _ALWAYS_REFUSED) or (
            is_first_attempt and isinstance(error, _REFUSED_AT_FIRST)
        )
        if self._kafka.has_offered_nothing() or (is_refusal and not was_lost):
            return _refusal(topic, error)
        return PublishUnconfirmed(f"the broker did not acknowledge it ({error})")

    def _note(self, error: Exception) -> None:
        """Count *error*, and note whether every later send fails too."""
        count_kafka_error("producer", error)
        if isinstance(error, _PRODUCER_IS_LOST) or self._kafka.has_fatal_error():
            self.lost = self.lost or str(error)


def no_broker(error: Exception) -> str:
    """Return why a client could not be built, and what to check."""
    return (
        f"the brokers in KAFKA_URL do not answer ({error}); is it a TLS port (then use "
        "kafka+ssl://), or does it hang?"
    )


def _refusal(topic: str, error: Exception) -> PublishRefused:
    if isinstance(error, _TOO_LARGE):
        return PublishTooLarge(f"the record is too large for topic {topic!r} ({error})")
    # The library wraps the refusal of a producer id in a plain KafkaError.
    if isinstance(error, kafka_errors.AuthorizationError) or _NOT_AUTHORIZED_FOR_AN_ID in str(
        error
    ):
        return PublishRefused(
            f"Kafka denies access to topic {topic!r} ({error}); "
            f"grant Write on topic {topic!r} to this gateway"
        )
    if isinstance(
        error, (kafka_errors.KafkaTimeoutError, kafka_errors.UnknownTopicOrPartitionError)
    ):
        return PublishRefused(
            f"topic {topic!r} does not exist, or the brokers do not answer ({error}); "
            "create the topic or check the brokers"
        )
    return PublishRefused(f"the record was refused by topic {topic!r} ({error})")
