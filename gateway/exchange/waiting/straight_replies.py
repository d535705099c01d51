"""
Settles waiters with replies that come straight from Kafka, under one rule: the first reply wins.

Two places can tell which reply was the first. For a request that others may ask about as well, by
its idempotency key or its status URL, it is Redis: the reply is stored there before it is given to
anyone, and if another one is there already, that one counts. For any other request it is this
process: until its client has a response, no other client knows the correlation id.

Of several values the last one is the reply where the route says so. It comes straight if its record
says that it is the last; else Redis knows it.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from gateway import metrics
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.waiter import Waiter
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationIds
from rendezvous.errors import ForeignCorrelationId, MalformedRecord, StoreUnavailable
from rendezvous.framework_replies import StreamPart
from rendezvous.kafka_client.reply_records import excess_of, reply_in
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.replies import Put, ReplyStore

logger = logging.getLogger(__name__)

#: Number of replies to come straight before those of their topic are expected to do so again: with
#: another partitioner some come straight by chance.
STRAIGHT_IN_A_ROW = 20


class StraightReplies:
    """
    Takes the replies to requests of this process out of records.

    Args:
        store: where replies to shared requests are stored first; None without Redis.
        max_reply_bytes: maximum size of the body of a reply.

    Attributes:
        counts: replies by their way: "straight", and "redis" for those that the poller found.
    """

    def __init__(
        self, mailbox: Mailbox, store: ReplyStore | None, ids: CorrelationIds, max_reply_bytes: int
    ) -> None:
        self._mailbox = mailbox
        self._store = store
        self._ids = ids
        self._max_reply_bytes = max_reply_bytes
        self._log = ThrottledLog(logger)
        #: Topics whose replies do not all come straight, and how many in a row would end that.
        self._detours: dict[str, int] = {}
        #: Whether the partition to which replies come straight is read.
        self.is_read = False
        self._logged = 0
        self.counts: Counter[str] = Counter()

    def come_for(self, waiter: Waiter) -> bool:
        """Return whether *waiter* may expect its reply straight, as the last ones of its topic."""
        return self.is_read and bool(waiter.topic) and waiter.topic not in self._detours

    def settle(self, records: Sequence[Any]) -> None:
        """Settle the waiters whose replies are in *records*."""
        shared: dict[str, Reply] = {}
        for record in records:
            reply = self._decode(record)
            waiter = None if reply is None else self._mailbox.waiter(reply.correlation_id)
            if reply is None or waiter is None:
                continue  # of another process, late, or no reply at all
            if waiter.is_stream and reply.part is not StreamPart.LAST:
                if self._store is not None:
                    continue  # the replies process reads all values, and tells which is the last
                waiter.latest, latest = reply, waiter.latest
                if reply.part is StreamPart.VALUE:
                    continue
                reply = latest or reply
            if waiter.is_shared and self._store is not None:
                shared.setdefault(reply.correlation_id, reply)
            else:
                self._settle(waiter, reply)
        if shared and self._store is not None:
            self._settle_shared(self._store, shared)

    def note_detour(self, waiter: Waiter) -> None:
        """Note that the poller found the reply of *waiter*."""
        self.counts["redis"] += 1
        metrics.replies_of("redis").inc()
        if waiter.topic:
            self._detours[waiter.topic] = STRAIGHT_IN_A_ROW

    def log(self) -> None:
        """Log the counts if they have changed since the last call."""
        if self.counts.total() != self._logged:
            self._logged = self.counts.total()
            logger.info(
                "replies so far: %d straight from Kafka, %d through Redis",
                self.counts["straight"],
                self.counts["redis"],
            )

    def _decode(self, record: Any) -> Reply | None:
        try:
            excess = excess_of(record, self._max_reply_bytes)
            return reply_in(record, excess, self._mailbox.id_of_key)
        except MalformedRecord:
            return None  # the replies process counts and logs it

    def _settle(self, waiter: Waiter, reply: Reply) -> None:
        waiter.way = "straight"
        if self._mailbox.settle(waiter.correlation_id, reply):
            self.counts["straight"] += 1
            metrics.replies_of("straight").inc()
            if waiter.topic in self._detours:
                self._detours[waiter.topic] -= 1
                if not self._detours[waiter.topic]:
                    del self._detours[waiter.topic]

    def _settle_shared(self, store: ReplyStore, replies: dict[str, Reply]) -> None:
        """Store *replies* unless there are others, and settle their waiters with what is stored."""
        try:
            firsts = self._stored(store, replies)
        except StoreUnavailable as error:
            # Redis alone can tell; the replies process stores them when it answers again.
            self._log.warning("%s; %d replies wait for it", error, len(replies))
            return
        for correlation_id, reply in firsts.items():
            waiter = self._mailbox.waiter(correlation_id)
            if waiter is not None:
                self._settle(waiter, reply)

    def _stored(self, store: ReplyStore, replies: dict[str, Reply]) -> dict[str, Reply]:
        """Return the first reply to each request: one of *replies*, or an earlier one."""
        read = []
        for correlation_id, reply in replies.items():
            try:
                read.append((self._ids.read(correlation_id), reply))
            except ForeignCorrelationId:
                continue  # of a waiter with a key that is not accepted any more
        puts = dict(zip((cid.text for cid, _ in read), store.put_many(read), strict=True))
        earlier = [cid for cid, put in puts.items() if put is not Put.STORED]
        found = {cid: replies[cid] for cid, put in puts.items() if put is Put.STORED}
        return found | store.fetch_many(earlier)
