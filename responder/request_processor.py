"""RequestProcessor: handles a request record and publishes the reply, or drops it."""

import logging
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.errors import MalformedRecord
from rendezvous.kafka_client.patches.bounded_batches import DroppedValue
from rendezvous.process.counts import OutcomeCounts, handler_time_of
from rendezvous.process.log_fields import request_fields, timed_fields
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.process.traces import tracing
from responder.attempts import Attempts, Postponed
from responder.clock_skew import CLOCK_TOLERANCE_MS, MAX_WAIT_MS, ClockSkew
from responder.dedup.coordinator import Deduplicator
from responder.dedup.journal import Journal
from responder.keyed_executor import Later
from responder.publishing import notes
from responder.publishing.dead_letters import DeadLetters, Undecodable
from responder.publishing.failure import Failure, Reason
from responder.publishing.outcomes import OutcomePublisher
from responder.publishing.replies import ReplyPublisher
from responder.reading.request_reader import ReplyTopicRefused, RequestReader
from responder.registry import Handler, HandlerError, Retry, checked

logger = logging.getLogger(__name__)

_LATE = "dropped, its deadline passed %.1f s ago"


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
        dead_letters: where records go that are no request or whose handler failed; None to log
            them only.
        max_attempts: how often a handler is called that raises Retry, for each delivery.
        reader: reads the requests; by default one that allows any reply topic.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        publisher: ReplyPublisher,
        counts: OutcomeCounts,
        journal: Journal | None = None,
        cancelled: Container[str] = (),
        dead_letters: DeadLetters | None = None,
        max_attempts: int = 1,
        reader: RequestReader | None = None,
    ) -> None:
        self._handlers = handlers
        self._outcomes = OutcomePublisher(publisher, dead_letters)
        self._counts = counts
        self._deduplicator = (
            None if journal is None else Deduplicator(journal, self._may_begin, counts)
        )
        self._cancelled = cancelled
        self._attempts = Attempts(max_attempts)
        self._reader = reader or RequestReader()
        self._clock_skew = ClockSkew()
        self._log = ThrottledLog(logger)
        self._is_stopping = False

    def process(
        self,
        record: Any,
        received_ms: int | None,
        on_end: Callable[[], None],
        earlier: Attempts | None = None,
    ) -> Later | None:
        """
        Do all that *record* needs, without waiting for the acknowledgement of its reply.

        Returns what to do later, if the handler asks for another attempt.

        Args:
            received_ms: when the record was polled (Unix time), if it had just been published;
                None if it may have waited in its partition.
            on_end: called once the record needs nothing more, by any thread; never when stop()
                prevented that.
            earlier: the attempts before this one, if any.
        """
        attempts = earlier or self._attempts
        try:
            with tracing.tracer.process(record):
                return self._process(record, received_ms, on_end, attempts)
        except _Stopped:
            return None
        except BaseException as error:
            # An unfinished record would block all further commits of its partition.
            logger.exception("record %s failed and is skipped", _position(record))
            self._counts.add("skipped", record.topic)
            failure = Failure.by(Reason.NOT_ANSWERED, error, attempts.begun)
        self._outcomes.dead_letter(record, failure, on_end)
        return None

    def _process(
        self, record: Any, received_ms: int | None, on_end: Callable[[], None], attempts: Attempts
    ) -> Later | None:
        try:
            request = self._decode(record, received_ms)
        except MalformedRecord as error:
            self._counts.add("malformed", record.topic)
            self._outcomes.dead_letter(record, Failure(Reason.MALFORMED, detail=str(error)), on_end)
            return None
        except ReplyTopicRefused as error:
            self._counts.add("refused", record.topic)
            self._outcomes.dead_letter(record, Failure(Reason.REFUSED, detail=str(error)), on_end)
            return None
        try:
            reply = self._answer(request, received_ms, attempts)
        except Postponed as postponed:
            again = partial(self.process, record, received_ms, on_end, postponed.attempts)
            return Later(postponed.pause_s, again)
        notes.describe(request, reply)
        if reply is None:
            on_end()
            return None
        self._outcomes.publish(record, request, reply, on_end)
        return None

    def skip(
        self, partition: Any, offset: int, error: Exception, on_end: Callable[[], None]
    ) -> None:
        """Dead-letter the position of a record that cannot be decoded; *on_end* as above."""
        self._counts.add("malformed", partition.topic)
        failure = replace(
            Failure.by(Reason.MALFORMED, error, 0), detail="the record cannot be decoded"
        )
        record = Undecodable(partition.topic, partition.partition, offset)
        self._outcomes.dead_letter(record, failure, on_end)

    def stop(self) -> None:
        """Begin no more requests that wait for the journal; those that have begun go on."""
        self._is_stopping = True

    def close(self, within_s: float) -> None:
        """Return once all outcomes are published, or after *within_s*; then publish nothing."""
        self._outcomes.close(within_s)

    def _answer(
        self, request: Request, received_ms: int | None, attempts: Attempts
    ) -> Reply | None:
        """
        Return the reply to publish; None for none.

        Raises:
            _Stopped: when *request* must be delivered again.
            Postponed: when it must be handled again.
        """
        # The clocks of other requesters are not the gateways'.
        is_gateways = request.requester is None and request.reply_topic != ""
        if received_ms is not None and is_gateways and not attempts.begun:
            self._clock_skew.note(received_ms - request.deadline_ms)
        late_ms = epoch_ms() - request.deadline_ms
        if late_ms > CLOCK_TOLERANCE_MS and not attempts.begun:
            return self._drop_late(request, late_ms)
        if late_ms < -MAX_WAIT_MS and is_gateways:
            self._log.error(
                "its deadline is %.0f s away, longer than any gateway waits: this clock is "
                "behind the gateways'; set it (NTP)",
                -late_ms / 1000,
                extra=request_fields(request),
            )
        if request.correlation_id in self._cancelled:
            self._counts.add("cancelled", request.topic)
            logger.info("dropped, its client has cancelled it", extra=request_fields(request))
            self._end_claim(request, attempts)
            return None
        reply = self._reply(request, attempts)
        if reply is not None:
            return reply
        if self._is_stopping:
            raise _Stopped
        if attempts.begun:
            self._end_claim(request, attempts)
            return self._exhausted(request, attempts)
        self._counts.add("expired", request.topic)
        logger.warning(
            "dropped, its deadline passed before it could begin", extra=request_fields(request)
        )
        return None

    def _decode(self, record: Any, received_ms: int | None) -> Request:
        """
        Return the request in *record*.

        Raises:
            MalformedRecord: when there is none; logged.
            ReplyTopicRefused: when its reply topic is not allowed; logged.
        """
        if isinstance(record.value, DroppedValue):
            # No gateway publishes such a request, so no client waits.
            reason = record.value.reason
            self._log.warning("dropped record %s skipped: %s", _position(record), reason)
            raise MalformedRecord(f"its value was dropped: {reason}")
        try:
            return self._reader.read(record, received_ms)
        except MalformedRecord as error:
            self._log.warning(
                "record %s is not a request and is skipped: %s", _position(record), error
            )
            raise
        except ReplyTopicRefused as error:
            self._log.warning("request %s is not handled: %s", _position(record), error)
            raise

    def _drop_late(self, request: Request, late_ms: int) -> Reply | None:
        self._counts.add("expired", request.topic)
        # An old backlog has thousands; they are counted.
        log = self._log if late_ms > MAX_WAIT_MS else logger
        log.warning(_LATE, late_ms / 1000, extra=request_fields(request))
        ahead_s = self._clock_skew.ahead_s() if request.requester is None else None
        if ahead_s is None:
            return None
        # The client may still wait; without a reply every request would time out.
        detail = (
            f"the responder's clock is {ahead_s:.0f} s or more ahead of the gateway's, so that "
            "every request counts as late; this one was not carried out. Set the clocks (NTP)"
        )
        return Reply.problem(request, 503, "Clocks Differ", detail)

    def _reply(self, request: Request, attempts: Attempts) -> Reply | None:
        """Return the reply to *request*; None if it may not begin any more."""
        handle = partial(self._handle, attempts.next())
        if self._deduplicator is not None:
            return self._deduplicator.answer(request, handle, is_claimed=attempts.begun > 0)
        return handle(request) if not attempts.begun or self._may_begin(request) else None

    def _end_claim(self, request: Request, attempts: Attempts) -> None:
        """End the claim that earlier attempts have left."""
        if self._deduplicator is not None and attempts.begun:
            self._deduplicator.end_claim(request)

    def _may_begin(self, request: Request) -> bool:
        return not self._is_stopping and epoch_ms() <= request.deadline_ms + CLOCK_TOLERANCE_MS

    def _handle(self, attempts: Attempts, request: Request) -> Reply:
        began_s = time.monotonic()
        try:
            with handler_time_of(request.topic).time():
                reply = checked(self._handlers[request.topic](request))
        except HandlerError as error:
            reply = error.reply_to(request)
        except Retry as error:
            return self._retry(attempts, request, error)
        except BaseException as error:
            # Also SystemExit, asyncio.CancelledError and panics of libraries in Rust, which are no
            # Exceptions. The traceback is for the log of the responder, not for the client.
            logger.exception("the handler failed", extra=timed_fields(request, began_s))
            self._counts.add("failed", request.topic)
            detail = f"the handler of {request.topic} failed; its log has the cause"
            failure = Failure.by(Reason.HANDLER_FAILED, error, attempts.begun)
            problem = Reply.problem(request, 500, "Responder failed", detail)
            return replace(problem, detail=failure.to_text())
        # Below 500 the mistake is the client's.
        self._counts.add("answered" if reply.status < 500 else "failed", request.topic)
        return notes.logged(reply, request, began_s)

    def _retry(self, attempts: Attempts, request: Request, error: Retry) -> Reply:
        """Return the error reply when no attempt is left; raises Postponed when one is."""
        try:
            last = attempts.postpone(request, error)
        except Postponed as postponed:
            self._counts.add("retried", request.topic)
            self._log.info(
                "the handler raised Retry; calling it again in %g s",
                postponed.pause_s,
                extra=request_fields(request),
            )
            raise
        return self._exhausted(request, last)

    def _exhausted(self, request: Request, attempts: Attempts) -> Reply:
        self._counts.add("failed", request.topic)
        logger.warning(
            "the handler did not succeed in %d attempts, the last one ended by %s",
            attempts.begun,
            attempts.exception,
            extra=request_fields(request),
        )
        return attempts.exhausted(request)


def _position(record: Any) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
