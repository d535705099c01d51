"""ReplyPublisher: publishes replies until the broker acknowledges them."""

import logging
import math
import time
from typing import Any

from kafka import errors as kafka_errors

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.throttled_log import ThrottledLog
from responder.clock_skew import CLOCK_TOLERANCE_MS

logger = logging.getLogger(__name__)

#: The pause before a reply that the broker did not accept is sent again, in seconds.
RETRY_PAUSE_S = 0.2
#: Maximum time to wait for one acknowledgement, in seconds.
ACKNOWLEDGE_TIMEOUT_S = 10.0

_TOO_LARGE = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
)


class ReplyPublisher:
    """
    Publishes each reply to the topic that its request names. Thread-safe.

    Args:
        producer: a KafkaProducer; not closed here.
        retention_s: how long after the deadline a client can still fetch the reply, in seconds.
        counts: where replies that could not be published are counted as "unsent".
    """

    def __init__(self, producer: Any, retention_s: float, counts: OutcomeCounts) -> None:
        self._producer = producer
        self._retention_ms = CLOCK_TOLERANCE_MS + round(retention_s * 1000)
        self._counts = counts
        self._give_up_s = math.inf  # monotonic clock; finite once stopping
        self._log = ThrottledLog(logger)

    @property
    def is_stopping(self) -> bool:
        """Whether stop() has been called."""
        return self._give_up_s < math.inf

    def stop(self, within_s: float) -> None:
        """Let publish() give up after *within_s*."""
        self._give_up_s = time.monotonic() + within_s

    def publish(self, request: Request, reply: Reply) -> bool:
        """
        Publish *reply* until it is acknowledged or no client can fetch it any more.

        Returns False when stop() ended that; then the request must be delivered again.
        """
        value, headers = reply.encode()
        while time.monotonic() < self._give_up_s:
            try:
                self._producer.send(
                    request.reply_topic, value=value, key=request.key, headers=headers
                ).get(timeout=ACKNOWLEDGE_TIMEOUT_S)
            except _TOO_LARGE as error:
                detail = (
                    f"the reply has {len(value)} bytes, more than Kafka accepts ({error}); "
                    "request less data, or raise the size limits of the reply topic"
                )
                self._log.warning("%s: %s", request.correlation_id, detail)
                value, headers = Reply.problem(request, 502, "Reply too large", detail).encode()
            except kafka_errors.KafkaError as error:
                self._log.warning(
                    "%s: reply not accepted by topic %s (%s); trying again",
                    request.correlation_id,
                    request.reply_topic,
                    error,
                )
                if epoch_ms() > request.deadline_ms + self._retention_ms:
                    self._counts.add("unsent")
                    return True
                time.sleep(RETRY_PAUSE_S)
            else:
                return True
        return False
