"""Splits a REDIS_URL with several hosts, of a Redis Cluster or of Sentinels."""

import re
from typing import Any

from redis.connection import parse_url

_PARTS = re.compile(r"rediss?\+(?:cluster|sentinel)://(?:([^/?]*)@)?([^/?@]*)(/[^?]*)?(\?.*)?")
REDIS_PORT, SENTINEL_PORT = 6379, 26379


def is_cluster(url: str) -> bool:
    """Return whether *url* names nodes of a Redis Cluster."""
    return url.partition(":")[0].endswith("+cluster")


def is_sentinel(url: str) -> bool:
    """Return whether *url* names Sentinels."""
    return url.partition(":")[0].endswith("+sentinel")


def uses_tls(url: str) -> bool:
    """Return whether *url* asks for TLS."""
    return url.startswith("rediss")


def cluster_nodes(url: str) -> tuple[str, list[tuple[str, int]]]:
    """
    Split a ``redis+cluster://`` *url*.

    Returns the URL of its first node, without TLS, and the addresses of the others.
    """
    user, (first, *others), _, query = _split(url)
    addresses = [_options(user, host, "", query) for host in others]
    return _url(user, first, "", query), [
        (one["host"], one.get("port", REDIS_PORT)) for one in addresses
    ]


def sentinel_options(url: str) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """
    Split a ``redis+sentinel://`` *url*.

    Returns the name of the service, redis-py's options for its primary, and those for each
    Sentinel: user and password are ``sentinel_username`` and ``sentinel_password`` of the query.
    """
    user, hosts, path, query = _split(url)
    service, _, db = path.strip("/").partition("/")
    primary = _options(user, "", db, query)
    own = {name: primary.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    tls = {name: value for name, value in primary.items() if name.startswith("ssl_")}
    sentinels = []
    for host in hosts:
        options = _options("", host, "", "")
        sentinels.append({"port": SENTINEL_PORT} | options | own | tls)
    return service, primary, sentinels


def _split(url: str) -> tuple[str, list[str], str, str]:
    """Return user and password, hosts, path and query of *url*."""
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise ValueError("neither redis+cluster:// nor redis+sentinel://")
    user, hosts, path, query = (part or "" for part in parts.groups())
    return user, hosts.split(","), path, query


def _url(user: str, host: str, db: str, query: str) -> str:
    return f"redis://{user}{'@' if user else ''}{host}/{db}{query}"


def _options(user: str, host: str, db: str, query: str) -> dict[str, Any]:
    """Return redis-py's options for one server."""
    options: dict[str, Any] = parse_url(_url(user, host, db, query))  # type: ignore[no-untyped-call]
    return options
