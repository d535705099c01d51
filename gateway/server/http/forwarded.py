"""X-Forwarded-* headers, from the proxies that FORWARDED_ALLOW_IPS names."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from werkzeug.middleware.proxy_fix import ProxyFix

_HOST, _PREFIX = "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PREFIX"
#: Maximum number of peer addresses whose trust is cached.
MAX_PEERS = 1_024


def trust_named_proxies(application: Any, cfg: Any) -> Any:
    """
    Return *application* behind the proxies of gunicorn's ``forwarded_allow_ips``.

    From those, X-Forwarded-For and -Proto are honoured; -Host and -Prefix only where addresses are
    named, not with ``*``, since then any client may be the peer.
    """
    allowed = list(cfg.forwarded_allow_ips)
    from_anyone = "*" in allowed
    networks = [ipaddress.ip_network(address) for address in allowed if address != "*"]
    forwarded = ProxyFix(application, x_for=1, x_proto=1, x_host=1, x_prefix=1)

    @lru_cache(maxsize=MAX_PEERS)
    def is_named(peer: str) -> bool:
        return _is_in(peer, networks)

    def with_proxies(environ: dict[str, Any], start_response: Any) -> Any:
        peer = environ.get("REMOTE_ADDR") or ""
        named = is_named(peer)
        if not (named or from_anyone):
            return application(environ, start_response)
        prefix = _path_of(environ.pop(_PREFIX, ""))
        if not named:
            environ.pop(_HOST, None)
        elif prefix:
            environ[_PREFIX] = prefix
        return forwarded(environ, start_response)

    return with_proxies


def _path_of(prefix: str) -> str:
    """Return the last value of X-Forwarded-Prefix, the proxy's own; nothing if it is no path."""
    path = prefix.rpartition(",")[2].strip().rstrip("/")
    # A Location that begins with two slashes would name a host.
    return path if path.startswith("/") and not path.startswith("//") else ""


def _is_in(peer: str, networks: Iterable[Any]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:  # a Unix domain socket: only a local proxy can connect
        return True
    # A socket for both versions of IP has IPv4 clients under IPv6 addresses.
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)
