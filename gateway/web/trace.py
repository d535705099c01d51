"""By what a client traces its request to the responder: W3C Trace Context, and X-Request-ID."""

import re

from gateway.web.request import Environ, environ_key

#: traceparent of version 00, and of later ones, which may only append; any flags.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?",
    re.ASCII,
)
_TRACESTATE = re.compile(r"[ -~\t]{1,512}", re.ASCII)
#: A token (RFC 9110, section 5.6.2), and what else UUIDs, Base64 and URIs are made of.
_REQUEST_ID = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z/:=@-]{1,200}", re.ASCII)

REQUEST_ID = "X-Request-ID"
_REQUEST_ID_KEY = environ_key(REQUEST_ID)


def trace_headers(traceparent: str, tracestate: str) -> list[tuple[str, str]]:
    """Return both headers as they came; nothing when *traceparent* is not valid."""
    if not _TRACEPARENT.fullmatch(traceparent):
        return []
    found = [("traceparent", traceparent)]
    if _TRACESTATE.fullmatch(tracestate):
        found.append(("tracestate", tracestate))
    return found


def request_id(value: str) -> str | None:
    """Return the client's own name for its request, X-Request-ID; None when *value* is no token."""
    return value if _REQUEST_ID.fullmatch(value) else None


def request_id_of(environ: Environ) -> str | None:
    """Return the client's own name for the request of *environ*, if it gave one."""
    return request_id(environ.get(_REQUEST_ID_KEY, ""))
