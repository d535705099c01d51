"""
The HTTP headers that a reply can set, and their valid values.

Standard library only: part of the wire contract, see contract.py.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from urllib.parse import urlsplit

from rendezvous.errors import MalformedRecord, UnusableReply

#: The headers of a Kafka record.
Headers = Sequence[tuple[str, bytes | None]]

#: Headers that a reply can set on every route, besides ``x-...``.
REPLY_HTTP_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "etag",
        "expires",
        "last-modified",
        "link",
        "location",
        "retry-after",
        "vary",
    }
)
#: Headers that a reply can set where the route lists them. Only the gateway knows the routes, so
#: they are carried on every route. Hop-by-hop headers must not be here.
LISTED_REPLY_HEADERS = frozenset(
    {
        "accept-patch",
        "accept-post",
        "accept-ranges",
        "allow",
        "authentication-info",
        "clear-site-data",
        "content-digest",
        "content-location",
        "content-range",
        "content-security-policy",
        "deprecation",
        "ratelimit",
        "ratelimit-policy",
        "referrer-policy",
        "repr-digest",
        "server-timing",
        "set-cookie",
        "sunset",
        "www-authenticate",
    }
)
#: Headers by which a reply would command the proxy in front of the gateway: to send one of its
#: files, to repeat the request elsewhere, to purge its cache, or to take the gateway for dead.
#: No reply can set them.
PROXY_COMMANDS = (
    "x-accel-",  # nginx
    "x-appengine-",  # Google App Engine
    "x-envoy-",  # Envoy, Istio
    "x-lighttpd-",  # lighttpd
    "x-litespeed-",  # LiteSpeed
    "x-reproxy-",  # Perlbal
    "x-sendfile",  # Apache, lighttpd, Caddy
)
#: Headers that begin with "x-" and that the gateway itself sets.
_GATEWAYS_OWN = frozenset({"x-content-type-options"})
#: Maximum size of one header value, and of all names and values of a reply, in bytes.
MAX_HEADER_BYTES = 8_000
MAX_HEADERS_BYTES = 32_000
#: Maximum number of headers of a reply.
MAX_HEADERS = 100
#: Maximum number of names of headers in an error.
_LISTED_NAMES = 20
#: Headers whose value HTTP servers parse as a URI.
_URIS = frozenset({"location", "content-location"})
#: A token and a field value of RFC 9110, sections 5.6.2 and 5.5, in ASCII.
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FIELD_VALUE = re.compile(rb"[\t -~]*")


def needs_no_listing(lower: str) -> bool:
    """Return whether a reply can set the lower-case header on every route."""
    return lower in REPLY_HTTP_HEADERS or (lower.startswith("x-") and not is_withheld(lower))


def is_withheld(lower: str) -> bool:
    """Return whether the lower-case ``x-`` header is one that no reply can set."""
    return lower.startswith(PROXY_COMMANDS) or lower in _GATEWAYS_OWN


def is_carried(lower: str) -> bool:
    """Return whether a reply can set the lower-case header on some route."""
    return needs_no_listing(lower) or lower in LISTED_REPLY_HEADERS


def header_error(name: str, value: bytes) -> str | None:
    """Return why an HTTP response cannot have this header, or None."""
    if len(value) > MAX_HEADER_BYTES:
        return f"has {len(value)} bytes; the maximum is {MAX_HEADER_BYTES}"
    if not _FIELD_VALUE.fullmatch(value) or not _FIELD_NAME.fullmatch(name):
        return "contains characters that HTTP does not allow"
    if name.lower() in _URIS and not _is_uri_reference(value.decode("ascii").strip()):
        return f"is not a URI: {value[:40]!r}"
    return None


def fit_http(headers: Collection[tuple[str, str]]) -> bool:
    """Return whether an HTTP response can have *headers*."""
    # Withheld headers are in replies that an earlier version stored; the gateway drops them.
    return len(headers) <= MAX_HEADERS and all(
        (is_carried(name) or is_withheld(name)) and header_error(name, value.encode()) is None
        for name, value in headers
    )


def text_headers(headers: Headers) -> Mapping[str, list[str]]:
    """Return the headers of a record by name, as text, without those that are null."""
    text: dict[str, list[str]] = {}
    for name, value in headers:
        if value is not None:
            text.setdefault(name, []).append(value.decode("utf-8", "replace"))
    return text


def single_value(text: Mapping[str, list[str]], names: Sequence[str], what: str) -> str:
    """
    Return the only value of the headers *names*, which may repeat it.

    Raises:
        MalformedRecord: when they have none, or several.
    """
    found = {value for name in names for value in text.get(name, ())}
    if not found:
        raise MalformedRecord(f"no {what}; its headers: {listed_names(text)}")
    if len(found) > 1:
        raise MalformedRecord(f"several values for the {what}")
    return found.pop()


def listed_names(text: Mapping[str, list[str]]) -> str:
    """Return the names of the headers for a log, where their values do not belong."""
    listed = ", ".join(repr(name[:40]) for name in list(text)[:_LISTED_NAMES]) or "none"
    return listed + (f" and {len(text) - _LISTED_NAMES} more" if len(text) > _LISTED_NAMES else "")


def carried_headers(correlation_id: str, headers: Headers) -> tuple[tuple[str, str], ...]:
    """
    Return the headers of a reply record that its HTTP response has.

    Raises:
        UnusableReply: when no HTTP response can have them.
    """
    carried: list[tuple[str, str]] = []
    for name, value in headers:
        lower = name.lower()
        if value is None or not is_carried(lower):
            continue
        error = header_error(name, value)
        if error is not None:
            raise UnusableReply(correlation_id, f"header {name[:40]!r} {error}")
        text = value.decode("ascii").strip()
        if text or lower != "content-type":
            carried.append((lower, text))
    if len(carried) > MAX_HEADERS:
        raise UnusableReply(
            correlation_id, f"it has {len(carried)} headers; the maximum is {MAX_HEADERS}"
        )
    if sum(len(name) + len(value) for name, value in carried) > MAX_HEADERS_BYTES:
        raise UnusableReply(correlation_id, f"its headers exceed {MAX_HEADERS_BYTES} bytes")
    return tuple(carried)


def _is_uri_reference(value: str) -> bool:
    """Return whether host and port of *value* can be parsed, as HTTP servers do."""
    try:
        parts = urlsplit(value)
        _ = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return True
