"""A collector of metrics over OTLP/HTTP, which decodes what it receives."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric


class Collector(ThreadingHTTPServer):
    """
    A collector on a free port.

    Attributes:
        requests: in the order of their arrival.
        env: the variables that let the SDK of OpenTelemetry push to it.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportMetricsServiceRequest] = []
        self.env = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{self.server_port}"}

    def metrics_of(self, service: str) -> dict[str, Metric]:
        """Return the metrics that *service* has pushed last, by name."""
        found: dict[str, Metric] = {}
        for request in list(self.requests):
            for each in request.resource_metrics:
                named = {a.key: a.value.string_value for a in each.resource.attributes}
                if named["service.name"] == service:
                    found = {m.name: m for scope in each.scope_metrics for m in scope.metrics}
        return found


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector for the block."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
