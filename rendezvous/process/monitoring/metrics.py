"""Metrics that all three processes have."""

import platform
from collections.abc import Collection, Mapping
from typing import Any

from prometheus_client import Counter, Gauge, disable_created_metrics

from rendezvous import __version__

#: The values of the labels of a child metric.
Labels = tuple[str, ...]

BUILD = Gauge(
    "rendezvous_build_info",
    "Always 1; the labels are the version of Rendezvous and of Python",
    ("version", "python"),
    multiprocess_mode="livemax",
)
REDIS_ERRORS = Counter(
    "rendezvous_redis_errors_total",
    "Failed calls of Redis, by the class of the error in redis-py",
    ("error",),
)
KAFKA_ERRORS = Counter(
    "rendezvous_kafka_errors_total",
    "Errors of Kafka by client (producer, consumer) and by the class of the error in kafka-python",
    ("client", "error"),
)


def show_build() -> None:
    """Set the metric with the version; omit the time when each metric was created."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    BUILD.labels(__version__, platform.python_version()).set(1)


def show_only(gauge: Gauge, values: Mapping[Any, float], shown: Collection[Labels]) -> set[Labels]:
    """Set *gauge* to *values*, remove others that were *shown*, return those set."""
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
    for labels in set(shown) - set(values):
        gauge.remove(*labels)
    return set(values)


def count_kafka_error(client: str, error: Exception) -> None:
    """Count an *error* of a "producer" or "consumer"."""
    KAFKA_ERRORS.labels(client, type(error).__name__).inc()
