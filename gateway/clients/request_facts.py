"""The fields of log lines about a request, from its WSGI environment."""

from collections.abc import Mapping
from typing import Any

from gateway.clients.client import CLIENT_ENVIRON_KEY, request_id_of
from rendezvous.process.log_fields import Fields, trace_id_in
from rendezvous.process.traces import tracing

#: Keys in the WSGI environment, by which the application tells the server what it logs and counts:
#: path and topic of the route, the type of the problem, and whether the request is in Kafka.
ROUTE_ENVIRON_KEY = "rendezvous.route"
PROBLEM_ENVIRON_KEY = "rendezvous.problem"
TOPIC_ENVIRON_KEY = "rendezvous.topic"
SENT_ENVIRON_KEY = "rendezvous.sent"


def request_fields(environ: Mapping[str, Any], correlation_id: str | None = None) -> Fields:
    """Return the fields of log_fields.py that *environ* has; it may lack any key."""
    get = environ.get
    span_ids = tracing.tracer.current().ids
    trace_id, span_id = span_ids or (_trace_id(get("HTTP_TRACEPARENT")), None)
    return {
        "correlation_id": correlation_id,
        # As accepted: the header itself may be anything.
        "request_id": request_id_of(environ),
        "trace_id": trace_id,
        "span_id": span_id,
        "client": get(CLIENT_ENVIRON_KEY),
        "route": get(ROUTE_ENVIRON_KEY),
        "topic": get(TOPIC_ENVIRON_KEY),
        "problem_type": get(PROBLEM_ENVIRON_KEY),
        "sent": get(SENT_ENVIRON_KEY),
        "forwarded_for": get("HTTP_X_FORWARDED_FOR"),
    }


def _trace_id(traceparent: object) -> str | None:
    return None if traceparent is None else trace_id_in(str(traceparent))
