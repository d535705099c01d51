"""
DeadLetters: publishes requests that failed to the dead-letter topic.

A dead letter is the original record with the headers DEAD_LETTER_HEADERS. The offset of the request
counts as finished once a broker has acknowledged it.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kafka import errors as kafka_errors

from rendezvous.correlation import epoch_ms
from rendezvous.framework_replies import DEAD_LETTER_HEADERS
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.throttled_log import ThrottledLog
from responder.publishing.failure import Failure
from responder.publishing.publisher import Headers, Outgoing, Publisher

logger = logging.getLogger(__name__)

#: How long a dead letter is sent again while brokers accept other records, in seconds: otherwise
#: its topic would stop all requests.
GIVE_UP_S = 60.0
#: The same while they accept none, as in an outage.
GIVE_UP_IN_OUTAGE_S = 600.0
#: Interval of the log lines about a topic that accepts nothing, in seconds.
LOG_INTERVAL_S = 10.0


@dataclass(frozen=True, slots=True)
class Undecodable:
    """The position of a record of which nothing else is known."""

    topic: str
    partition: int
    offset: int
    timestamp: int = -1
    key: bytes | None = None
    value: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()


class DeadLetters(Publisher):
    """
    A Publisher of dead letters.

    Args:
        producer: a KafkaProducer; not closed here.
        topic: the dead-letter topic.
        counts: where dead letters are counted as "dead-lettered", and as "unsent" when no broker
            accepted them.
        replies: of the same producer; what it publishes shows whether brokers accept records.
    """

    def __init__(
        self, producer: Any, topic: str, counts: OutcomeCounts, replies: Publisher
    ) -> None:
        super().__init__(producer, counts, "dead_letters")
        self._topic = topic
        self._replies = replies
        self._log = ThrottledLog(logger, LOG_INTERVAL_S)

    def publish(self, record: Any, failure: Failure, on_end: Callable[[], None]) -> None:
        """
        Publish *record*, as it was consumed, until it is acknowledged or given up.

        Args:
            on_end: see Outgoing.
        """
        now_ms = epoch_ms()
        added = _added_headers(record, failure, now_ms)
        original = _original_headers(record.headers)
        self.send_later(
            Outgoing(
                name=f"{record.topic}/{record.partition}/{record.offset}",
                request_topic=record.topic,
                topic=self._topic,
                key=record.key,
                value=_value_of(record),
                headers=original + added,
                on_end=on_end,
                smaller=partial(_without_value, record, added),
            )
        )

    def _is_over(self, record: Outgoing) -> bool:
        accepted_s = max(self.acknowledged_s, self._replies.acknowledged_s)
        is_outage = accepted_s < record.begun_s
        limit_s = GIVE_UP_IN_OUTAGE_S if is_outage else GIVE_UP_S
        return time.monotonic() > record.begun_s + limit_s

    def _acknowledged(self, record: Outgoing) -> None:
        self._counts.add("dead-lettered", record.request_topic)

    def _report(self, record: Outgoing, error: Exception) -> None:
        self._log.warning(
            "record %s: RESPONDER_DLQ_TOPIC=%s does not accept its dead letter (%s); %s",
            record.name,
            record.topic,
            error,
            _advice(error),
        )

    def _discarded(self, record: Outgoing) -> None:
        # Not throttled: the position is all that is left of it.
        logger.error(
            "record %s: not dead-lettered, RESPONDER_DLQ_TOPIC=%s does not accept it; read it in "
            "its own topic while that retains it",
            record.name,
            record.topic,
        )


#: How a missing topic shows.
_MISSING = (kafka_errors.KafkaTimeoutError, kafka_errors.UnknownTopicOrPartitionError)


def _original_headers(headers: Sequence[tuple[str, bytes | None]]) -> Headers:
    # A dead letter that was published again, and failed again, has those of its last failure only.
    # The library does not send null headers.
    return [(name, value or b"") for name, value in headers if name not in DEAD_LETTER_HEADERS]


def _added_headers(record: Any, failure: Failure, now_ms: int) -> Headers:
    values = (
        failure.reason,
        failure.detail,
        failure.exception,
        failure.attempts,
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        now_ms,
    )
    return [
        (name, str(value).encode("utf-8", "replace"))
        for name, value in zip(DEAD_LETTER_HEADERS, values, strict=True)
        if value != ""
    ]


def _value_of(record: Any) -> bytes | None:
    if record.value is None and record.key is not None:
        return None
    # Also of a DroppedValue, which the library does not send.
    return bytes(record.value or b"")


def _without_value(record: Any, added: Headers, error: Exception) -> tuple[bytes, Headers]:
    """Return a dead letter with the position of *record* alone."""
    logger.warning(
        "record %s/%s/%s: its dead letter is too large (%s) and has neither its value nor its "
        "headers; raise max.message.bytes of RESPONDER_DLQ_TOPIC",
        record.topic,
        record.partition,
        record.offset,
        error,
    )
    return b"", added


def _advice(error: Exception) -> str:
    if isinstance(error, kafka_errors.AuthorizationError):
        return "grant Describe and Write on it"
    if isinstance(
        error, kafka_errors.KafkaTimeoutError | kafka_errors.UnknownTopicOrPartitionError
    ):
        return "create the topic if it is missing, and grant Describe and Write on it"
    return "trying again"
