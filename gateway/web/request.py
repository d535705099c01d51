"""
Reads the headers (PEP 3333) and the body of a request.

Werkzeug reads headers through a proxy and copies the name each time; an exchange reads ten.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from flask import request

from gateway.problems import BodyTooLarge, BodyUnreadable, HttpProblem, Sent
from gateway.routing.schema import MAX_VALIDATED_BYTES
from gateway.routing.table import Route

Environ = MutableMapping[str, Any]

#: Bytes of a body that is too large which are read and discarded, as a multiple of MAX_BODY_BYTES.
DISCARD_FACTOR = 4
#: Maximum digits of Content-Length that are parsed here; longer values are left to Werkzeug.
MAX_LENGTH_DIGITS = 12


def environ_key(name: str) -> str:
    """Return the key of the header *name* in a WSGI environment."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def header_text(environ: Environ, key: str) -> str | None:
    """Return the header under *key*, decoded as UTF-8 if possible, else as Latin-1."""
    value = environ.get(key)
    return None if value is None else as_text(value)


def as_text(value: str) -> str:
    """Return a Latin-1 string of PEP 3333 decoded as UTF-8 if possible."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def utf8_text(value: str, label: str) -> str:
    """
    Return *value*, a Latin-1 string of PEP 3333, decoded as UTF-8.

    Anything else would make two different values one: in a path, a query or a key that is an error.

    Args:
        label: what *value* is, for the error text.

    Raises:
        HttpProblem: 400, when it is not UTF-8.
    """
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError as error:
        detail = f"{label} is not UTF-8; send its characters as percent-encoded or plain UTF-8"
        raise HttpProblem(400, "Bad Request", detail, {}, Sent.NO) from error


def max_content_length(max_body_bytes: int) -> int:
    """
    Return Flask's MAX_CONTENT_LENGTH for a body limit of *max_body_bytes*.

    It is one byte more: Werkzeug cuts a chunked body at MAX_CONTENT_LENGTH without an error, so
    only a longer one shows that the body was too large.
    """
    return max_body_bytes + 1


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The largest body that is forwarded."""

    max_bytes: int
    source: str  # the setting or route that sets it, for the error text

    @classmethod
    def of(cls, route: Route, max_body_bytes: int) -> "BodyLimit":
        """Return the limit of *route*, which defaults to *max_body_bytes* of the gateway."""
        if route.max_body_bytes is not None:
            return cls(route.max_body_bytes, f"the route {route.path}")
        if route.schema is not None and max_body_bytes > MAX_VALIDATED_BYTES:
            return cls(MAX_VALIDATED_BYTES, f"the route {route.path}, which validates bodies")
        return cls(max_body_bytes, "MAX_BODY_BYTES")


def read_body(environ: Environ, limit: BodyLimit) -> bytes:
    """
    Return the whole body.

    Raises:
        BodyTooLarge: it has more bytes than *limit* admits.
        BodyUnreadable: it is incomplete or its framing is broken.
    """
    max_bytes = limit.max_bytes
    try:
        size = _declared_bytes(environ)
        if size is not None and size <= max_bytes:
            # The usual case; Werkzeug's wrappers guard against the others.
            return _read_exactly(environ, size) if size else b""
        declared = request.content_length or 0
        body = request.get_data(cache=False) if declared <= max_bytes else b""
        if declared <= max_bytes and len(body) <= max_bytes:
            return body
        # By the application's limit: a route's own may be a few bytes.
        _discard(environ, (request.max_content_length or max_bytes) * DISCARD_FACTOR)
    except Exception as error:
        # Each WSGI server raises its own errors.
        raise BodyUnreadable(f"the body cannot be read: {error}", sent=Sent.NO) from error
    raise BodyTooLarge(
        f"the body exceeds the {max_bytes} bytes of {limit.source}; send less", sent=Sent.NO
    )


def _declared_bytes(environ: Environ) -> int | None:
    """Return the body size by Content-Length; None if it is unknown."""
    length: str = environ.get("CONTENT_LENGTH") or "0"
    if "HTTP_TRANSFER_ENCODING" in environ or len(length) > MAX_LENGTH_DIGITS:
        return None
    return int(length) if length.isdecimal() else None


def _read_exactly(environ: Environ, size: int) -> bytes:
    body: bytes = environ["wsgi.input"].read(size)
    # Some WSGI servers end the body without an error where the client disconnected.
    if len(body) < size:
        raise EOFError(f"it ended after {len(body)} of {size} bytes")
    return body


def _discard(environ: Environ, max_bytes: int) -> None:
    """Read on: a client that sends its whole body first gets the response."""
    stream = environ["wsgi.input"]
    while max_bytes > 0 and (chunk := stream.read(65_536)):
        max_bytes -= len(chunk)
