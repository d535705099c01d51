"""
The shared store in which a reply meets the process that waits for it.

Both ends of the hand-over stand side by side here, so that key, encoding and time to live cannot
drift apart. The replies process puts; the gateway fetches.
"""

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from replies.contract import Outcome, Reply
from replies.correlation import CorrelationId
from replies.errors import StoreUnavailable, UnusableReply

#: One Redis command may take this long. Below the shortest deadline, because whoever calls has a
#: loop of its own that tries again: redis-py's retries would only add up behind its back.
SOCKET_TIMEOUT_S = 0.25
#: A reply that comes just before its time is up stays this long, so that the last look finds it.
MIN_TTL_MS = 1_000
#: How long the word of a replies process that it reads the reply topic holds.
SERVED_S = 10

_WHAT_TO_DO: tuple[tuple[type[RedisError], str], ...] = (
    (AuthenticationError, "Redis refuses the password: correct REDIS_URL"),
    (
        NoPermissionError,
        "Redis denies this user a command or key: "
        "allow SET, MGET, EXISTS and PING on reply:* and served:*",
    ),
    (OutOfMemoryError, "Redis is out of memory: raise maxmemory or lower REPLY_RETENTION_S"),
    (ReadOnlyError, "Redis is a read-only replica: point REDIS_URL at the primary"),
    (BusyLoadingError, "Redis is loading its data: wait"),
    (TimeoutError, "Redis does not answer: see whether it hangs or the network drops packets"),
    (ConnectionError, "Redis cannot be reached: start it or correct REDIS_URL"),
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
        self._retention_ms = round(retention_s * 1000)

    @classmethod
    def connect(
        cls, url: str, retention_s: float, *, tls_verify: bool = True, max_connections: int = 32
    ) -> "ReplyStore":
        """
        Return a store on the Redis at *url*; no connection is opened before it is needed.

        Args:
            tls_verify: whether the certificate of a ``rediss://`` server is checked.
            max_connections: more than that at once is an error, not a wait.
        """
        unverified = (
            {} if tls_verify or not url.startswith("rediss:") else {"ssl_cert_reqs": "none"}
        )
        redis = Redis.from_url(
            url,
            **unverified,
            max_connections=max_connections,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=30,
        )
        return cls(redis, retention_s)

    def put_many(self, replies: Sequence[tuple[CorrelationId, Reply]]) -> list[Put]:
        """
        Store each reply whose request has none yet, in one round trip.

        Every key expires with the id's deadline plus the retention, one second from now at the
        earliest.

        Raises:
            StoreUnavailable: when any of them may not be stored; putting all again does no harm.
        """
        live = [(cid, reply, self._remaining_ms(cid)) for cid, reply in replies]
        pipeline = self._redis.pipeline(transaction=False)
        for cid, reply, remaining_ms in live:
            if remaining_ms > 0:
                # NX: the first reply wins; a redelivered record cannot change an answer already
                # given. PX in the same command: a crash in between would leave a key for ever.
                ttl_ms = max(remaining_ms, MIN_TTL_MS)
                pipeline.set(reply_key(cid.text), _encode(reply), nx=True, px=ttl_ms)
        try:
            answers = iter(pipeline.execute())
        except RedisError as error:
            raise _unavailable(error) from error
        return [
            Put.EXPIRED if remaining_ms <= 0 else Put.STORED if next(answers) else Put.DUPLICATE
            for _, _, remaining_ms in live
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
        try:
            values = self._redis.mget([reply_key(cid) for cid in correlation_ids])
        except RedisError as error:
            raise _unavailable(error) from error
        found = zip(correlation_ids, values, strict=True)
        return {cid: _decode(cid, value) for cid, value in found if isinstance(value, bytes)}

    def fetch(self, correlation_id: str) -> Reply | None:
        """
        Return the reply to *correlation_id* if it has arrived; see fetch_many().

        Raises:
            StoreUnavailable: when Redis does not answer or refuses.
        """
        return self.fetch_many([correlation_id]).get(correlation_id)

    def is_over(self, correlation_id: CorrelationId) -> bool:
        """Say whether no reply to *correlation_id* can be fetched any more, now or later."""
        return self._remaining_ms(correlation_id) <= 0

    def ping(self) -> None:
        """
        Return when Redis answers.

        Raises:
            StoreUnavailable: when it does not, with the reason and what to do.
        """
        try:
            self._redis.ping()
        except RedisError as error:
            raise _unavailable(error) from error

    def mark_served(self, reply_topic: str) -> None:
        """
        Note that some replies process reads *reply_topic*; it holds for SERVED_S.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        try:
            self._redis.set(_served_key(reply_topic), b"", ex=SERVED_S)
        except RedisError as error:
            raise _unavailable(error) from error

    def is_served(self, reply_topic: str) -> bool:
        """
        Say whether a replies process has read *reply_topic* within SERVED_S.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        try:
            return bool(self._redis.exists(_served_key(reply_topic)))
        except RedisError as error:
            raise _unavailable(error) from error

    def evicting_policy(self) -> str | None:
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

    def _remaining_ms(self, correlation_id: CorrelationId) -> int:
        return correlation_id.remaining_ms(self._retention_ms)


def reply_key(correlation_id: str) -> str:
    """Return the Redis key of the reply to *correlation_id*."""
    # The hash tag keeps the keys of one node in one slot of a Redis Cluster, where MGET needs them.
    return f"reply:{{{correlation_id.partition('.')[0]}}}:{correlation_id}"


def _served_key(reply_topic: str) -> str:
    return f"served:{reply_topic}"


def _encode(reply: Reply) -> bytes:
    head = [reply.correlation_id, reply.status, reply.outcome, reply.detail, reply.headers]
    return json.dumps(head).encode() + b"\n" + reply.body


def _decode(correlation_id: str, value: bytes) -> Reply:
    head, _, body = value.partition(b"\n")
    try:
        stored_id, status, outcome, detail, headers = json.loads(head)
        reply = Reply(stored_id, body, int(status), _pairs(headers), Outcome(outcome), str(detail))
        if reply.outcome is Outcome.ANSWERED and not reply.fits_http():
            raise ValueError("not what decode() returned")
    except (ArithmeticError, RecursionError, TypeError, ValueError):
        return Reply.unusable(UnusableReply(correlation_id, "what is stored for it is not a reply"))
    if stored_id != correlation_id:
        return Reply.unusable(
            UnusableReply(correlation_id, "what is stored for it answers another id")
        )
    return reply


def _pairs(headers: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in headers)


def _unavailable(error: RedisError) -> StoreUnavailable:
    for kind, advice in _WHAT_TO_DO:
        if isinstance(error, kind):
            return StoreUnavailable(advice, error)
    return StoreUnavailable("Redis refused; its own words are in the log", error)
