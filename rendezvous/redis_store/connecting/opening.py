"""Opens the client of REDIS_URL: of one Redis, a Redis Cluster, or a primary with Sentinels."""

from functools import partial
from typing import Any

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry

from rendezvous.redis_store.connecting import urls
from rendezvous.redis_store.connecting.cluster import ClusterRedis
from rendezvous.redis_store.connecting.connection import (
    Failovers,
    TcpConnection,
    TlsConnection,
    UnixConnection,
)
from rendezvous.redis_store.connecting.pool import WaitingPool
from rendezvous.redis_store.connecting.sentinel import PlainToPrimary, Primary, TlsToPrimary

#: Maximum time to connect, and to wait for an answer, in seconds. Every user of the client retries
#: on its own schedule; retries of redis-py would multiply the time.
SOCKET_TIMEOUT_S = 0.25
_TIMEOUTS = {"socket_timeout": SOCKET_TIMEOUT_S, "socket_connect_timeout": SOCKET_TIMEOUT_S}
#: Default of REDIS_MAX_IDLE_S. Load balancers forget idle connections after 240 s or more.
MAX_IDLE_S = 180.0


def open_redis(
    url: str, *, tls_verify: bool = True, max_connections: int = 32, max_idle_s: float = MAX_IDLE_S
) -> Redis:
    """
    Return a client of the Redis at *url*, which connects at the first command.

    It reopens connections that lead to a server which is not the primary, and idle ones.

    Args:
        tls_verify: whether to verify the certificate of a server with TLS.
        max_connections: maximum number of connections to each server; a command that finds none
            free waits for one, FREE_WAIT_S at most.
        max_idle_s: maximum time for which a connection is idle and used again, in seconds.
    """
    options: dict[str, Any] = {"max_connections": max_connections, **_TIMEOUTS}
    tls = {} if tls_verify or not urls.uses_tls(url) else {"ssl_cert_reqs": "none"}
    if urls.is_cluster(url):
        return ClusterRedis(partial(_cluster, url, options | tls, max_idle_s))
    options |= {"retry": _no_retries(), "failovers": Failovers(), "max_idle_s": max_idle_s}
    if urls.is_sentinel(url):
        return _primary(url, options, tls)
    kind = {"rediss": TlsConnection, "unix": UnixConnection}.get(url.partition(":")[0])
    options |= {"connection_class": kind or TcpConnection}
    return Redis.from_pool(WaitingPool.from_url(url, **options, **tls))


def _primary(url: str, options: dict[str, Any], tls: dict[str, Any]) -> Redis:
    """Return a client of the primary that the Sentinels at *url* name."""
    service, of_primary, of_sentinels = urls.sentinel_options(url)
    for_each = {**_TIMEOUTS, **tls, "retry": _no_retries()}
    if urls.uses_tls(url):
        for_each["ssl"] = True
    primary = Primary(service, [one | for_each for one in of_sentinels])
    kind = TlsToPrimary if urls.uses_tls(url) else PlainToPrimary
    options |= of_primary | tls | {"connection_class": kind, "primary": primary}
    return Redis.from_pool(WaitingPool(**options))


def _cluster(url: str, options: dict[str, Any], max_idle_s: float) -> RedisCluster:
    """Return a client of the cluster, which asks the nodes at *url* for the others."""
    first, others = urls.cluster_nodes(url)
    kind = TlsConnection if urls.uses_tls(url) else TcpConnection
    return RedisCluster.from_url(
        first,
        startup_nodes=[ClusterNode(*address) for address in others],  # type: ignore[no-untyped-call]
        require_full_coverage=False,
        connection_class=partial(kind, failovers=None, max_idle_s=max_idle_s),
        connection_pool_class=WaitingPool,
        retry=_no_retries(),
        **options,
    )


def _no_retries() -> Retry:
    return Retry(NoBackoff(), 0)
