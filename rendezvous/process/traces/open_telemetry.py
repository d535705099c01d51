"""
Spans of OpenTelemetry, exported over OTLP/HTTP by a thread of its SDK.

Names follow the semantic conventions of HTTP and messaging. The environment variables of the SDK
apply; this module is imported only where they ask for traces.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Self

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from rendezvous import __version__
from rendezvous.process.log_fields import TRACEPARENT_FORMAT
from rendezvous.process.traces.tracing import NO_SPAN, Attributes, Headers, Span, Tracer

#: Maximum time to export the last spans of a process, in seconds.
FLUSH_LIMIT_S = 2.0
_CONTEXT_HEADERS = frozenset(("traceparent", "tracestate"))
#: A context without a span.
_EMPTY = contexts.Context()


class _Span:
    """A span of OpenTelemetry, as a tracing.Span."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def ids(self) -> tuple[str, str] | None:
        """Trace id and span id in hexadecimal; None if there is no span."""
        found = self._span.get_span_context()
        return (f"{found.trace_id:032x}", f"{found.span_id:016x}") if found.is_valid else None

    @property
    def is_recorded(self) -> bool:
        """Whether what is added to it is exported."""
        return self._span.is_recording()

    def describe(self, attributes: Attributes, error_type: str | None = None) -> None:
        """Add the *attributes* that have a value, and the class of its failure, if any."""
        if not self._span.is_recording():
            return
        # At once, since each call takes a lock.
        found = {name: value for name, value in attributes.items() if value is not None}
        if error_type is not None:
            found["error.type"] = error_type
            self._span.set_status(StatusCode.ERROR)
        self._span.set_attributes(found)

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._span.update_name(name)

    def event(self, name: str, attributes: Attributes) -> None:
        """Add an event that happens now."""
        self._span.add_event(name, attributes)

    def inject(self, headers: Headers) -> Headers:
        """Return *headers* with the context of the span in place of another one."""
        ids = self.ids
        if ids is None:
            return headers
        context = self._span.get_span_context()
        found = [header for header in headers if header[0] not in _CONTEXT_HEADERS]
        parent = f"00-{ids[0]}-{ids[1]}-{context.trace_flags:02x}"
        found.append(("traceparent", parent.encode()))
        if context.trace_state:
            found.append(("tracestate", context.trace_state.to_header().encode()))
        return found

    def end(self, error: object = None) -> None:
        """End it, as failed if there is an *error*."""
        if error is not None and self._span.is_recording():
            kind = error if isinstance(error, str) else type(error).__name__
            self._span.set_attribute("error.type", kind)
            self._span.set_status(Status(StatusCode.ERROR, str(error)))
        self._span.end()

    def __enter__(self) -> Self:
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        contexts.detach(self._token)
        self.end(error)


class _Borrowed(_Span):
    """A span that ends elsewhere: the current one, or one that is not sampled."""

    def end(self, error: object = None) -> None:
        """Do nothing."""


class OpenTelemetryTracer:
    """
    Starts spans with the SDK of OpenTelemetry.

    Args:
        provider: closed by close() if it is ours.
    """

    def __init__(self, provider: trace.TracerProvider, *, is_ours: bool = True) -> None:
        self._provider = provider if is_ours and isinstance(provider, TracerProvider) else None
        self._tracer = provider.get_tracer("rendezvous", __version__)

    def serve(
        self, method: str, traceparent: str | None, tracestate: str | None, waited_s: float
    ) -> Span:
        """Return the span of an HTTP request that came *waited_s* ago, with its headers."""
        started_ns = time.time_ns() - round(waited_s * 1_000_000_000)
        return _Span(
            self._tracer.start_span(
                method,
                _below(_context(traceparent, tracestate)),
                SpanKind.SERVER,
                {"http.request.method": method},
                start_time=started_ns,
            )
        )

    def send(self, topic: str, correlation_id: str) -> Span:
        """Return the span of a record on its way to the broker, below the current span."""
        parent = trace.get_current_span()
        if parent.get_span_context().is_valid and not parent.is_recording():
            return _Borrowed(parent)  # not sampled, so neither is this
        attributes = _attributes("send", topic) | {
            "messaging.message.conversation_id": correlation_id
        }
        return _Span(
            self._tracer.start_span(f"send {topic}", kind=SpanKind.PRODUCER, attributes=attributes)
        )

    def process(self, record: Any) -> Span:
        """Return the span of handling *record*, below the span that sent it."""
        attributes = _attributes("process", record.topic) | {
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
        }
        return _Span(
            self._tracer.start_span(
                f"process {record.topic}",
                _below(_sender(record)),
                SpanKind.CONSUMER,
                attributes,
            )
        )

    def process_batch(self, topic: str, batches: Iterable[Sequence[Any]]) -> Span:
        """
        Return the span of handling records together, with links to those that sent them.

        There is none if no record is of a sampled trace.
        """
        records = [record for batch in batches for record in batch]
        links = [*filter(None, map(_link, records))]
        if not links:
            return NO_SPAN
        attributes = _attributes("process", topic) | {"messaging.batch.message_count": len(records)}
        return _Span(
            self._tracer.start_span(
                f"process {topic}", _EMPTY, SpanKind.CONSUMER, attributes, links
            )
        )

    def current(self) -> Span:
        """Return the current span of this thread."""
        return _Borrowed(trace.get_current_span())

    def close(self) -> None:
        """Export what has ended, within FLUSH_LIMIT_S."""
        if self._provider is not None:
            # Its own limit is 30 s.
            thread = threading.Thread(
                target=self._provider.shutdown, name="last-spans", daemon=True
            )
            thread.start()
            thread.join(FLUSH_LIMIT_S)


def start(service: str) -> Tracer:
    """
    Return a tracer of *service*, unless OTEL_SERVICE_NAME gives it another name.

    A provider that is there already, such as that of opentelemetry-instrument, is used as it is.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        return OpenTelemetryTracer(provider, is_ours=False)
    provider = new_provider(service)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)  # for the spans of handlers
    return OpenTelemetryTracer(provider)


def new_provider(service: str) -> TracerProvider:
    """Return a provider with the resource and the sampler that the environment names."""
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    # Each process is an instance; a deployment may name its own.
    ours = Resource({"service.version": __version__, "service.instance.id": str(uuid.uuid4())})
    resource = ours.merge(resource)
    # Its atexit handler could take 30 s.
    return TracerProvider(resource=resource, shutdown_on_exit=False)


def _attributes(operation: str, topic: str) -> dict[str, Any]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
    }


def _context(traceparent: str | None, tracestate: str | None) -> trace.SpanContext | None:
    """Return the span that both headers name; None if they name none."""
    # As the propagator of OpenTelemetry, which takes three times as long.
    found = TRACEPARENT_FORMAT.fullmatch(traceparent or "")
    if found is None:
        return None
    return trace.SpanContext(
        int(found[1], 16),
        int(found[2], 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(found[3], 16)),
        trace_state=trace.TraceState.from_header([tracestate]) if tracestate else None,
    )


def _below(parent: trace.SpanContext | None) -> contexts.Context:
    if parent is None:
        return _EMPTY
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), _EMPTY)


def _sender(record: Any) -> trace.SpanContext | None:
    """Return the span that sent *record*; None if it names none."""
    found = {
        name: value.decode("latin-1")
        for name, value in record.headers
        if name in _CONTEXT_HEADERS and value is not None
    }
    return _context(found.get("traceparent"), found.get("tracestate")) if found else None


def _link(record: Any) -> trace.Link | None:
    """Return a link to the span that sent *record*; None if not sampled."""
    context = _sender(record)
    return trace.Link(context) if context is not None and context.trace_flags.sampled else None
