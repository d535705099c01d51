"""Metrics that are pushed over OTLP/HTTP, as a collector receives them."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rendezvous.process.monitoring.push import asks_for_push, start_push
from tests.support.otlp_collector import collector as running_collector


@pytest.fixture
def collector(monkeypatch):
    with running_collector() as server:
        for name, value in server.env.items():  # the SDK reads it itself
            monkeypatch.setenv(name, value)
        yield server


def test_the_last_push_has_all_metrics_under_the_names_of_opentelemetry(collector):
    registry = CollectorRegistry()
    Counter("things_total", "Things", ["kind"], registry=registry).labels("a").inc(3)
    Gauge("load_requests", "Load", registry=registry).set(7)
    labels = ("http_route", "http_response_status_code", "error_type")
    duration = Histogram(
        "http_server_request_duration_seconds", "Time", labels, registry=registry, buckets=(1, 2)
    )
    for value in (0.5, 1.5, 1.5, 9.0):
        duration.labels("/a", "200", "").observe(value)

    start_push("the-service", collector.env, registry)()

    assert len(collector.requests) == 1
    found = collector.metrics_of("the-service")
    assert set(found) == {"things", "load_requests", "http.server.request.duration"}
    assert found["things"].sum.is_monotonic
    assert found["things"].sum.data_points[0].as_double == 3
    assert found["load_requests"].gauge.data_points[0].as_double == 7
    assert found["http.server.request.duration"].unit == "s"
    (point,) = found["http.server.request.duration"].histogram.data_points
    assert (point.count, point.sum, list(point.bucket_counts)) == (4, 12.5, [1, 2, 1])
    assert list(point.explicit_bounds) == [1, 2]
    assert {each.key: each.value for each in point.attributes}[
        "http.response.status_code"
    ].int_value == 200


@pytest.mark.parametrize(
    ("env", "asks"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_METRICS_EXPORTER": "none"}, False),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_variables_of_opentelemetry_ask_for_a_push(env, asks):
    assert asks_for_push(env) is asks


@pytest.mark.parametrize(
    "wrong", [{"OTEL_METRICS_EXPORTER": "console"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}]
)
def test_what_is_not_supported_is_an_error_in_the_log(collector, caplog, wrong):
    start_push("the-service", collector.env | wrong)()

    ((name, value),) = wrong.items()
    assert f"{name}={value} is not supported" in caplog.text
    assert collector.requests == []
