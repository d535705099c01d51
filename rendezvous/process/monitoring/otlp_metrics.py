"""
Pushes metrics over OTLP/HTTP, for platforms where nothing can scrape.

The metrics are those that prometheus_client has; the SDK of OpenTelemetry encodes and sends them.
The environment variables of the SDK apply.
"""

import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator

import prometheus_client
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.samples import Sample

from rendezvous import __version__

logger = logging.getLogger(__name__)

#: Maximum time of the last push, when a process ends, in seconds.
LAST_PUSH_LIMIT_S = 2.0
#: Name and labels of OpenTelemetry's conventions, of which Prometheus has other forms.
_NAMES = {"http_server_request_duration": "http.server.request.duration"}
_LABELS = {
    "http_route": "http.route",
    "http_request_method": "http.request.method",
    "http_response_status_code": "http.response.status_code",
    "error_type": "error.type",
}
_SECONDS = "_seconds"
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class Push:
    """
    Pushes the metrics of a registry at intervals, from its own thread.

    Args:
        service: the name of this process; OTEL_SERVICE_NAME takes precedence.
        interval_s: between two pushes.
    """

    def __init__(
        self,
        service: str,
        interval_s: float,
        registry: prometheus_client.CollectorRegistry | None = None,
    ) -> None:
        self._interval_s = interval_s
        self._registry = registry or prometheus_client.REGISTRY
        self._resource = _resource(service)
        self._started_ns = time.time_ns()
        self._exporter = OTLPMetricExporter()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-push", daemon=True)

    def start(self) -> None:
        """Start pushing."""
        self._thread.start()

    def close(self) -> None:
        """Push once more, within LAST_PUSH_LIMIT_S."""
        self._closing.set()
        self._thread.join(LAST_PUSH_LIMIT_S)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._closing.wait(self._interval_s)
            try:
                self._exporter.export(self._data())
            except Exception:
                # Without this thread nothing would be pushed any more.
                logger.exception("pushing metrics failed; trying again")

    def _data(self) -> MetricsData:
        metrics = converted(self._registry.collect(), self._started_ns, time.time_ns())
        scope = ScopeMetrics(InstrumentationScope("rendezvous", __version__), list(metrics), "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])


def converted(
    families: Iterable[prometheus_client.Metric], started_ns: int, now_ns: int
) -> Iterator[Metric]:
    """Yield the metrics of OpenTelemetry for *families*; started_ns: when counting began."""
    for family in families:
        samples = list(family.samples)
        name, unit = family.name, ""
        if name.endswith(_SECONDS):
            name, unit = name.removesuffix(_SECONDS), "s"
        data: Sum | Gauge | Histogram
        if family.type == "counter":
            totals = [sample for sample in samples if sample.name.endswith("_total")]
            points = [_number(sample, started_ns, now_ns) for sample in totals]
            data = Sum(points, _CUMULATIVE, is_monotonic=True)
        elif family.type == "gauge":
            data = Gauge([_number(sample, 0, now_ns) for sample in samples])
        elif family.type == "histogram":
            data = Histogram(list(_distributions(samples, started_ns, now_ns)), _CUMULATIVE)
        else:
            continue
        if data.data_points:
            yield Metric(_NAMES.get(name, name), family.documentation, unit, data)


def _number(sample: Sample, started_ns: int, now_ns: int) -> NumberDataPoint:
    return NumberDataPoint(_attributes(sample.labels), started_ns, now_ns, sample.value)


def _distributions(
    samples: Iterable[Sample], started_ns: int, now_ns: int
) -> Iterator[HistogramDataPoint]:
    """Yield a point for each child of a histogram."""
    below: dict[tuple[tuple[str, str], ...], dict[float, float]] = defaultdict(dict)
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in samples:
        labels = tuple((name, value) for name, value in sample.labels.items() if name != "le")
        if sample.name.endswith("_bucket"):
            below[labels][float(sample.labels["le"])] = sample.value
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    for labels, cumulative in below.items():
        bounds = sorted(cumulative)
        counts = [round(cumulative[bound]) for bound in bounds]
        buckets = [count - before for before, count in zip([0, *counts], counts, strict=False)]
        yield HistogramDataPoint(
            _attributes(dict(labels)),
            started_ns,
            now_ns,
            counts[-1],
            sums.get(labels, 0.0),
            buckets,
            bounds[:-1],  # the last one is infinite
            None,  # type: ignore[arg-type]  # prometheus_client keeps neither minimum nor maximum
            None,  # type: ignore[arg-type]
        )


def _attributes(labels: dict[str, str]) -> dict[str, str | int]:
    found: dict[str, str | int] = {_LABELS.get(name, name): v for name, v in labels.items() if v}
    if "http.response.status_code" in found:
        found["http.response.status_code"] = int(found["http.response.status_code"])
    return found


def _resource(service: str) -> Resource:
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    ours = Resource({"service.version": __version__, "service.instance.id": str(uuid.uuid4())})
    return ours.merge(resource)
