"""Tracing headers of clients: W3C Trace Context and X-Request-ID."""

import re

from gateway.web.request import Environ, environ_key

#: traceparent of version 00, or of a later version, which may only append fields.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?",
    re.ASCII,
)
_TRACESTATE = re.compile(r"[ -~\t]{1,512}", re.ASCII)
#: Token characters (RFC 9110, section 5.6.2), and the others of Base64 and URIs.
_REQUEST_ID = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z/:=@-]{1,200}", re.ASCII)

REQUEST_ID = "X-Request-ID"
_REQUEST_ID_KEY = environ_key(REQUEST_ID)


def trace_headers(traceparent: str, tracestate: str) -> list[tuple[str, str]]:
    """Return both headers unchanged; none if *traceparent* is invalid."""
    if not _TRACEPARENT.fullmatch(traceparent):
        return []
    headers = [("traceparent", traceparent)]
    if _TRACESTATE.fullmatch(tracestate):
        headers.append(("tracestate", tracestate))
    return headers


def request_id_of(environ: Environ) -> str | None:
    """Return the client's X-Request-ID; None if it is missing or invalid."""
    value: str = environ.get(_REQUEST_ID_KEY, "")
    return value if _REQUEST_ID.fullmatch(value) else None
