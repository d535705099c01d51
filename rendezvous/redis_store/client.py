"""Commands to Redis, and advice for its errors."""

import re
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,
)

from rendezvous.errors import StoreUnavailable
from rendezvous.process.monitoring.metrics import REDIS_ERRORS
from rendezvous.redis_store.connecting.cluster import ClusterRedis

#: Number of shards in an answer to CLUSTER INFO.
_SHARDS = re.compile(r"cluster_size:(\d+)")
#: What to do about a URL of one Redis that leads to a cluster.
CLUSTER_ADVICE = (
    "Redis is a cluster of several shards: write redis+cluster:// in REDIS_URL, or "
    "rediss+cluster:// with TLS"
)
_ADVICE_BY_CLASS: tuple[tuple[type[RedisError], str], ...] = (
    (AuthenticationError, "Redis refuses the password: correct REDIS_URL"),
    (
        NoPermissionError,
        "Redis denies this user a command or key: "
        "allow SET, GET, MGET, DEL, PEXPIRE, PTTL, INCR, INCRBY, EXPIRE, WATCH, UNWATCH, MULTI, "
        "EXEC, XADD, XRANGE, ZADD, ZREM, ZRANGE, ZRANGEBYSCORE, ZREMRANGEBYRANK, "
        "ZREMRANGEBYSCORE and PING, and of a cluster CLUSTER and COMMAND, on reply:*, stream:*, "
        "once:*, served:*, answered:*, handling:*, rate:*, kept:* and unwanted",
    ),
    (OutOfMemoryError, "Redis is out of memory: raise maxmemory or lower REPLY_RETENTION_S"),
    (ReadOnlyError, "Redis is a read-only replica: point REDIS_URL at the primary"),
    (MasterDownError, "Redis is a replica that lost its primary: point REDIS_URL at the primary"),
    (MovedError, CLUSTER_ADVICE),
    (
        ClusterDownError,
        "Redis Cluster has a shard without a primary: wait for its failover, or bring a node back",
    ),
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
    (
        "cluster support disabled",
        "Redis is not a cluster: write redis:// or rediss:// in REDIS_URL",
    ),
    ("the Sentinels see no primary", "the Sentinels see no primary: wait for their failover"),
    (
        "the Sentinels know no service",
        "the Sentinels do not know the service that REDIS_URL names: correct the part after the /",
    ),
    (
        "no Sentinel answers: unknown command",
        "REDIS_URL leads to a Redis, not to a Sentinel: correct the port (26379), or write redis://",
    ),
    (
        "unknown command",
        "the server at REDIS_URL does not know a command of Redis: if it is a Sentinel, write "
        "redis+sentinel://host:26379/SERVICE",
    ),
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
    (
        "no Sentinel answers",
        "no Sentinel answers: check that they run, and their addresses in REDIS_URL "
        "(rediss+sentinel:// for TLS ports); append ?sentinel_password=PASSWORD if they ask for "
        "one",
    ),
    # For example a server without TLS, which takes the handshake for an incomplete command.
    (
        "Timeout connecting",
        "Redis does not answer: check whether it hangs, the network drops packets, or REDIS_URL "
        "has rediss:// for a port without TLS",
    ),
)


def execute(pipeline: Pipeline) -> list[Any]:
    """
    Execute *pipeline* in one round trip and return its answers.

    Redis executes all commands, whatever its answer to one of them.

    Raises:
        StoreUnavailable: when Redis refuses or does not answer.
    """
    answers = execute_each(pipeline)
    for answer in answers:
        if isinstance(answer, RedisError):
            raise store_unavailable(answer) from answer
    return answers


def execute_each(pipeline: Pipeline) -> list[Any]:
    """
    Execute *pipeline* in one round trip; return the answer or the RedisError of each command.

    In a Redis Cluster some shards may answer while others do not.
    """
    commands = len(pipeline)
    try:
        # redis-py would put the arguments of the command, such as a reply, into the message.
        answers: list[Any] = pipeline.execute(raise_on_error=False)
    except RedisError as error:
        return [error] * commands
    return answers


def ping(redis: Redis) -> None:
    """Return when Redis answers; raise StoreUnavailable if it refuses or does not answer."""
    try:
        for node in _nodes(redis):
            node.ping()
    except RedisError as error:
        raise store_unavailable(error) from error


def eviction_policy(redis: Redis) -> str | None:
    """
    Return the eviction policy if it can drop unread replies, else None.

    Also None when Redis does not disclose it: hosted servers often deny CONFIG GET.
    """
    try:
        found = [node.config_get("maxmemory-policy") for node in _nodes(redis)]
    except RedisError:
        return None
    policies = [str(one.get("maxmemory-policy", "noeviction")) for one in found]
    return next((policy for policy in policies if policy != "noeviction"), None)


def _nodes(redis: Redis) -> list[Redis]:
    """Return a client of each server that has keys."""
    return redis.nodes() if isinstance(redis, ClusterRedis) else [redis]


def shards_behind(redis: Redis) -> int:
    """Return the number of shards behind *redis*; 1 if it is no cluster."""
    if isinstance(redis, ClusterRedis):
        return 1
    try:
        answer: Any = redis.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
        found = _SHARDS.search(str(answer))
    except RedisError:  # no cluster, or not disclosed
        return 1
    return int(found[1]) if found else 1


def store_unavailable(error: RedisError) -> StoreUnavailable:
    """Return *error* as a StoreUnavailable with advice for the operator, and count it."""
    REDIS_ERRORS.labels(type(error).__name__).inc()
    for message, advice in _ADVICE_BY_MESSAGE:
        if message in str(error):
            return StoreUnavailable(advice, error)
    for kind, advice in _ADVICE_BY_CLASS:
        if isinstance(error, kind):
            return StoreUnavailable(advice, error)
    return StoreUnavailable("Redis refused the command; see the log for its error", error)
