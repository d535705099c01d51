"""The Redis client: its options, and advice for its errors."""

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    MasterDownError,
    MaxConnectionsError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)
from redis.retry import Retry

from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.connection import reopening
from rendezvous.redis_store.pool import WaitingPool

#: Maximum time to connect, and to wait for an answer, in seconds. Every user of the client retries
#: on its own schedule; retries of redis-py would multiply the time.
SOCKET_TIMEOUT_S = 0.25
#: Default of REDIS_MAX_IDLE_S. Load balancers forget idle connections after 240 s or more.
MAX_IDLE_S = 180.0

_ADVICE_BY_CLASS: tuple[tuple[type[RedisError], str], ...] = (
    (AuthenticationError, "Redis refuses the password: correct REDIS_URL"),
    (
        NoPermissionError,
        "Redis denies this user a command or key: "
        "allow SET, GET, MGET, DEL, PEXPIRE, PTTL, INCR, INCRBY, EXPIRE, WATCH, UNWATCH, MULTI, "
        "EXEC, XADD, XRANGE, ZADD, ZREM, ZRANGEBYSCORE, ZREMRANGEBYSCORE and PING "
        "on reply:*, once:*, served:*, answered:*, handling:*, rate:*, kept:* and unwanted",
    ),
    (OutOfMemoryError, "Redis is out of memory: raise maxmemory or lower REPLY_RETENTION_S"),
    (ReadOnlyError, "Redis is a read-only replica: point REDIS_URL at the primary"),
    (MasterDownError, "Redis is a replica that lost its primary: point REDIS_URL at the primary"),
    (BusyLoadingError, "Redis is loading its data: wait"),
    (
        MaxConnectionsError,
        "no connection to Redis became free: check whether it is slow, or raise "
        "REDIS_MAX_CONNECTIONS",
    ),
    (TimeoutError, "Redis does not answer: check whether it hangs or the network drops packets"),
    (
        ConnectionError,
        "Redis cannot be reached: start it or correct REDIS_URL (rediss:// for a TLS port)",
    ),
)
#: For errors without a class in redis-py, by a part of their message; these take precedence.
_ADVICE_BY_MESSAGE = (
    ("NOREPLICAS", "Redis has fewer replicas than min-replicas-to-write: bring them back"),
    (
        "MISCONF",
        "Redis cannot write to its disk: repair the disk, or unset stop-writes-on-bgsave-error",
    ),
    (
        "max number of clients",
        "Redis has no connection left: raise maxclients or lower REDIS_MAX_CONNECTIONS",
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
    ("[SSL", "TLS with Redis failed: check that its port uses TLS, or correct REDIS_URL"),
    # For example a server without TLS, which takes the handshake for an incomplete command.
    (
        "Timeout connecting",
        "Redis does not answer: check whether it hangs, the network drops packets, or REDIS_URL "
        "has rediss:// for a port without TLS",
    ),
)


def open_redis(
    url: str, *, tls_verify: bool = True, max_connections: int = 32, max_idle_s: float = MAX_IDLE_S
) -> Redis:
    """
    Return a client of the Redis at *url*, which connects at the first command.

    It reopens connections that lead to a server which is not the primary, and idle ones.

    Args:
        tls_verify: whether to verify the certificate of a ``rediss://`` server.
        max_connections: maximum number of connections; a command that finds none free waits for
            one, FREE_WAIT_S at most.
        max_idle_s: maximum time for which a connection is idle and used again, in seconds.
    """
    unverified = {} if tls_verify or not url.startswith("rediss:") else {"ssl_cert_reqs": "none"}
    pool = WaitingPool.from_url(
        url,
        **unverified,
        max_connections=max_connections,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        **reopening(url, max_idle_s),
    )
    return Redis.from_pool(pool)


def execute(pipeline: Pipeline) -> list[Any]:
    """
    Execute *pipeline* in one round trip and return its answers.

    Redis executes all commands, whatever its answer to one of them.

    Raises:
        StoreUnavailable: when Redis refuses or does not answer.
    """
    try:
        # redis-py would put the arguments of the command, such as a reply, into the message.
        answers = pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer
    except RedisError as error:
        raise store_unavailable(error) from error
    return answers


def ping(redis: Redis) -> None:
    """Return when Redis answers; raise StoreUnavailable if it refuses or does not answer."""
    try:
        redis.ping()
    except RedisError as error:
        raise store_unavailable(error) from error


def eviction_policy(redis: Redis) -> str | None:
    """
    Return the eviction policy if it can drop unread replies, else None.

    Also None when Redis does not disclose it: hosted servers often deny CONFIG GET.
    """
    try:
        policy = redis.config_get("maxmemory-policy").get("maxmemory-policy")
    except RedisError:
        return None
    return None if policy in (None, "noeviction") else str(policy)


def store_unavailable(error: RedisError) -> StoreUnavailable:
    """Return *error* as a StoreUnavailable with advice for the operator."""
    for message, advice in _ADVICE_BY_MESSAGE:
        if message in str(error):
            return StoreUnavailable(advice, error)
    for kind, advice in _ADVICE_BY_CLASS:
        if isinstance(error, kind):
            return StoreUnavailable(advice, error)
    return StoreUnavailable("Redis refused the command; see the log for its error", error)
