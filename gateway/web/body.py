"""The body of the request at hand: all of it, or an error."""

from flask import request

from gateway.problems import BodyTooLarge, BodyUnreadable, Sent
from gateway.web.request import Environ

#: Of a body that is too large, so many times MAX_BODY_BYTES is read and thrown away.
DISCARD_FACTOR = 4
#: A length with more digits is for others to judge.
MAX_LENGTH_DIGITS = 12


def size_of(environ: Environ) -> int | None:
    """Return how large the body is that comes as it is; None when only reading it would tell."""
    length: str = environ.get("CONTENT_LENGTH") or "0"
    if "HTTP_TRANSFER_ENCODING" in environ or len(length) > MAX_LENGTH_DIGITS:
        return None
    return int(length) if length.isdecimal() else None


def read_body(environ: Environ, limit_bytes: int, limit_name: str) -> bytes:
    """
    Return the whole body.

    Raises:
        BodyTooLarge: when it has more than *limit_bytes*, which *limit_name* sets.
        BodyUnreadable: when it breaks off.
    """
    try:
        size = size_of(environ)
        if size is not None and size <= limit_bytes:
            # The usual one, without the wrappers that guard against the others.
            return _whole(environ["wsgi.input"].read(size), size) if size else b""
        declared = request.content_length or 0
        # Werkzeug hands out one byte more than the limit, so that a chunked body, which does
        # not announce its length, is seen to be too large rather than cut.
        body = request.get_data(cache=False) if declared <= limit_bytes else b""
        if declared <= limit_bytes and len(body) <= limit_bytes:
            return body
        # That of the application: a route's own may be next to nothing.
        _discard((request.max_content_length or limit_bytes) * DISCARD_FACTOR)
    except Exception as error:
        # Whatever the server raises for it: each has errors of its own.
        raise BodyUnreadable(f"the body cannot be read: {error}", sent=Sent.NO) from error
    raise BodyTooLarge(
        f"the body exceeds the {limit_bytes} bytes of {limit_name}; send less", sent=Sent.NO
    )


def _whole(body: bytes, declared_bytes: int) -> bytes:
    # gunicorn ends the body where the client went away, without a word.
    if len(body) < declared_bytes:
        raise EOFError(f"it broke off after {len(body)} of {declared_bytes} bytes")
    return body


def _discard(max_bytes: int) -> None:
    """Read on, so that a client which sends first and listens later gets to hear our answer."""
    rest = request.environ["wsgi.input"]
    while max_bytes > 0 and (chunk := rest.read(65_536)):
        max_bytes -= len(chunk)
