"""
Stores the records of the reply topic in Redis, then commits their offsets.

The replies of one poll are stored in one round trip and committed only after that: a crash in
between delivers records again, and the store refuses the duplicates. While Redis fails, reading
pauses and nothing is skipped. A record that is itself broken is skipped and counted.
"""

import contextlib
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import CorrelationId, CorrelationIds
from rendezvous.errors import ForeignCorrelationId, MalformedRecord, StoreUnavailable
from rendezvous.framework_replies import failure_report
from rendezvous.kafka_client.consuming.consumer import RecordsByPartition, ResilientConsumer
from rendezvous.kafka_client.reply_records import excess_of, reply_in
from rendezvous.process.log_fields import TRACEPARENT, trace_id_in
from rendezvous.process.monitoring.health import ProcessHealth
from rendezvous.process.monitoring.metrics import Labels, show_only
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.process.traces import tracing
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from rendezvous.redis_store.replies import ReplyStore
from replies import metrics
from replies.own_state import OwnState

logger = logging.getLogger(__name__)

#: Interval of commits, in seconds. Each commit is a write for the broker, and a record that is
#: delivered again after a crash only counts as a duplicate.
COMMIT_INTERVAL_S = 0.1
#: Maximum time of a poll while Redis fails, hence the pause before the next attempt, in seconds.
STORE_PAUSE_S = 0.2
#: Number of replies in one batch from which the next poll is delayed, so that more replies share
#: its round trips: a fetch and a round trip cost as much as ten replies.
GATHER_MIN_REPLIES = 4
SUMMARY_INTERVAL_S = 10.0
HEARTBEAT_INTERVAL_S = 2.0
#: Counts that come on top of the outcome of the same record.
REASONS = ("unusable", "dropped")


class ReplyListener:
    """
    Stores the replies that a consumer reads.

    Args:
        consumer: of the reply topic; run() closes it.
        watchdog: reset in each turn of the loop.
        heartbeats: show gateways which partitions are read.
        max_reply_bytes: maximum size of the body of a reply.
        gather_s: delay of a poll after a batch of several replies, in seconds.
        health: told what keeps replies from being read and stored.
        own_state: shows this process on the live page; None for no page.
    """

    def __init__(
        self,
        consumer: ResilientConsumer,
        store: ReplyStore,
        ids: CorrelationIds,
        watchdog: Watchdog,
        heartbeats: ReplyPathHeartbeats,
        *,
        max_reply_bytes: int,
        gather_s: float = 0.0,
        health: ProcessHealth | None = None,
        own_state: OwnState | None = None,
    ) -> None:
        self._consumer = consumer
        self._store = store
        self._ids = ids
        self._watchdog = watchdog
        self._health = health or ProcessHealth(watchdog)
        self._store_problem: str | None = None
        self._shown: set[Labels] = set()  # partitions with a metric of their lag
        self._heartbeats = heartbeats
        self._max_reply_bytes = max_reply_bytes
        self._gather_s = gather_s
        self._own_state = own_state
        self._heartbeat_s = -math.inf
        self._warn = ThrottledLog(logger)
        self._next_offsets: dict[Any, int] = {}
        self._committed_s = 0.0
        self._summary_s = time.monotonic()
        self._summarised = 0
        #: Records by result: stored, duplicate, partial, expired, unusable, dropped, foreign,
        #: malformed, undecodable.
        self.counts: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Store replies until *stop* is set, then commit what was stored."""
        try:
            while not stop.is_set():
                self._watchdog.reset()
                self._poll_and_store(stop)
        finally:
            self._consumer.commit(self._next_offsets)
            self._leave_state({}, "stopped")
            self._consumer.close()
            self._count_undecodable()
            self._summarise()

    def _poll_and_store(self, stop: threading.Event) -> None:
        batch = self._consumer.poll()
        if batch and not self._store_in_span(batch, stop):
            return
        if sum(map(len, batch.values())) >= GATHER_MIN_REPLIES:
            time.sleep(self._gather_s)
        now_s = time.monotonic()
        if now_s - self._heartbeat_s > HEARTBEAT_INTERVAL_S:
            self._heartbeat_s = now_s
            self._count_undecodable()
            self._show_state()
            self._write_heartbeat()
        if self._next_offsets and now_s - self._committed_s > COMMIT_INTERVAL_S:
            self._committed_s = now_s
            offsets, self._next_offsets = self._next_offsets, {}
            self._consumer.commit_async(offsets)
        if now_s - self._summary_s > SUMMARY_INTERVAL_S:
            self._summary_s = now_s
            self._summarise()

    def _write_heartbeat(self) -> None:
        lags_s = {partition.partition: lag for partition, lag in self._consumer.lags_s().items()}
        self._leave_state(lags_s, "running")
        if lags_s:
            # Errors of Redis are logged where replies are stored.
            with contextlib.suppress(StoreUnavailable):
                self._heartbeats.write(self._consumer.partitions_of(self._heartbeats.topic), lags_s)

    def _leave_state(self, lags_s: Mapping[int, float], state: str) -> None:
        if self._own_state is not None:
            partitions = self._consumer.partitions_of(self._heartbeats.topic)
            self._own_state.write(partitions, lags_s, self.counts, state=state)

    def _store_in_span(self, batch: RecordsByPartition, stop: threading.Event) -> bool:
        topic = self._heartbeats.topic
        with tracing.tracer.process_batch(topic, batch.values()):
            return self._store_batch(batch, stop)

    def _store_batch(self, batch: RecordsByPartition, stop: threading.Event) -> bool:
        """Store *batch*, waiting for Redis if it fails; return False if stopped first."""
        replies = self._decode(batch)
        offsets = _next_offsets(batch)
        paused = False
        while not self._try_to_store(replies):
            if stop.is_set():
                return False
            # A member that does not poll loses its partitions. Newly assigned partitions are not
            # paused yet, so this may return records.
            self._consumer.pause()
            paused = True
            more = self._consumer.poll(round(STORE_PAUSE_S * 1000))
            self._watchdog.reset()
            replies += self._decode(more)
            offsets |= _next_offsets(more)
        if paused:
            logger.info("Redis stores replies again")
            self._consumer.resume()
        self._next_offsets |= offsets
        return True

    def _try_to_store(self, replies: list[tuple[CorrelationId, Reply]]) -> bool:
        if not replies:
            return True
        try:
            self._count(*self._store.put_many(replies))
            self._store_problem = None
        except StoreUnavailable as error:
            self._store_problem = error.advice
            self._show_state()
            self._warn.warning("%s; %d replies are kept and retried", error, len(replies))
            return False
        return True

    def _decode(self, batch: RecordsByPartition) -> list[tuple[CorrelationId, Reply]]:
        replies = []
        for records in batch.values():
            for record in records:
                try:
                    replies.append(self._decode_record(record))
                except MalformedRecord as error:
                    self._skip("malformed", record, error)
                except ForeignCorrelationId as error:
                    self._skip("foreign", record, error)
        return replies

    def _decode_record(self, record: Any) -> tuple[CorrelationId, Reply]:
        excess = excess_of(record, self._max_reply_bytes)
        if excess is not None:
            self._skip("dropped", record, excess)
        reply = reply_in(record, excess)
        correlation_id = self._ids.read(reply.correlation_id)
        if correlation_id.is_stream:
            reply = replace(reply, offset=record.offset)
        if reply.outcome is Outcome.UNUSABLE:
            self._count("unusable")
        late_ms = record.timestamp - correlation_id.deadline_ms
        is_failure = reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or late_ms > 0
        # No client can fetch an expired one, and an old backlog has thousands; they are counted.
        if is_failure and self._store.remaining_ms(correlation_id) > 0:
            _log_failure(record, reply, late_ms)
        return correlation_id, reply

    def _skip(self, kind: str, record: Any, error: object) -> None:
        self._count(kind)
        # The kind is part of the message, so that each kind is throttled by itself.
        message = f"{kind} record %s/%d/%d skipped: %s"
        self._warn.warning(message, record.topic, record.partition, record.offset, error)

    def _count(self, *outcomes: str) -> None:
        for outcome, number in Counter(outcomes).items():
            self.counts[outcome] += number
            if outcome in REASONS:
                metrics.UNUSABLE.labels(outcome).inc(number)
            else:
                metrics.RECORDS.labels(outcome).inc(number)

    def _count_undecodable(self) -> None:
        new = self._consumer.undecodable - self.counts["undecodable"]
        self._count(*["undecodable"] * new)

    def _show_state(self) -> None:
        """Set the metrics of the consumer, and the problems for the probes."""
        problems = (self._consumer.problem(), self._store_problem)
        self._health.problems = [problem for problem in problems if problem]
        lags_s = {(str(one.partition),): lag_s for one, lag_s in self._consumer.lags_s().items()}
        metrics.STORE_FAILS.set(self._store_problem is not None)
        metrics.PARTITIONS.set(len(lags_s))
        self._shown = show_only(metrics.LAG, lags_s, self._shown)

    def _summarise(self) -> None:
        if self.counts.total() != self._summarised:
            self._summarised = self.counts.total()
            counts = ", ".join(f"{name} {n}" for name, n in self.counts.most_common() if n)
            logger.info("replies so far: %s", counts)


def _log_failure(record: Any, reply: Reply, late_ms: int) -> None:
    """Log why the client of *reply* has an error: one line for each, as in the access log."""
    traceparents = [v for name, v in record.headers if name == TRACEPARENT and v is not None]
    fields = {
        "correlation_id": reply.correlation_id,
        "trace_id": trace_id_in(traceparents[0].decode("latin-1")) if traceparents else None,
        "topic": record.topic,
    }
    if reply.outcome is Outcome.UNUSABLE:
        logger.warning("the reply is unusable: %s", reply.detail, extra=fields)
    elif reply.outcome is Outcome.FAILED:
        report = failure_report(record.headers)
        logger.warning("the reply reports a failure: %s", report, extra=fields)
    elif late_ms > 0:
        late_s = late_ms / 1000
        logger.warning("the reply came %.1f s after the deadline", late_s, extra=fields)
    else:
        logger.warning("the reply has status %d", reply.status, extra=fields)


def _next_offsets(batch: RecordsByPartition) -> dict[Any, int]:
    return {partition: records[-1].offset + 1 for partition, records in batch.items()}
