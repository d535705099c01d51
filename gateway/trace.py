"""W3C Trace Context: what travels along from the client to the responder."""

import re

#: traceparent of version 00, and of later ones, which may only append; any flags.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?",
    re.ASCII,
)
_TRACESTATE = re.compile(r"[ -~\t]{1,512}", re.ASCII)


def trace_headers(traceparent: str, tracestate: str) -> list[tuple[str, str]]:
    """Return both headers as they came; nothing when *traceparent* is not valid."""
    if not _TRACEPARENT.fullmatch(traceparent):
        return []
    found = [("traceparent", traceparent)]
    if _TRACESTATE.fullmatch(tracestate):
        found.append(("tracestate", tracestate))
    return found
