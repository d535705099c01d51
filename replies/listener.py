"""
Reply topic to store, then commit.

A whole poll is stored in one round trip, and committed only when it is stored: a crash in between
brings records again, which the store refuses, instead of losing them. Trouble with Redis pauses;
it never skips. A record that is itself at fault is skipped and counted; it never stops the rest.
"""

import contextlib
import logging
import math
import threading
import time
from collections import Counter
from typing import Any

from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import CorrelationId, CorrelationIds
from rendezvous.errors import ForeignCorrelationId, MalformedRecord, StoreUnavailable, UnusableReply
from rendezvous.kafka_client.consumer import Batch, ResilientConsumer
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from rendezvous.redis_store.replies import ReplyStore

logger = logging.getLogger(__name__)

#: Offsets are committed this often: each commit costs the broker a write, and what is redelivered
#: after a crash only counts as a duplicate.
COMMIT_PAUSE_S = 0.1
STORE_PAUSE_S = 0.2
#: So many replies that come together are many. Then the next ones are gathered for so many times as
#: long as these took to be stored: a fetch and a round trip cost as much as ten replies.
MANY = 4
GATHER_PER_TURN = 2.0
MAX_GATHER_S = 0.010
#: So many make a batch that is large enough as it is.
FULL = 100
SUMMARY_PAUSE_S = 10.0
#: How often the gateways are told what is read.
TELL_PAUSE_S = 2.0


class ReplyListener:
    """
    Carries replies from Kafka to the store.

    Args:
        consumer: of the reply topic; closed at the end of run().
        store: where the replies go.
        ids: tells our ids from others.
        watchdog: is told each time the loop turns.
        path: is told what is read, for the gateways' readiness.
    """

    def __init__(
        self,
        consumer: ResilientConsumer,
        store: ReplyStore,
        ids: CorrelationIds,
        watchdog: Watchdog,
        path: ReplyPathHeartbeats,
    ) -> None:
        self._consumer = consumer
        self._store = store
        self._ids = ids
        self._watchdog = watchdog
        self._path = path
        self._told_s = -math.inf
        self._warn = ThrottledLog(logger)
        self._next_offsets: dict[Any, int] = {}
        self._committed_s = 0.0
        self._summary_s = time.monotonic()
        self._summarised = 0
        #: What became of the records: stored, duplicate, expired, unusable, foreign, malformed.
        self.counts: Counter[str] = Counter()
        #: How many replies were stored for each waiting node.
        self.nodes: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Carry replies until *stop* is set; what was stored by then is committed."""
        try:
            while not stop.is_set():
                self._watchdog.beat()
                self._turn(stop)
        finally:
            self._consumer.commit(self._next_offsets)
            self._consumer.close()
            self._summarise()
            logger.info("stored for nodes: %s", _listed(self.nodes))

    def _turn(self, stop: threading.Event) -> None:
        batch = self._consumer.poll()
        polled_s = time.monotonic()
        if batch and not self._carry(batch, stop):
            return
        gather_s = _gather_s(sum(map(len, batch.values())), time.monotonic() - polled_s)
        if gather_s:  # to sleep for no time takes longer than a reply
            time.sleep(gather_s)
        now_s = time.monotonic()
        if now_s - self._told_s > TELL_PAUSE_S:
            self._told_s = now_s
            self._tell()
        if self._next_offsets and now_s - self._committed_s > COMMIT_PAUSE_S:
            self._committed_s = now_s
            offsets, self._next_offsets = self._next_offsets, {}
            self._consumer.commit_async(offsets)
        if now_s - self._summary_s > SUMMARY_PAUSE_S:
            self._summary_s = now_s
            self._summarise()

    def _tell(self) -> None:
        lags_s = {partition.partition: lag for partition, lag in self._consumer.lags_s().items()}
        if lags_s:
            # Redis trouble is told where replies are stored.
            with contextlib.suppress(StoreUnavailable):
                self._path.leave(self._consumer.partitions_of(self._path.topic), lags_s)

    def _carry(self, batch: Batch, stop: threading.Event) -> bool:
        """Store *batch*, however long that takes; False when stopped before."""
        replies = self._read(batch)
        offsets = _after(batch)
        paused = False
        while not self._put(replies):
            if stop.is_set():
                return False
            # poll() goes on while nothing can be stored: a member that does not poll is taken for
            # dead. Partitions that are assigned meanwhile may still bring records.
            self._consumer.pause()
            paused = True
            more = self._consumer.poll(round(STORE_PAUSE_S * 1000))
            self._watchdog.beat()
            replies += self._read(more)
            offsets |= _after(more)
        if paused:
            logger.info("Redis takes replies again")
            self._consumer.resume()
        self._next_offsets |= offsets
        return True

    def _put(self, replies: list[tuple[CorrelationId, Reply]]) -> bool:
        if not replies:
            return True
        try:
            outcomes = self._store.put_many(replies)
        except StoreUnavailable as error:
            self._warn.warning("%s; %d replies wait for it, none is lost", error, len(replies))
            return False
        self.counts.update(outcomes)
        self.nodes.update(
            cid.node for (cid, _), put in zip(replies, outcomes, strict=True) if put == "stored"
        )
        return True

    def _read(self, batch: Batch) -> list[tuple[CorrelationId, Reply]]:
        found = []
        for records in batch.values():
            for record in records:
                try:
                    found.append(self._reply(record))
                except MalformedRecord as error:
                    self._skip("malformed", record, error)
                except ForeignCorrelationId as error:
                    self._skip("foreign", record, error)
        return found

    def _reply(self, record: Any) -> tuple[CorrelationId, Reply]:
        try:
            reply = Reply.decode(record.value, record.headers)
        except UnusableReply as error:
            reply = Reply.unusable(error)
        correlation_id = self._ids.read(reply.correlation_id)
        if reply.outcome is Outcome.UNUSABLE:
            self.counts["unusable"] += 1
            self._warn.warning("reply to %s is unusable: %s", correlation_id.text, reply.detail)
        return correlation_id, reply

    def _skip(self, kind: str, record: Any, error: Exception) -> None:
        self.counts[kind] += 1
        # Two messages rather than one with the kind put in: each has its own rate limit.
        message = f"{kind} record %s/%d/%d skipped: %s"
        self._warn.warning(message, record.topic, record.partition, record.offset, error)

    def _summarise(self) -> None:
        self.counts["undecodable"] = self._consumer.undecodable
        if self.counts.total() != self._summarised:
            self._summarised = self.counts.total()
            logger.info("replies so far: %s", _listed(self.counts))


def _gather_s(found: int, took_s: float) -> float:
    """Return how long the next replies are gathered when *found* were stored in *took_s*."""
    return min(GATHER_PER_TURN * took_s, MAX_GATHER_S) if MANY <= found < FULL else 0.0


def _after(batch: Batch) -> dict[Any, int]:
    return {partition: records[-1].offset + 1 for partition, records in batch.items()}


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.most_common(50) if n) or "none"
