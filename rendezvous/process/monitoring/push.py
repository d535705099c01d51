"""Starts pushing metrics over OTLP where OTEL_* variables ask for it."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # gunicorn.conf.py imports this module before prometheus_client may be imported
    from prometheus_client import CollectorRegistry

logger = logging.getLogger(__name__)

#: Variables that ask for metrics; OTEL_METRICS_EXPORTER does too.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
#: Variables of which one value is supported.
_SUPPORTED = {
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
}
#: Default of OTEL_METRIC_EXPORT_INTERVAL, in milliseconds.
INTERVAL_MS = 60_000


def asks_for_push(environ: Mapping[str, str]) -> bool:
    """Return whether the variables of OpenTelemetry in *environ* ask for metrics."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environ.get("OTEL_METRICS_EXPORTER")
    return exporter != "none" if exporter else any(map(environ.get, _ENDPOINTS))


def start_push(
    service: str, environ: Mapping[str, str], registry: "CollectorRegistry | None" = None
) -> Callable[[], None]:
    """
    Push metrics if *environ* asks for it; log why not, if that is impossible.

    Returns what pushes for the last time.

    Args:
        service: the name of this process; OTEL_SERVICE_NAME takes precedence.
        registry: the metrics; those of prometheus_client by default.
    """
    if not asks_for_push(environ):
        return _nothing
    for name, supported in _SUPPORTED.items():
        value = environ.get(name) or supported
        if value != supported:
            logger.error("%s=%s is not supported: no metrics; set %s", name, value, supported)
            return _nothing
    try:
        from rendezvous.process.monitoring.otlp_metrics import Push
    except ImportError as error:
        logger.error(
            "OTEL_* variables ask for metrics, but OpenTelemetry is not installed (%s): none are "
            "pushed; install requirements-tracing.txt, or set OTEL_METRICS_EXPORTER=none",
            error,
        )
        return _nothing
    push = Push(service, _interval_s(environ), registry)
    push.start()
    return push.close


def _interval_s(environ: Mapping[str, str]) -> float:
    value = environ.get("OTEL_METRIC_EXPORT_INTERVAL") or str(INTERVAL_MS)
    if not value.isdecimal() or not int(value):
        logger.error("OTEL_METRIC_EXPORT_INTERVAL=%s: expected milliseconds", value)
        value = str(INTERVAL_MS)
    return int(value) / 1000


def _nothing() -> None:
    pass
