"""The span of an HTTP request, by the semantic conventions of OpenTelemetry."""

from collections.abc import Mapping
from typing import Any

from gateway.clients.request_facts import PROBLEM_ENVIRON_KEY, ROUTE_ENVIRON_KEY, SENT_ENVIRON_KEY
from gateway.metrics import METHODS
from rendezvous.process.log_text import without_keys
from rendezvous.process.traces import tracing

#: Paths whose requests have no span: load balancers ask every second.
_PROBES = ("/livez", "/readyz")
_OTHER = "_OTHER"


def begin(request: Any, waited_s: float) -> tracing.Span:
    """Return the span of *request*, a parser's, which has waited for a slot."""
    if request.path in _PROBES:
        return tracing.NO_SPAN
    get = request.headers.get
    method = request.command if request.command in METHODS else _OTHER
    return tracing.tracer.serve(method, get("TRACEPARENT"), get("TRACESTATE"), waited_s)


def describe(
    span: tracing.Span, environ: Mapping[str, Any], status: int, headers: list[tuple[str, str]]
) -> None:
    """Add the facts in *environ*, which may lack any key, at the end."""
    if not span.is_recorded:
        return
    get = environ.get
    route, problem = get(ROUTE_ENVIRON_KEY), get(PROBLEM_ENVIRON_KEY)
    method = get("REQUEST_METHOD")
    ids = [value for name, value in headers if name.lower() == "x-correlation-id"]
    error_type = problem or (str(status) if status >= 500 else None)
    attributes = {
        "http.route": route,
        "http.response.status_code": status,
        "url.path": without_keys(str(get("PATH_INFO", ""))),
        "url.scheme": get("wsgi.url_scheme"),
        "client.address": get("REMOTE_ADDR"),
        "messaging.message.conversation_id": ids[-1] if ids else None,
        "rendezvous.sent": None if (sent := get(SENT_ENVIRON_KEY)) is None else str(sent),
        "error.type": error_type,
    }
    # By the conventions an error of the client is none of the server's.
    span.describe(attributes, error_type if status >= 500 else None)
    if route and method in METHODS:
        span.rename(f"{method} {route}")
