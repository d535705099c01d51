"""Tracing headers of clients: W3C Trace Context, and the name of X-Request-ID."""

import re

from rendezvous.process.log_fields import TRACEPARENT_FORMAT

_TRACESTATE = re.compile(r"[ -~\t]{1,512}", re.ASCII)

REQUEST_ID = "X-Request-ID"


def trace_headers(traceparent: str, tracestate: str) -> list[tuple[str, str]]:
    """Return both headers unchanged; none if *traceparent* is invalid."""
    if not TRACEPARENT_FORMAT.fullmatch(traceparent):
        return []
    headers = [("traceparent", traceparent)]
    if _TRACESTATE.fullmatch(tracestate):
        headers.append(("tracestate", tracestate))
    return headers
