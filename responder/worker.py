"""
Request topics to handlers to reply topic, then commit.

A request is finished when the broker has acknowledged its reply. Only then may its offset be
committed, and only with all before it: a crash brings requests again rather than losing them.
"""

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping
from typing import Any

from kafka import errors as kafka_errors

from rendezvous.contract import Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.errors import MalformedRecord
from rendezvous.kafka_client.consumer import ResilientConsumer
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.process.watchdog import Watchdog
from responder.clock_skew import CLOCK_TOLERANCE_MS, MAX_WAIT_MS, ClockSkew
from responder.dedup.coordinator import Deduplicator
from responder.dedup.journal import Journal
from responder.keyed_executor import KeyedExecutor
from responder.offsets import PartitionOffsets
from responder.registry import Handler, HandlerError

logger = logging.getLogger(__name__)

COMMIT_PAUSE_S = 0.1
#: The pause before a reply that the broker did not take is offered again.
REPLY_PAUSE_S = 0.2
SUMMARY_PAUSE_S = 10.0
#: So long replies are offered to the broker once we are told to stop.
FINISH_S = 5.0
#: So many requests may be taken up per thread before polling pauses.
BACKLOG_PER_THREAD = 4

_TOO_LARGE = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
)


class ResponderWorker:
    """
    Answers the requests of several topics with plain functions.

    Args:
        consumer: of the request topics; closed at the end of run().
        producer: a KafkaProducer; whoever made it closes it.
        handlers: the function for each topic.
        threads: how many requests are handled at once.
        watchdog: is told each time the loop turns.
        reply_retention_s: how long after its deadline a reply is still of use to somebody.
        journal: keeps a request that is delivered again from being handled again; None for none.
        unwanted: the ids of requests that need not begin any more.
    """

    def __init__(
        self,
        consumer: ResilientConsumer,
        producer: Any,
        handlers: Mapping[str, Handler],
        threads: int,
        watchdog: Watchdog,
        reply_retention_s: float = 0.0,
        journal: Journal | None = None,
        unwanted: Container[str] = (),
    ) -> None:
        self._consumer = consumer
        self._producer = producer
        self._handlers = handlers
        self._lanes = KeyedExecutor(threads)
        self._max_backlog = threads * BACKLOG_PER_THREAD
        self._watchdog = watchdog
        self._retention_ms = CLOCK_TOLERANCE_MS + round(reply_retention_s * 1000)
        self._once = (
            None if journal is None else Deduplicator(journal, self._is_wanted, self._count)
        )
        self._unwanted = unwanted
        self._clocks = ClockSkew()
        self._warn = ThrottledLog(logger)
        self._give_up_s = math.inf  # monotonic clock; set when we are told to stop
        self._lock = threading.Lock()  # guards the four below: handlers finish on their own threads
        self._progress: dict[Any, PartitionOffsets] = {}
        self._committed: dict[Any, int] = {}
        self._backlog = 0
        #: What became of the requests: answered, failed, repeated, expired, cancelled,
        #: malformed, unsent, skipped.
        self.counts: Counter[str] = Counter()
        self._committed_s = self._summary_s = time.monotonic()
        self._summarised = 0

    def run(self, stop: threading.Event) -> None:
        """Answer requests until *stop* is set; those begun by then are answered and committed."""
        try:
            while not stop.is_set():
                self._watchdog.beat()
                batch, now_ms = self._consumer.poll(), epoch_ms()
                for partition, records in batch.items():
                    taken_ms = now_ms if self._consumer.is_fresh(partition) else None
                    for record in records:
                        self._take(partition, record, taken_ms)
                self._throttle()
                self._commit()
        finally:
            self._end()

    def _throttle(self) -> None:
        """Take up no more while the handlers are behind; poll() goes on, to stay in the group."""
        if self._backlog >= self._max_backlog:
            self._consumer.pause()
        else:
            self._consumer.resume()

    def _take(self, partition: Any, record: Any, taken_ms: int | None) -> None:
        """Begin with *record*; *taken_ms* is when it came, if it came fresh from its gateway."""
        with self._lock:
            self._progress.setdefault(partition, PartitionOffsets()).begin(record.offset)
            self._backlog += 1

        def done() -> None:
            with self._lock:
                self._progress[partition].finish(record.offset)
                self._backlog -= 1

        key = (partition, record.key) if record.key is not None else object()
        self._lanes.submit(key, lambda: self._finish(record, taken_ms, done))

    def _finish(self, record: Any, taken_ms: int | None, done: Callable[[], None]) -> None:
        """Do all that *record* needs; it is done unless we are stopped before its reply is out."""
        try:
            if self._answer(record, taken_ms):
                done()
        except Exception:
            # Left undone, one bad record would hold up its partition for good.
            logger.exception("record %s failed and is skipped", _place(record))
            self._count("skipped")
            done()

    def _answer(self, record: Any, taken_ms: int | None) -> bool:
        """Answer *record*; say whether it needs nothing more."""
        try:
            request = Request.decode(record.topic, record.key, record.value, record.headers)
        except MalformedRecord as error:
            self._count("malformed")
            self._warn.warning("record %s is no request and is skipped: %s", _place(record), error)
            return True
        if taken_ms is not None:
            self._clocks.note(taken_ms - request.deadline_ms)
        late_ms = epoch_ms() - request.deadline_ms
        if late_ms > CLOCK_TOLERANCE_MS:
            return self._drop(request, late_ms)
        if late_ms < -MAX_WAIT_MS:
            self._warn.error(
                "%s: its deadline is %.0f s away, and no gateway waits so long: this clock is "
                "behind the gateways'; set it (NTP)",
                request.correlation_id,
                -late_ms / 1000,
            )
        if request.correlation_id in self._unwanted:
            self._count("cancelled")
            self._warn.info("%s: dropped, its client has cancelled it", request.correlation_id)
            return True
        reply = self._reply(request)
        if reply is not None:
            return self._send(request, reply)
        if self._is_stopping():
            return False
        self._count("expired")
        self._warn.warning(
            "%s: dropped, its deadline passed before it could begin", request.correlation_id
        )
        return True

    def _drop(self, request: Request, late_ms: int) -> bool:
        self._count("expired")
        self._warn.warning(
            "%s: dropped, its deadline passed %.1f s ago", request.correlation_id, late_ms / 1000
        )
        ahead_s = self._clocks.ahead_s()
        if ahead_s is None:
            return True
        # Somebody may be waiting after all, and would otherwise do so in vain, every time.
        detail = (
            f"the responder's clock is {ahead_s:.0f} s or more ahead of the gateway's, by which "
            "every request comes too late; this one was not carried out. Set the clocks (NTP)"
        )
        return self._send(request, Reply.problem(request, 503, "Clocks Differ", detail))

    def _reply(self, request: Request) -> Reply | None:
        """Return the reply to *request*; None when the journal has not let it begin."""
        if self._once is None:
            return self._handle(request)
        return self._once.answer(request, self._handle)

    def _is_wanted(self, request: Request) -> bool:
        """Say whether *request* may still begin: here, or when it is delivered again."""
        return not self._is_stopping() and epoch_ms() <= request.deadline_ms + CLOCK_TOLERANCE_MS

    def _is_stopping(self) -> bool:
        return self._give_up_s < math.inf

    def _handle(self, request: Request) -> Reply:
        try:
            reply = _checked(self._handlers[request.topic](request))
        except HandlerError as error:
            self._count("failed")
            return error.reply_to(request)
        except (Exception, SystemExit):
            # The trace is for our log; the client gets the fact.
            logger.exception("%s: the handler of %s failed", request.correlation_id, request.topic)
            self._count("failed")
            detail = f"the handler of {request.topic} failed"
            return Reply.problem(request, 500, "Responder failed", detail)
        self._count("answered")
        return reply

    def _send(self, request: Request, reply: Reply) -> bool:
        """Offer the reply until the broker has it or nobody can want it; False when stopped."""
        value, headers = reply.encode()
        while time.monotonic() < self._give_up_s:
            try:
                future = self._producer.send(
                    request.reply_topic, value=value, key=request.key, headers=headers
                )
                future.get(timeout=10)
            except _TOO_LARGE as error:
                detail = f"the reply has {len(value)} bytes, more than Kafka takes ({error})"
                self._warn.warning("%s: %s", request.correlation_id, detail)
                value, headers = Reply.problem(request, 502, "Reply too large", detail).encode()
            except kafka_errors.KafkaError as error:
                self._warn.warning(
                    "%s: reply not taken by topic %s (%s); trying again",
                    request.correlation_id,
                    request.reply_topic,
                    error,
                )
                if epoch_ms() > request.deadline_ms + self._retention_ms:
                    self._count("unsent")
                    return True
                time.sleep(REPLY_PAUSE_S)
            else:
                return True
        return False

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.counts[outcome] += 1

    def _commit(self) -> None:
        now_s = time.monotonic()
        if now_s - self._committed_s > COMMIT_PAUSE_S:
            self._committed_s = now_s
            self._consumer.commit_async(self._uncommitted())
        if now_s - self._summary_s > SUMMARY_PAUSE_S:
            self._summary_s = now_s
            self._summarise()

    def _uncommitted(self) -> dict[Any, int]:
        """Return what can be committed and has not been, and take it as committed."""
        with self._lock:
            ahead = {
                partition: progress.next_offset()
                for partition, progress in self._progress.items()
                if progress.next_offset() != self._committed.get(partition)
            }
        self._committed |= ahead
        return ahead

    def _end(self) -> None:
        """Let the handlers that have begun end, then commit what they finished."""
        # How long they take is the platform's affair now.
        self._watchdog.stop()
        self._give_up_s = time.monotonic() + FINISH_S
        self._lanes.close()
        self._consumer.commit(self._uncommitted())
        self._consumer.close()
        self._summarise()

    def _summarise(self) -> None:
        with self._lock:
            counts = Counter(self.counts)
        if counts.total() != self._summarised:
            self._summarised = counts.total()
            logger.info("requests so far: %s", ", ".join(f"{k} {n}" for k, n in counts.items()))


def _checked(reply: Reply) -> Reply:
    """Return what a handler returned; raises when that is no reply that can be published."""
    if not isinstance(reply, Reply) or not isinstance(reply.body, bytes):
        raise TypeError(f"a handler has to return a Reply with a body of bytes, not {reply!r:.200}")
    reply.encode()
    return reply


def _place(record: Any) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
