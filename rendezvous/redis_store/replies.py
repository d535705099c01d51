"""
The shared store in which a reply meets the process that waits for it.

Both ends of the hand-over stand side by side here, so that key, encoding and time to live cannot
drift apart. The replies process puts; the gateway fetches.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from rendezvous import encoding as saved
from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import CorrelationId
from rendezvous.errors import StoreUnavailable, UnusableReply
from rendezvous.process.throttled_log import SELDOM_S, ThrottledLog
from rendezvous.redis_store.notifications import Notifications, notify_commands
from rendezvous.redis_store.pipeline import Command, RedisPipeline

logger = logging.getLogger(__name__)

#: One Redis command may take this long. Below the shortest deadline, because whoever calls has a
#: loop of its own that tries again: redis-py's retries would only add up behind its back.
SOCKET_TIMEOUT_S = 0.25
#: Where responders find what is unwanted, for how long (no request waits longer for its turn), and
#: how many of the latest at least.
UNWANTED_KEY = "unwanted"
UNWANTED_HOLD_S = 120
MAX_UNWANTED = 10_000
#: Of more replies than that at once nobody is told: who waits for one of them has company, and
#: looks often enough.
MAX_HINTED = 8
#: The pause before hints are given again after Redis refused one.
HINT_AGAIN_S = 60.0
#: A reply that comes just before its time is up stays this long, so that the last look finds it.
MIN_TTL_MS = 1_000

_WHAT_TO_DO: tuple[tuple[type[RedisError], str], ...] = (
    (AuthenticationError, "Redis refuses the password: correct REDIS_URL"),
    (
        NoPermissionError,
        "Redis denies this user a command or key: "
        "allow SET, GET, MGET, DEL, PEXPIRE, PTTL, INCR, EXPIRE, WATCH, UNWATCH, MULTI, EXEC, "
        "XADD, XRANGE, PUBLISH, SUBSCRIBE and PING "
        "on reply:*, once:*, served:*, answered:*, handling:*, rate:* and unwanted, "
        "and the channels replied:*",
    ),
    (OutOfMemoryError, "Redis is out of memory: raise maxmemory or lower REPLY_RETENTION_S"),
    (ReadOnlyError, "Redis is a read-only replica: point REDIS_URL at the primary"),
    (MasterDownError, "Redis is a replica that lost its primary: point REDIS_URL at the primary"),
    (BusyLoadingError, "Redis is loading its data: wait"),
    (TimeoutError, "Redis does not answer: see whether it hangs or the network drops packets"),
    (
        ConnectionError,
        "Redis cannot be reached: start it or correct REDIS_URL (rediss:// if it speaks TLS)",
    ),
)
#: What redis-py has no class of its own for; looked for first, in Redis's own words.
_WHAT_TO_DO_IF_IT_SAYS = (
    ("NOREPLICAS", "Redis has fewer replicas than min-replicas-to-write: bring them back"),
    (
        "MISCONF",
        "Redis cannot write to its disk: see to that, or unset stop-writes-on-bgsave-error",
    ),
    (
        "max number of clients",
        "Redis has no connection left: raise maxclients or run fewer threads",
    ),
    (
        "mismatch, certificate is not valid for",
        "Redis has a certificate for another host: correct the host in REDIS_URL, "
        "or set REDIS_TLS_VERIFY=no",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "Redis has a certificate that is not trusted: set REDIS_TLS_VERIFY=no if it is "
        "self-signed, or append ?ssl_ca_certs=FILE with its authority to REDIS_URL",
    ),
    ("[SSL", "TLS with Redis failed: see whether it speaks TLS at all, or correct REDIS_URL"),
    # A server that takes the handshake for a command and waits for its end, for one.
    (
        "Timeout connecting",
        "Redis does not answer: see whether it hangs, the network drops packets, or REDIS_URL "
        "says rediss:// and it speaks no TLS",
    ),
)


class Put(StrEnum):
    """What became of a reply that was put."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # its request has a reply already, and the first one stays
    EXPIRED = "expired"  # deadline and retention are over, nobody can ask for it any more


class ReplyStore:
    """
    Replies in Redis, one key each, gone by themselves when nobody can want them any more.

    Safe to use from several threads, and after a fork.

    Args:
        redis: a client that returns bytes.
        retention_s: how long after its deadline a reply can still be fetched, in seconds.
    """

    def __init__(self, redis: Redis, retention_s: float) -> None:
        self._redis = redis
        self._line = RedisPipeline(redis)
        self._hint_from_s = 0.0  # monotonic clock
        self._log = ThrottledLog(logger, SELDOM_S)
        self._retention_ms = round(retention_s * 1000)

    @classmethod
    def connect(
        cls, url: str, retention_s: float, *, tls_verify: bool = True, max_connections: int = 32
    ) -> "ReplyStore":
        """Return a store on the Redis at *url*; see open_redis()."""
        redis = open_redis(url, tls_verify=tls_verify, max_connections=max_connections)
        return cls(redis, retention_s)

    def put_many(self, replies: Sequence[tuple[CorrelationId, Reply]]) -> list[Put]:
        """
        Store each reply whose request has none yet, in one round trip.

        Every key expires with the id's deadline plus the retention, one second from now at the
        earliest.

        Raises:
            StoreUnavailable: when any of them may not be stored; putting all again does no harm.
        """
        live = [(cid, reply, self.remaining_ms(cid)) for cid, reply in replies]
        # NX: the first reply wins; a redelivered record cannot change an answer already given. PX
        # in the same command: a crash in between would leave a key for ever.
        commands: list[Command] = [
            ("SET", reply_key(cid.text), saved.to_bytes(reply), "NX", "PX", max(ms, MIN_TTL_MS))
            for cid, reply, ms in live
            if ms > 0
        ]
        hints = self._hints_for(live)
        answers = iter(self._ask(commands, hints) if commands else ())
        return [
            Put.EXPIRED if ms <= 0 else Put.DUPLICATE if next(answers) is None else Put.STORED
            for _, _, ms in live
        ]

    def fetch_many(self, correlation_ids: Sequence[str]) -> dict[str, Reply]:
        """
        Return the replies that have arrived for *correlation_ids*, in one round trip.

        They stay in the store: the answer must survive a crash between reading and answering.
        A stored value that cannot be read comes back as an unusable reply, so that it fails only
        its own request.

        Raises:
            StoreUnavailable: when Redis does not answer or refuses.
        """
        if not correlation_ids:
            return {}
        by_node: dict[str, list[str]] = {}
        for cid in correlation_ids:
            by_node.setdefault(_node(cid), []).append(cid)
        # One MGET for each node: a Redis Cluster refuses keys of several slots in one command.
        answers = self._ask([("MGET", *map(reply_key, cids)) for cids in by_node.values()])
        return {
            cid: _found(cid, value)
            for cids, values in zip(by_node.values(), answers, strict=True)
            for cid, value in zip(cids, values, strict=True)
            if isinstance(value, bytes)
        }

    def fetch(self, correlation_id: str) -> Reply | None:
        """
        Return the reply to *correlation_id* if it has arrived; see fetch_many().

        Raises:
            StoreUnavailable: when Redis does not answer or refuses.
        """
        return self.fetch_many([correlation_id]).get(correlation_id)

    def hints(self, node: str) -> Notifications:
        """
        Return the hints for those who wait as *node*, which come from now on.

        Raises:
            StoreUnavailable: when Redis does not answer or refuses.
        """
        try:
            return Notifications(self._redis, node)
        except RedisError as error:
            raise store_unavailable(error) from error

    def _hints_for(self, replies: Sequence[tuple[CorrelationId, Reply, int]]) -> list[Command]:
        if len(replies) > MAX_HINTED or time.monotonic() < self._hint_from_s:
            return []
        return notify_commands(cid.node for cid, _, _ in replies)

    def _ask(self, commands: Sequence[Command], hints: Sequence[Command] = ()) -> list[Any]:
        try:
            answers = self._line.ask(commands, hints)
        except RedisError as error:
            raise store_unavailable(error) from error
        for answer in answers[len(commands) :]:
            if isinstance(answer, RedisError):
                told = store_unavailable(answer)
                self._log.info("%s; gateways notice replies later without hints", told)
                self._hint_from_s = time.monotonic() + HINT_AGAIN_S
                break
        return answers[: len(commands)]

    def remaining_ms(self, correlation_id: CorrelationId) -> int:
        """Return for how long a reply to *correlation_id* can be fetched; 0 or less once over."""
        return correlation_id.remaining_ms(self._retention_ms)

    def is_over(self, correlation_id: CorrelationId) -> bool:
        """Say whether no reply to *correlation_id* can be fetched any more, now or later."""
        return self.remaining_ms(correlation_id) <= 0

    def mark_cancelled(self, correlation_id: str) -> None:
        """
        Tell the responders that nobody wants the reply to *correlation_id* any more.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        # A stream: Redis numbers its entries by its own clock, in the order in which they appear,
        # so that nobody overlooks one, whatever the clocks of gateways and responders say.
        pipeline.xadd(UNWANTED_KEY, {"id": correlation_id}, maxlen=MAX_UNWANTED, approximate=True)
        pipeline.expire(UNWANTED_KEY, UNWANTED_HOLD_S)
        try:
            pipeline.execute()
        except RedisError as error:
            raise store_unavailable(error) from error

    def cancelled_since(self, place: str) -> tuple[list[str], str]:
        """
        Return the ids marked as unwanted after *place*, and the place to go on from.

        Args:
            place: what the last call returned; empty at first, for all that are still there.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        entries: Any  # redis-py's own types allow for what it never returns to a bytes client
        try:
            entries = self._redis.xrange(
                UNWANTED_KEY, min=f"({place}" if place else "-", count=MAX_UNWANTED
            )
        except RedisError as error:
            raise store_unavailable(error) from error
        ids = [fields.get(b"id", b"").decode("utf-8", "replace") for _, fields in entries]
        return ids, entries[-1][0].decode() if entries else place

    def ping(self) -> None:
        """
        Return when Redis answers.

        Raises:
            StoreUnavailable: when it does not, with the reason and what to do.
        """
        try:
            self._redis.ping()
        except RedisError as error:
            raise store_unavailable(error) from error

    def leave_heartbeats(self, words: Mapping[str, str], hold_s: int) -> None:
        """
        Keep each of *words* under its name for *hold_s*, for other processes to find.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for name, word in words.items():
            pipeline.set(_word_key(name), word, ex=hold_s)
        try:
            pipeline.execute()
        except RedisError as error:
            raise store_unavailable(error) from error

    def words(self, names: Sequence[str], hold_s: int) -> list[tuple[bytes | None, int]]:
        """
        Return what was left under each of *names*, with its age in ms; None where nothing holds.

        Args:
            hold_s: for how long they were left.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.get(_word_key(name))
            pipeline.pttl(_word_key(name))
        try:
            found = pipeline.execute()
        except RedisError as error:
            raise store_unavailable(error) from error
        return [
            (word, max(0, hold_s * 1000 - remaining_ms))
            for word, remaining_ms in zip(found[::2], found[1::2], strict=True)
        ]

    def eviction_policy(self) -> str | None:
        """
        Return the eviction policy when it may drop unread replies; None when it keeps them.

        Also None when Redis does not tell: hosted ones often deny the question.
        """
        try:
            policy = self._redis.config_get("maxmemory-policy").get("maxmemory-policy")
        except RedisError:
            return None
        return None if policy in (None, "noeviction") else str(policy)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def open_redis(url: str, *, tls_verify: bool, max_connections: int) -> Redis:
    """
    Return a client of the Redis at *url*; no connection is opened before it is needed.

    Args:
        tls_verify: whether the certificate of a ``rediss://`` server is checked.
        max_connections: more than that at once is an error, not a wait.
    """
    unverified = {} if tls_verify or not url.startswith("rediss:") else {"ssl_cert_reqs": "none"}
    return Redis.from_url(
        url,
        **unverified,
        max_connections=max_connections,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=30,
    )


def reply_key(correlation_id: str) -> str:
    """Return the Redis key of the reply to *correlation_id*."""
    # The hash tag keeps the keys of one node in one slot of a Redis Cluster, where MGET needs them.
    return f"reply:{{{_node(correlation_id)}}}:{correlation_id}"


def _node(correlation_id: str) -> str:
    return correlation_id.partition(".")[0]


def _found(correlation_id: str, value: bytes) -> Reply:
    reply = saved.from_bytes(correlation_id, value)
    if reply.outcome is Outcome.ANSWERED and not reply.fits_http():
        # Not what the replies process has put there.
        return Reply.unusable(UnusableReply(correlation_id, "what is stored for it is no response"))
    return reply


def _word_key(name: str) -> str:
    return f"served:{name}"


def store_unavailable(error: RedisError) -> StoreUnavailable:
    """Return what *error* means to whoever runs this."""
    for words, advice in _WHAT_TO_DO_IF_IT_SAYS:
        if words in str(error):
            return StoreUnavailable(advice, error)
    for kind, advice in _WHAT_TO_DO:
        if isinstance(error, kind):
            return StoreUnavailable(advice, error)
    return StoreUnavailable("Redis refused; its own words are in the log", error)
