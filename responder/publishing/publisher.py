"""
Publisher: publishes records without waiting, until the broker acknowledges them.

A record that the broker did not accept is sent again by a thread of the publisher, not by that of
the handler.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kafka import errors as kafka_errors

from rendezvous.correlation import epoch_ms
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.monitoring.metrics import count_kafka_error
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.process.traces import tracing

logger = logging.getLogger(__name__)

#: The pause before a record that the broker did not accept is sent again, in seconds.
RETRY_PAUSE_S = 0.2
#: Maximum time to wait for one acknowledgement, in seconds. The producer reports a failure before;
#: without either the offset of the request would never be committed.
ACKNOWLEDGE_TIMEOUT_S = 15.0
#: Interval of the search for records past ACKNOWLEDGE_TIMEOUT_S, in seconds.
CHECK_INTERVAL_S = 1.0

_TOO_LARGE = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
)


Headers = list[tuple[str, bytes]]


@dataclass(slots=True, eq=False)
class Outgoing:
    """
    A record that is not acknowledged yet.

    Args:
        name: of what it is about, for the log.
        request_topic: of the request that it is about, for the counts.
        on_end: called once it is acknowledged or discarded, by any thread; never when close() ended
            it before: the request must be delivered again.
        smaller: returns value and headers that replace its own if they are too large.
        partition: where it goes if that exists; elsewhere by key.
    """

    name: str
    request_topic: str
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    on_end: Callable[[], None]
    smaller: Callable[[Exception], tuple[bytes, Headers]]
    partition: int | None = None
    give_up_ms: int = 0  # Unix time; of replies
    begun_s: float = field(default_factory=time.monotonic)
    sent_s: float = 0.0  # monotonic clock; of the last time
    is_replaced: bool = False  # by a smaller record
    is_reported: bool = False  # that no broker accepted it
    span: tracing.Span = tracing.NO_SPAN


class Publisher:
    """
    Publishes records of one kind; call start() before use. Thread-safe.

    Args:
        producer: a KafkaProducer; not closed here.
        counts: where records that could not be published are counted as "unsent".
        thread_name: of the thread that sends records again.
    """

    def __init__(self, producer: Any, counts: OutcomeCounts, thread_name: str) -> None:
        self._producer = producer
        self._counts = counts
        self._give_up_s = math.inf  # monotonic clock; finite once closing
        self._log = ThrottledLog(logger)
        self._changed = threading.Condition(threading.Lock())
        self._unacknowledged: set[Outgoing] = set()
        self._new: deque[Outgoing] = deque()
        self._to_resend: deque[tuple[float, Outgoing]] = deque()  # by due time
        self._checked_s = time.monotonic()
        #: When a broker accepted a record the last time (monotonic clock).
        self.acknowledged_s = -math.inf
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    def start(self) -> None:
        """Start the thread that sends records again."""
        self._thread.start()

    def close(self, give_up_s: float) -> None:
        """Return once all records have ended, or at *give_up_s* (monotonic clock); then stop."""
        with self._changed:
            self._give_up_s = give_up_s
            self._changed.wait_for(
                lambda: not self._unacknowledged, max(0.0, give_up_s - time.monotonic())
            )
            self._closed = True
            self._changed.notify_all()
            left = [*self._unacknowledged]
        self._thread.join()
        for record in left:
            record.span.end("stopped")

    def send(self, record: Outgoing) -> None:
        """Publish *record* until it is acknowledged or its time is over."""
        with self._changed:
            self._unacknowledged.add(record)
        try:
            self._send(record)
        except BaseException:
            with self._changed:
                self._unacknowledged.discard(record)
            record.span.end("unsent")
            raise

    def send_later(self, record: Outgoing) -> None:
        """As send(), but on the publisher's thread: a missing topic blocks it for seconds."""
        with self._changed:
            record.sent_s = math.inf
            self._unacknowledged.add(record)
            self._new.append(record)
            self._changed.notify_all()

    def _is_over(self, record: Outgoing) -> bool:
        """Return whether *record* is discarded unless a broker has accepted it by now."""
        return epoch_ms() > record.give_up_ms

    def _acknowledged(self, record: Outgoing) -> None:
        """Do what the acknowledgement of *record* needs, before its on_end()."""

    def _report(self, record: Outgoing, error: Exception) -> None:
        """Log that no broker accepted *record*."""

    def _discarded(self, record: Outgoing) -> None:
        """Log what is lost with *record*, which no broker accepted in time."""

    def _send(self, record: Outgoing) -> Exception | None:
        """Send *record*; return why it was not even queued, or None."""
        record.sent_s = time.monotonic()
        if record.sent_s >= self._give_up_s:
            return None
        try:
            future = self._producer.send(**self._arguments(record))
        except kafka_errors.KafkaError as error:
            not_queued: Exception = error
            self._failed(record, not_queued)
            return not_queued
        future.add_callback(partial(self._succeeded, record))
        future.add_errback(partial(self._failed, record))
        return None

    def _arguments(self, record: Outgoing) -> dict[str, Any]:
        """Return the arguments of send(): for the partition that is wanted, or by key."""
        wanted = record.partition
        exists = wanted is not None and wanted in self._producer.partitions_for(record.topic)
        return {
            "topic": record.topic,
            "partition": wanted if exists else None,
            "key": record.key,
            "value": record.value,
            "headers": record.headers,
        }

    def _succeeded(self, record: Outgoing, _: object) -> None:
        self.acknowledged_s = time.monotonic()
        if self._remove(record):
            record.span.end()
            self._acknowledged(record)
            record.on_end()

    def _remove(self, record: Outgoing) -> bool:
        """Return whether *record* had not ended before."""
        with self._changed:
            # Acknowledged twice when it was sent twice.
            if record not in self._unacknowledged:
                return False
            self._unacknowledged.remove(record)
            if not self._unacknowledged and self._give_up_s < math.inf:
                self._changed.notify_all()
        return True

    def _discard(self, record: Outgoing) -> None:
        if self._remove(record):
            record.span.end("unsent")
            self._discarded(record)
            record.on_end()

    def _failed(self, record: Outgoing, error: Exception) -> None:
        """Schedule *record* for another send, or end it; never waits."""
        count_kafka_error("producer", error)
        if isinstance(error, _TOO_LARGE) and not record.is_replaced:
            record.value, record.headers = record.smaller(error)
            record.is_replaced = True
            self._resend_in(0.0, record)
            return
        self._report(record, error)
        if self._is_over(record):
            self._counts.add("unsent", record.request_topic)
            self._discard(record)
        else:
            self._resend_in(RETRY_PAUSE_S, record)

    def _resend_in(self, pause_s: float, record: Outgoing) -> None:
        with self._changed:
            if record not in self._unacknowledged:
                return
            record.sent_s = math.inf
            due = (time.monotonic() + pause_s, record)
            if pause_s:
                self._to_resend.append(due)
            else:
                self._to_resend.appendleft(due)
            self._changed.notify_all()

    def _run(self) -> None:
        while self._wait():
            self._fail_overdue()
            self._send_due()

    def _wait(self) -> bool:
        """Return once there is something to do; False after close()."""
        with self._changed:
            while not self._closed and (wait_s := self._next_s() - time.monotonic()) > 0:
                self._changed.wait(wait_s)
            return not self._closed

    def _next_s(self) -> float:
        if self._new:
            return 0.0
        check_s = self._checked_s + CHECK_INTERVAL_S
        return min(check_s, self._to_resend[0][0]) if self._to_resend else check_s

    def _fail_overdue(self) -> None:
        now_s = time.monotonic()
        if now_s < self._checked_s + CHECK_INTERVAL_S:
            return
        self._checked_s = now_s
        with self._changed:
            latest_s = now_s - ACKNOWLEDGE_TIMEOUT_S
            overdue = [record for record in self._unacknowledged if record.sent_s < latest_s]
        for record in overdue:
            reason = f"not acknowledged within {ACKNOWLEDGE_TIMEOUT_S:g} s"
            self._failed(record, kafka_errors.KafkaTimeoutError(reason))

    def _send_due(self) -> None:
        refused: dict[str, Exception] = {}  # by topic
        for record in self._take_due():
            # A missing topic blocks each send for seconds: one per round, or others would wait.
            if record.topic in refused:
                self._failed(record, refused[record.topic])
                continue
            try:
                error = self._send(record)
            except BaseException:
                # An unfinished record would block all further commits of its partition.
                logger.exception("%s: it cannot be sent to %s", record.name, record.topic)
                self._counts.add("skipped", record.request_topic)
                self._discard(record)
            else:
                if isinstance(error, kafka_errors.KafkaTimeoutError):
                    refused[record.topic] = error

    def _take_due(self) -> list[Outgoing]:
        now_s = time.monotonic()
        with self._changed:
            due = list(self._new)
            self._new.clear()
            while self._to_resend and self._to_resend[0][0] <= now_s:
                due.append(self._to_resend.popleft()[1])
        return due
