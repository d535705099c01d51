"""Tracing headers of clients: W3C Trace Context, and the name of X-Request-ID."""

import re

#: traceparent of version 00, or of a later version, which may only append fields.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?",
    re.ASCII,
)
_TRACESTATE = re.compile(r"[ -~\t]{1,512}", re.ASCII)

REQUEST_ID = "X-Request-ID"


def trace_headers(traceparent: str, tracestate: str) -> list[tuple[str, str]]:
    """Return both headers unchanged; none if *traceparent* is invalid."""
    if not _TRACEPARENT.fullmatch(traceparent):
        return []
    headers = [("traceparent", traceparent)]
    if _TRACESTATE.fullmatch(tracestate):
        headers.append(("tracestate", tracestate))
    return headers
