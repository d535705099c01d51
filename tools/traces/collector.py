"""A collector of traces: takes them over OTLP/HTTP, as protobuf."""

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tools.devstack.ports import LOOPBACK

Attributes = dict[str, str | int | float | bool]


@dataclass(frozen=True)
class Event:
    """An event within a span."""

    name: str
    at_ns: int  # Unix time
    attributes: Attributes


@dataclass(frozen=True)
class Span:
    """A span that has ended; ids are hexadecimal."""

    trace_id: str
    span_id: str
    parent_id: str  # empty for none
    name: str
    kind: str  # SERVER, PRODUCER, CONSUMER and others
    service: str
    instance: str
    start_ns: int  # Unix time
    end_ns: int
    attributes: Attributes
    events: tuple[Event, ...]
    links: tuple[str, ...]  # span ids
    is_error: bool

    @property
    def duration_ms(self) -> float:
        """How long it took."""
        return (self.end_ns - self.start_ns) / 1_000_000


class Collector:
    """The spans that were received, in order. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []

    @property
    def spans(self) -> list[Span]:
        """A copy of those received so far."""
        with self._lock:
            return list(self._spans)

    def receive(self, body: bytes) -> None:
        """Add the spans of an export request."""
        found = [*_spans(ExportTraceServiceRequest.FromString(body))]
        with self._lock:
            self._spans += found


@contextmanager
def collecting(port: int = 0) -> Iterator[tuple[str, Collector]]:
    """Yield OTEL_EXPORTER_OTLP_ENDPOINT of a collector, and the collector."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_gzip = self.headers.get("Content-Encoding") == "gzip"
            if self.path == "/v1/traces":  # else metrics
                collector.receive(gzip.decompress(body) if is_gzip else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer((LOOPBACK, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}", collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(exported: ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in exported.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield _span(span, resource)


def _span(span: SpanMessage, resource: Attributes) -> Span:
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        str(resource.get("service.name", "")),
        str(resource.get("service.instance.id", "")),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        tuple(Event(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events),
        tuple(link.span_id.hex() for link in span.links),
        span.status.code == Status.STATUS_CODE_ERROR,
    )


def _attributes(found: Iterable[KeyValue]) -> Attributes:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in found}
