"""RequestProcessor: handles a request record and publishes the reply, or drops it."""

import logging
from collections.abc import Callable, Container, Mapping
from typing import Any

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.errors import MalformedRecord
from rendezvous.kafka_client.patches.bounded_batches import DroppedValue
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.throttled_log import ThrottledLog
from responder.clock_skew import CLOCK_TOLERANCE_MS, MAX_WAIT_MS, ClockSkew
from responder.dedup.coordinator import Deduplicator
from responder.dedup.journal import Journal
from responder.registry import Handler, HandlerError, checked
from responder.reply_publisher import ReplyPublisher

logger = logging.getLogger(__name__)


class _Stopped(Exception):
    """Raised when stop() prevented that a request is handled."""


class RequestProcessor:
    """
    Processes request records. Safe to use from several threads.

    Args:
        handlers: the handler of each topic.
        counts: where the outcome of each request is counted.
        journal: prevents that a redelivered request is handled again; None to handle it again.
        cancelled: the ids of requests that are not handled unless they have begun.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        publisher: ReplyPublisher,
        counts: OutcomeCounts,
        journal: Journal | None = None,
        cancelled: Container[str] = (),
    ) -> None:
        self._handlers = handlers
        self._publisher = publisher
        self._counts = counts
        self._deduplicator = (
            None if journal is None else Deduplicator(journal, self._may_begin, counts)
        )
        self._cancelled = cancelled
        self._clock_skew = ClockSkew()
        self._log = ThrottledLog(logger)

    def process(self, record: Any, received_ms: int | None, on_end: Callable[[], None]) -> None:
        """
        Do all that *record* needs, without waiting for the acknowledgement of its reply.

        Args:
            received_ms: when the record was polled (Unix time), if it had just been published;
                None if it may have waited in its partition.
            on_end: called once the record needs nothing more, by any thread; never when stop()
                prevented that.
        """
        try:
            request = self._decode(record)
            reply = None if request is None else self._answer(request, received_ms)
            if request is not None and reply is not None:
                self._publisher.publish(request, reply, on_end)
                return
        except _Stopped:
            return
        except Exception:
            # An unfinished record would block all further commits of its partition.
            logger.exception("record %s failed and is skipped", _position(record))
            self._counts.add("skipped")
        on_end()

    def stop(self, within_s: float) -> None:
        """Begin no more requests that wait for the journal; publish replies for *within_s*."""
        self._publisher.stop(within_s)

    def close(self) -> None:
        """After stop(): return once all replies have ended, or its time is over."""
        self._publisher.close()

    def _answer(self, request: Request, received_ms: int | None) -> Reply | None:
        """
        Return the reply to publish; None for none.

        Raises:
            _Stopped: when *request* must be delivered again.
        """
        if received_ms is not None:
            self._clock_skew.note(received_ms - request.deadline_ms)
        late_ms = epoch_ms() - request.deadline_ms
        if late_ms > CLOCK_TOLERANCE_MS:
            return self._drop_late(request, late_ms)
        if late_ms < -MAX_WAIT_MS:
            self._log.error(
                "%s: its deadline is %.0f s away, longer than any gateway waits: this clock is "
                "behind the gateways'; set it (NTP)",
                request.correlation_id,
                -late_ms / 1000,
            )
        if request.correlation_id in self._cancelled:
            self._counts.add("cancelled")
            self._log.info("%s: dropped, its client has cancelled it", request.correlation_id)
            return None
        reply = self._reply(request)
        if reply is not None:
            return reply
        if self._publisher.is_stopping:
            raise _Stopped
        self._counts.add("expired")
        self._log.warning(
            "%s: dropped, its deadline passed before it could begin", request.correlation_id
        )
        return None

    def _decode(self, record: Any) -> Request | None:
        """Return the request in *record*; None, counted and logged, if there is none."""
        if isinstance(record.value, DroppedValue):
            # No gateway publishes such a request, so no client waits.
            self._log.warning(
                "dropped record %s skipped: %s", _position(record), record.value.reason
            )
        else:
            try:
                return Request.decode(record.topic, record.key, record.value, record.headers)
            except MalformedRecord as error:
                self._log.warning(
                    "record %s is not a request and is skipped: %s", _position(record), error
                )
        self._counts.add("malformed")
        return None

    def _drop_late(self, request: Request, late_ms: int) -> Reply | None:
        self._counts.add("expired")
        self._log.warning(
            "%s: dropped, its deadline passed %.1f s ago", request.correlation_id, late_ms / 1000
        )
        ahead_s = self._clock_skew.ahead_s()
        if ahead_s is None:
            return None
        # The client may still wait; without a reply every request would time out.
        detail = (
            f"the responder's clock is {ahead_s:.0f} s or more ahead of the gateway's, so that "
            "every request counts as late; this one was not carried out. Set the clocks (NTP)"
        )
        return Reply.problem(request, 503, "Clocks Differ", detail)

    def _reply(self, request: Request) -> Reply | None:
        """Return the reply to *request*; None if it may not begin any more."""
        if self._deduplicator is None:
            return self._handle(request)
        return self._deduplicator.answer(request, self._handle)

    def _may_begin(self, request: Request) -> bool:
        return (
            not self._publisher.is_stopping
            and epoch_ms() <= request.deadline_ms + CLOCK_TOLERANCE_MS
        )

    def _handle(self, request: Request) -> Reply:
        try:
            reply = checked(self._handlers[request.topic](request))
        except HandlerError as error:
            self._counts.add("failed")
            return error.reply_to(request)
        except (Exception, SystemExit):
            # The traceback is for the log of the responder, not for the client.
            logger.exception("%s: the handler of %s failed", request.correlation_id, request.topic)
            self._counts.add("failed")
            detail = f"the handler of {request.topic} failed; its log has the cause"
            return Reply.problem(request, 500, "Responder failed", detail)
        self._counts.add("answered")
        return reply


def _position(record: Any) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
