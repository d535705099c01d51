"""
ReplyPublisher: publishes replies without waiting, until the broker acknowledges them.

A reply that the broker did not accept is sent again by a thread of the publisher, not by that of
the handler.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
#: Maximum time to wait for one acknowledgement, in seconds. The producer reports a failure before;
#: without either the offset of the request would never be committed.
ACKNOWLEDGE_TIMEOUT_S = 15.0
#: Interval of the search for replies past ACKNOWLEDGE_TIMEOUT_S, in seconds.
CHECK_INTERVAL_S = 1.0

_TOO_LARGE = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
)


@dataclass(slots=True, eq=False)
class _Unacknowledged:
    """A reply that is not acknowledged yet."""

    request: Request
    value: bytes
    headers: list[tuple[str, bytes]]
    on_end: Callable[[], None]
    sent_s: float = 0.0  # monotonic clock; of the last time
    is_replaced: bool = False  # it says that the handler's reply is too large


class ReplyPublisher:
    """
    Publishes each reply to the topic that its request names; call start() before use. Thread-safe.

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
        self._changed = threading.Condition(threading.Lock())
        self._unacknowledged: set[_Unacknowledged] = set()
        self._to_resend: deque[tuple[float, _Unacknowledged]] = deque()  # by due time
        self._checked_s = time.monotonic()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="replies", daemon=True)

    @property
    def is_stopping(self) -> bool:
        """Whether stop() has been called."""
        return self._give_up_s < math.inf

    def start(self) -> None:
        """Start the thread that sends replies again."""
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Send no reply any more after *within_s*."""
        self._give_up_s = time.monotonic() + within_s

    def close(self) -> None:
        """After stop(): return once all replies have ended, or its time is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._unacknowledged, max(0.0, self._give_up_s - time.monotonic())
            )
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def publish(self, request: Request, reply: Reply, on_end: Callable[[], None]) -> None:
        """
        Publish *reply* until it is acknowledged or no client can fetch it any more.

        Args:
            on_end: called then, by any thread; never when stop() ended it before: the request must
                be delivered again.
        """
        value, headers = reply.encode()
        unacknowledged = _Unacknowledged(request, value, headers, on_end)
        with self._changed:
            self._unacknowledged.add(unacknowledged)
        try:
            self._send(unacknowledged)
        except BaseException:
            with self._changed:
                self._unacknowledged.discard(unacknowledged)
            raise

    def _send(self, reply: _Unacknowledged) -> Exception | None:
        """Send *reply*; return why it was not even queued, or None."""
        reply.sent_s = time.monotonic()
        if reply.sent_s >= self._give_up_s:
            return None
        try:
            future = self._producer.send(**self._record(reply))
        except kafka_errors.KafkaError as error:
            not_queued: Exception = error
            self._failed(reply, not_queued)
            return not_queued
        future.add_callback(partial(self._end, reply))
        future.add_errback(partial(self._failed, reply))
        return None

    def _record(self, reply: _Unacknowledged) -> dict[str, Any]:
        """Return the arguments of send(): for the partition that the gateway reads, or by key."""
        request = reply.request
        wanted = request.reply_partition
        exists = wanted is not None and wanted in self._producer.partitions_for(request.reply_topic)
        return {
            "topic": request.reply_topic,
            "partition": wanted if exists else None,
            "key": request.key,
            "value": reply.value,
            "headers": reply.headers,
        }

    def _end(self, reply: _Unacknowledged, _: object = None) -> None:
        with self._changed:
            # Acknowledged twice when it was sent twice.
            if reply not in self._unacknowledged:
                return
            self._unacknowledged.remove(reply)
            if self.is_stopping and not self._unacknowledged:
                self._changed.notify_all()
        reply.on_end()

    def _failed(self, reply: _Unacknowledged, error: Exception) -> None:
        """Let *reply* be sent again, or end it; also on the producer's thread, so without waits."""
        if isinstance(error, _TOO_LARGE) and not reply.is_replaced:
            self._replace(reply, error)
            self._resend_in(0.0, reply)
            return
        self._log.warning(
            "%s: reply not accepted by topic %s (%s); trying again",
            reply.request.correlation_id,
            reply.request.reply_topic,
            error,
        )
        if epoch_ms() > reply.request.deadline_ms + self._retention_ms:
            self._counts.add("unsent")
            self._end(reply)
        else:
            self._resend_in(RETRY_PAUSE_S, reply)

    def _replace(self, reply: _Unacknowledged, error: Exception) -> None:
        detail = (
            f"the reply has {len(reply.value)} bytes, more than Kafka accepts ({error}); "
            "request less data, or raise the size limits of the reply topic"
        )
        self._log.warning("%s: %s", reply.request.correlation_id, detail)
        problem = Reply.problem(reply.request, 502, "Reply too large", detail)
        reply.value, reply.headers = problem.encode()
        reply.is_replaced = True

    def _resend_in(self, pause_s: float, reply: _Unacknowledged) -> None:
        with self._changed:
            if reply not in self._unacknowledged:
                return
            reply.sent_s = math.inf
            due = (time.monotonic() + pause_s, reply)
            if pause_s:
                self._to_resend.append(due)
            else:
                self._to_resend.appendleft(due)
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self._fail_overdue()
            self._resend()

    def _wait(self) -> bool:
        """Return once there is something to do; False after close()."""
        with self._changed:
            while not self._closed and (wait_s := self._next_s() - time.monotonic()) > 0:
                self._changed.wait(wait_s)
            return not self._closed

    def _next_s(self) -> float:
        check_s = self._checked_s + CHECK_INTERVAL_S
        return min(check_s, self._to_resend[0][0]) if self._to_resend else check_s

    def _fail_overdue(self) -> None:
        now_s = time.monotonic()
        if now_s < self._checked_s + CHECK_INTERVAL_S:
            return
        self._checked_s = now_s
        with self._changed:
            latest_s = now_s - ACKNOWLEDGE_TIMEOUT_S
            overdue = [reply for reply in self._unacknowledged if reply.sent_s < latest_s]
        for reply in overdue:
            reason = f"not acknowledged within {ACKNOWLEDGE_TIMEOUT_S:g} s"
            self._failed(reply, kafka_errors.KafkaTimeoutError(reason))

    def _resend(self) -> None:
        refused: dict[str, Exception] = {}  # by topic
        for reply in self._take_due():
            topic = reply.request.reply_topic
            # A missing topic blocks each send for seconds: one per round, or others would wait.
            if topic in refused:
                self._failed(reply, refused[topic])
                continue
            try:
                error = self._send(reply)
            except Exception:
                # An unfinished record would block all further commits of its partition.
                logger.exception("%s: its reply cannot be sent", reply.request.correlation_id)
                self._counts.add("skipped")
                self._end(reply)
            else:
                if isinstance(error, kafka_errors.KafkaTimeoutError):
                    refused[topic] = error

    def _take_due(self) -> list[_Unacknowledged]:
        now_s = time.monotonic()
        due = []
        with self._changed:
            while self._to_resend and self._to_resend[0][0] <= now_s:
                due.append(self._to_resend.popleft()[1])
        return due
