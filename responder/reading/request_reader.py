"""RequestReader: reads requests in records, and refuses reply topics."""

from typing import Any

from rendezvous.contract import Request
from rendezvous.correlation import epoch_ms
from responder.reading.reply_topics import ReplyTopics

#: How long a requester waits that names no deadline, in seconds.
DEFAULT_DEADLINE_S = 30.0


class ReplyTopicRefused(Exception):
    """Raised for a request whose reply topic is not allowed."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"its reply topic {topic} is not allowed; to answer such requests, add the topic to "
            "RESPONDER_REPLY_TOPICS"
        )


class RequestReader:
    """
    Reads request records of gateways and of other requesters. Safe to use from several threads.

    Args:
        reply_topics: the topics to which replies may go.
        deadline_s: how long a requester waits that names no deadline, in seconds.
    """

    def __init__(
        self,
        reply_topics: ReplyTopics | None = None,
        deadline_s: float = DEFAULT_DEADLINE_S,
    ) -> None:
        self._reply_topics = ReplyTopics("*") if reply_topics is None else reply_topics
        self._deadline_ms = round(deadline_s * 1000)

    def read(self, record: Any, received_ms: int | None) -> Request:
        """
        Return the request in *record*.

        Args:
            received_ms: when the record was polled (Unix time), if it had just been published.

        Raises:
            MalformedRecord: when it is not a request.
            ReplyTopicRefused: when its reply topic is not allowed.
        """
        # Negative in records of producers that know no timestamps.
        sent_ms = record.timestamp if record.timestamp and record.timestamp > 0 else None
        request = Request.decode(
            record.topic,
            record.key,
            record.value,
            record.headers,
            sent_ms=sent_ms,
            default_deadline_ms=self._begin_ms(sent_ms, received_ms) + self._deadline_ms,
        )
        if request.reply_topic and request.reply_topic not in self._reply_topics:
            raise ReplyTopicRefused(request.reply_topic)
        return request

    def _begin_ms(self, sent_ms: int | None, received_ms: int | None) -> int:
        """Return when the requester began to wait, by our clock if possible."""
        # The timestamp is by the requester's clock, which can differ by any time.
        if received_ms is not None:
            return received_ms
        now_ms = epoch_ms()
        return now_ms if sent_ms is None else min(sent_ms, now_ms)
