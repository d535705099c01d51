"""
Reply store: `replies` puts replies into Redis, the gateway fetches them.

Both sides are in one module, so that key, encoding and time to live cannot diverge.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from rendezvous import encoding
from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import CorrelationId
from rendezvous.errors import StoreUnavailable, UnusableReply, WritesRefused
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.client import execute, execute_each, store_unavailable
from rendezvous.redis_store.kept_replies import count_stored, read_accounts
from rendezvous.redis_store.streams import Named, Streams, is_unfinished

logger = logging.getLogger(__name__)

#: Minimum time to live of a reply, in ms: a reply that arrives just before its request times out
#: is still there for the last poll.
MIN_TTL_MS = 1_000


class Put(StrEnum):
    """The outcome of putting a reply into the store."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the request already has a reply, and the first one stays
    PARTIAL = "partial"  # a value that another one may follow
    EXPIRED = "expired"  # deadline and retention have passed; no client can fetch it any more


class ReplyStore:
    """
    Replies in Redis, one key each, which expires after deadline and retention.

    Safe to use from several threads, and after a fork.

    Args:
        retention_s: how long after its deadline a reply can still be fetched, in seconds.
    """

    def __init__(self, redis: Redis, retention_s: float) -> None:
        self._redis = redis
        self._log = ThrottledLog(logger)
        self._streams = Streams(redis)
        self._retention_ms = round(retention_s * 1000)

    def put_many(self, replies: Sequence[tuple[CorrelationId, Reply]]) -> list[Put]:
        """
        Store each reply whose request has none yet, in one round trip.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer. Some replies may be stored
                nevertheless; putting them again is harmless.
        """
        if any(map(is_unfinished, replies)):
            return self._put_streams(replies)
        ttls_ms = [self.remaining_ms(cid) for cid, _ in replies]
        live = [
            (cid, reply, ms) for (cid, reply), ms in zip(replies, ttls_ms, strict=True) if ms > 0
        ]
        if not live:
            return [Put.EXPIRED for _ in replies]
        # NX: the first reply wins; a redelivered record cannot change it. PX in the same command:
        # a crash between two commands would leave a key that never expires.
        pipeline = self._redis.pipeline(transaction=False)
        kept: dict[int, tuple[CorrelationId, int]] = {}  # with an idempotency key, by position
        for position, (cid, reply, ms) in enumerate(live):
            value = encoding.to_bytes(reply)
            pipeline.set(reply_key(cid.text), value, nx=True, px=max(ms, MIN_TTL_MS))
            if cid.keep_ms:
                kept[position] = cid, len(value)
        read_accounts(pipeline, [cid for cid, _ in kept.values()])
        answers = execute(pipeline)
        self._count(kept, answers[: len(live)], answers[len(live) :])
        stored = iter(answers)
        return [
            Put.EXPIRED if ms <= 0 else Put.DUPLICATE if next(stored) is None else Put.STORED
            for ms in ttls_ms
        ]

    def _put_streams(self, replies: Sequence[Named]) -> list[Put]:
        """As put_many(), with values that are not, or not yet, the answer."""
        unfinished = [named for named in replies if is_unfinished(named)]
        ttls_ms = [max(self.remaining_ms(cid), MIN_TTL_MS) for cid, _ in unfinished]
        answers = iter(self._streams.answers(unfinished, ttls_ms))
        answered = [
            (cid, next(answers) if is_unfinished((cid, reply)) else reply) for cid, reply in replies
        ]
        puts = iter(self.put_many([(cid, reply) for cid, reply in answered if reply is not None]))
        return [Put.PARTIAL if reply is None else next(puts) for _, reply in answered]

    def _count(
        self,
        kept: Mapping[int, tuple[CorrelationId, int]],
        stored: Sequence[Any],
        accounts: Sequence[Any],
    ) -> None:
        """Count the kept replies that were stored; log an error of Redis."""
        found = [
            (cid, account, size)
            for (position, (cid, size)), account in zip(kept.items(), accounts, strict=True)
            if stored[position] is not None
        ]
        try:
            count_stored(self._redis, found, time.time())
        except StoreUnavailable as error:
            self._log.warning("%d kept replies are not counted: %s", len(found), error)

    def fetch_many(self, correlation_ids: Sequence[str]) -> dict[str, Reply]:
        """
        Return the replies that have arrived for *correlation_ids*, in one round trip.

        They stay in the store: a reply must survive a crash between fetching and responding. A
        stored value that cannot be decoded is returned as an unusable reply, so that it fails only
        its own request.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        if not correlation_ids:
            return {}
        found, failures = self.fetch_available(correlation_ids)
        for error in failures.values():
            raise error
        return found

    def fetch_available(
        self, correlation_ids: Sequence[str]
    ) -> tuple[dict[str, Reply], dict[str, StoreUnavailable]]:
        """
        Do as fetch_many(), and return the failures instead of raising the first.

        They are named by node, since all replies to one are in one shard of a Redis Cluster.
        """
        by_node: dict[str, list[str]] = {}
        for cid in correlation_ids:
            by_node.setdefault(node_of(cid), []).append(cid)
        # One MGET for each node: a Redis Cluster refuses keys of several slots in one command.
        pipeline = self._redis.pipeline(transaction=False)
        for cids in by_node.values():
            pipeline.mget(list(map(reply_key, cids)))
        found: dict[str, Reply] = {}
        failures: dict[str, StoreUnavailable] = {}
        for (node, cids), values in zip(by_node.items(), execute_each(pipeline), strict=True):
            if isinstance(values, RedisError):
                failures[node] = store_unavailable(values)
                failures[node].__cause__ = values
                continue
            stored = zip(cids, values, strict=True)
            found |= {cid: _decoded(cid, v) for cid, v in stored if isinstance(v, bytes)}
        return found, failures

    def fetch(self, correlation_id: str) -> Reply | None:
        """Return the reply to *correlation_id* if it has arrived; see fetch_many()."""
        return self.fetch_many([correlation_id]).get(correlation_id)

    def check_writes(self, node: str) -> None:
        """
        Write a key of *node* that expires soon, as a reply to it would be written.

        Raises:
            WritesRefused: when Redis takes no writes.
            StoreUnavailable: when Redis does not answer.
        """
        key = reply_key(f"{node}.check")
        try:
            try:
                self._redis.set(key, b"", px=MIN_TTL_MS)
            except ResponseError:
                # Perhaps of an old primary; its connections are not used again.
                self._redis.set(key, b"", px=MIN_TTL_MS)
        except ResponseError as error:
            found = store_unavailable(error)
            raise WritesRefused(f"Redis takes no writes: {found.advice}", error) from error
        except RedisError as error:
            raise store_unavailable(error) from error

    def remaining_ms(self, correlation_id: CorrelationId) -> int:
        """Return how long its reply can be fetched; 0 or less once expired."""
        return correlation_id.remaining_ms(self._retention_ms)

    def is_over(self, correlation_id: CorrelationId) -> bool:
        """Return whether its reply has expired, or would if it arrived now."""
        return self.remaining_ms(correlation_id) <= 0


def reply_key(correlation_id: str) -> str:
    """Return the Redis key of the reply to *correlation_id*."""
    # The hash tag keeps the keys of one node in one slot of a Redis Cluster, where MGET needs them.
    return f"reply:{{{node_of(correlation_id)}}}:{correlation_id}"


def node_of(correlation_id: str) -> str:
    """Return the node that issued *correlation_id*."""
    return correlation_id.partition(".")[0]


def _decoded(correlation_id: str, value: bytes) -> Reply:
    reply = encoding.from_bytes(correlation_id, value)
    if reply.outcome is Outcome.ANSWERED and not reply.fits_http():
        # The replies process stores no such reply; something else wrote it.
        return Reply.unusable(
            UnusableReply(correlation_id, "the stored value is not an HTTP response")
        )
    return reply
