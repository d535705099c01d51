"""W3C Trace Context: what travels along from the client to the responder."""

import re
from typing import Protocol

#: traceparent of version 00, and of later ones, which may only append; any flags.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[ -~]*)?",
    re.ASCII,
)
_TRACESTATE = re.compile(r"[ -~\t]{1,512}", re.ASCII)


class SupportsGet(Protocol):
    """The headers of a request."""

    def get(self, key: str, default: str) -> str:
        """Return the first header called *key*."""


def trace_headers(headers: SupportsGet) -> list[tuple[str, str]]:
    """Return traceparent and tracestate as they came; nothing when traceparent is not valid."""
    traceparent = headers.get("traceparent", "")
    if not _TRACEPARENT.fullmatch(traceparent):
        return []
    found = [("traceparent", traceparent)]
    tracestate = headers.get("tracestate", "")
    if _TRACESTATE.fullmatch(tracestate):
        found.append(("tracestate", tracestate))
    return found
