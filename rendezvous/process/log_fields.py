"""The fields of log lines: the same names in all processes, in text and in JSON."""

import logging
import re
import time
from collections.abc import Iterable

from rendezvous.contract import Request
from rendezvous.process.log_text import field
from rendezvous.process.traces import tracing

#: Names that a log call may give in its ``extra``, in the order in which a line has them.
FIELDS = (
    "correlation_id",
    "request_id",
    "trace_id",
    "span_id",
    "client",
    "route",
    "topic",
    "problem_type",
    "sent",
    "duration_ms",
    "forwarded_for",
)
REQUEST_ID = "x-request-id"
TRACEPARENT = "traceparent"
#: traceparent of version 00, or of a later version, which may only append fields; its groups are
#: trace id, span id and flags.
TRACEPARENT_FORMAT = re.compile(
    r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(?:-[ -~]*)?",
    re.ASCII,
)

Fields = dict[str, object]


def trace_id_in(traceparent: str) -> str | None:
    """Return the trace id in *traceparent*; None if it is invalid."""
    found = TRACEPARENT_FORMAT.fullmatch(traceparent)
    return None if found is None else found[1]


def request_fields(request: Request, span: tracing.Span = tracing.NO_SPAN) -> Fields:
    """Return the log fields of *request*; of *span*, by default the current one."""
    trace_id, span_id = span.ids or (trace_id_in(request.header(TRACEPARENT) or ""), None)
    return {
        "correlation_id": request.correlation_id,
        "request_id": request.header(REQUEST_ID),
        "trace_id": trace_id,
        "span_id": span_id,
        "client": request.client,
        "topic": request.topic,
    }


def timed_fields(request: Request, began_s: float) -> Fields:
    """Return request_fields() and the duration since *began_s*, by the monotonic clock."""
    return request_fields(request) | {"duration_ms": round((time.monotonic() - began_s) * 1000)}


def fields_of(record: logging.LogRecord) -> Fields:
    """Return the fields that *record* has, by name, in the order of FIELDS."""
    given = record.__dict__
    ids = tracing.tracer.current().ids
    # Not if it names another trace: that of one of several records.
    if ids is not None and given.get("trace_id") in (None, ids[0]) and not given.get("span_id"):
        given = given | {"trace_id": ids[0], "span_id": ids[1]}
    return {name: given[name] for name in FIELDS if given.get(name) is not None}


def fields_text(fields: Iterable[tuple[str, object]]) -> str:
    """Return ``name=value`` for each field that is not None, each after a space."""
    return "".join([f" {name}={field(value)}" for name, value in fields if value is not None])
