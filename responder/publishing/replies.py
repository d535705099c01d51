"""ReplyPublisher: publishes each reply to the topic that its request names."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.log_fields import request_fields
from rendezvous.process.traces import tracing
from responder.clock_skew import CLOCK_TOLERANCE_MS, MAX_WAIT_MS
from responder.publishing.publisher import Headers, Outgoing, Publisher

logger = logging.getLogger(__name__)


class ReplyPublisher(Publisher):
    """
    A Publisher of replies.

    Args:
        producer: a KafkaProducer; not closed here.
        retention_s: how long after the deadline a client can still fetch the reply, in seconds.
        counts: where replies that could not be published are counted as "unsent".
    """

    def __init__(self, producer: Any, retention_s: float, counts: OutcomeCounts) -> None:
        super().__init__(producer, counts, "replies")
        self._retention_ms = CLOCK_TOLERANCE_MS + round(retention_s * 1000)

    def publish(self, request: Request, reply: Reply, on_end: Callable[[], None]) -> None:
        """
        Publish *reply* until it is acknowledged or no client can get it.

        Args:
            on_end: see Outgoing.
        """
        value, headers = reply.encode(request.requester)
        span = tracing.tracer.send(request.reply_topic, request.correlation_id)
        self.send(
            Outgoing(
                name=request.correlation_id,
                request_topic=request.topic,
                topic=request.reply_topic,
                key=request.key,
                value=value,
                headers=span.inject(headers),
                on_end=on_end,
                smaller=partial(_too_large, request, len(value), span),
                span=span,
                partition=request.reply_partition,
                give_up_ms=self._give_up_ms(request),
            )
        )

    def _give_up_ms(self, request: Request) -> int:
        """Return when no client can get the reply any more, in Unix time."""
        # A deadline far away, which only other requesters name, must not hold up the commits.
        deadline_ms = min(request.deadline_ms, epoch_ms() + MAX_WAIT_MS)
        # Only clients of a gateway fetch it later.
        is_gateways = request.requester is None
        return deadline_ms + (self._retention_ms if is_gateways else CLOCK_TOLERANCE_MS)

    def _report(self, record: Outgoing, error: Exception) -> None:
        log = self._log if record.is_reported else logger
        record.is_reported = True
        record.span.event("retry", {"error.type": type(error).__name__})
        log.warning(
            "reply not accepted by topic %s (%s); trying again",
            record.topic,
            error,
            extra={"correlation_id": record.name, "topic": record.topic},
        )


def _too_large(
    request: Request, size: int, span: tracing.Span, error: Exception
) -> tuple[bytes, Headers]:
    """Return value and headers of the reply that replaces one of *size* bytes."""
    detail = (
        f"the reply has {size} bytes, more than Kafka accepts ({error}); "
        "request less data, or raise the size limits of the reply topic"
    )
    logger.warning("%s", detail, extra=request_fields(request))
    problem = Reply.problem(request, 502, "Reply too large", detail)
    value, headers = problem.encode(request.requester)
    return value, span.inject(headers)
