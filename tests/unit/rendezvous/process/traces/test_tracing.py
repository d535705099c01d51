"""Spans cost nothing unless they are asked for, end once, and never delay anything."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rendezvous.process.startup import Tracing
from rendezvous.process.traces import open_telemetry, tracing
from rendezvous.process.traces.open_telemetry import (
    FLUSH_LIMIT_S,
    OpenTelemetryTracer,
    new_provider,
)

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
TOLERANCE_MS = 1.0


@pytest.fixture
def unsampled(exporter):
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetryTracer(provider)


def record(*headers, topic="orders"):
    return SimpleNamespace(topic=topic, partition=1, offset=7, headers=list(headers))


def test_no_process_loads_what_exports_traces_unless_it_is_asked_for():
    # redis-py loads metrics of OpenTelemetry wherever it is installed.
    code = (
        "import sys, gateway.bootstrap, gateway.server.worker, replies.__main__, "
        "responder.__main__; names = ('opentelemetry.exporter', 'rendezvous.process.traces.open'); "
        "print([m for m in sys.modules if m.startswith(names)])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
        ENDPOINT | {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_SERVICE_NAME": "web"},
    ],
)
def test_without_a_variable_that_asks_for_traces_there_is_no_tracer(environ, caplog):
    Tracing("web", environ).start()

    assert isinstance(tracing.tracer, tracing.NoTracer)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc is not supported: no traces; set http/protobuf",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER=zipkin is not supported: no traces; set otlp",
        ),
        (
            ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": ""},
            "OTEL_* variables ask for traces, but OpenTelemetry is not installed (...): no traces; "
            "install requirements-tracing.txt",
        ),
    ],
)
def test_traces_that_cannot_be_had_are_a_line_and_no_failure(environ, message, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "rendezvous.process.traces.open_telemetry", None)
    monkeypatch.delattr("rendezvous.process.traces.open_telemetry", raising=False)
    Tracing("web", environ).start()

    assert isinstance(tracing.tracer, tracing.NoTracer)
    (line,) = caplog.messages
    assert line.split(" (")[0] == message.split(" (")[0]


def test_each_span_is_below_the_one_before_and_ends_once(tracer, exporter):
    with tracer.serve("POST", PARENT, "a=1", 0.0) as server:
        sent = tracer.send("orders", "the-id")
        headers = sent.inject([("traceparent", b"old"), ("deadline", b"1")])
    with tracer.process(record(*headers)):
        replied = tracer.send("replies", "the-id")
        reply_headers = replied.inject([])
    with tracer.process_batch("replies", [[record(*reply_headers, topic="replies"), record()]]):
        pass
    sent.end()
    replied.end()

    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert len(exporter.get_finished_spans()) == len(spans) == 5
    server, sent = spans["POST"], spans["send orders"]
    processed, replied = spans["process orders"], spans["send replies"]
    for span, parent in ((sent, server), (processed, sent), (replied, processed)):
        assert span.parent.span_id == parent.context.span_id
        assert f"{span.context.trace_id:032x}" == TRACE_ID
    (link,) = spans["process replies"].links
    assert link.context.span_id == replied.context.span_id
    assert dict(headers)["tracestate"] == b"a=1"
    assert [name for name, _ in headers] == ["deadline", "traceparent", "tracestate"]
    assert spans["process replies"].attributes["messaging.batch.message_count"] == 2


@pytest.mark.parametrize("error", [None, "unsent", ValueError("no")])
def test_a_span_states_how_it_ended(tracer, exporter, error):
    tracer.send("orders", "the-id").end(error)

    (span,) = exporter.get_finished_spans()
    assert span.status.is_ok is (error is None) or span.status.is_unset
    expected = {None: None, "unsent": "unsent"}.get(error, "ValueError")
    assert span.attributes.get("error.type") == expected


def test_an_exception_ends_the_span_and_leaves_none_current(tracer, exporter):
    with pytest.raises(ValueError, match="no"), tracer.serve("POST", None, None, 0.0):
        raise ValueError("no")

    (span,) = exporter.get_finished_spans()
    assert span.attributes["error.type"] == "ValueError"
    assert tracer.current().ids is None


def test_durations_are_those_of_the_clock(tracer, exporter):
    """Of 20: a busy machine delays any one of them."""
    off_ms = []
    for _ in range(20):
        began_ns = time.time_ns()
        with tracer.serve("POST", None, None, 0.25):
            time.sleep(0.01)
        took_ms = (time.time_ns() - began_ns) / 1e6
        span = exporter.get_finished_spans()[-1]
        off_ms.append(abs((span.end_time - span.start_time) / 1e6 - 250 - took_ms))

    assert min(off_ms) < TOLERANCE_MS


def test_without_sampling_nothing_is_exported_and_the_context_is_passed_on(unsampled, exporter):
    with unsampled.serve("POST", PARENT, None, 0.0) as server:
        sent = unsampled.send("orders", "the-id")
        headers = sent.inject([])
        sent.end()
    with unsampled.process(record(*headers)):
        reply_headers = unsampled.send("replies", "the-id").inject([])
    batch = unsampled.process_batch("replies", [[record(*reply_headers)]])

    assert exporter.get_finished_spans() == ()
    assert headers == [("traceparent", f"00-{TRACE_ID}-{server.ids[1]}-00".encode())]
    assert reply_headers[0][1].decode().startswith(f"00-{TRACE_ID}-")
    assert batch is tracing.NO_SPAN


@pytest.mark.parametrize(
    "value",
    [
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        None,
        b"",
        b"\xff",
        b"00-0-0-00",
        PARENT.encode()[:-1],
        b"ff" + PARENT.encode()[2:],
    ],
)
def test_an_invalid_context_of_a_record_begins_a_trace(tracer, exporter, value):
    with tracer.process(record(("traceparent", value))):
        pass
    with tracer.process_batch("replies", [[record(("traceparent", value))]]) as batch:
        assert batch is tracing.NO_SPAN

    (span,) = exporter.get_finished_spans()
    assert span.parent is None


class Hanging(SpanExporter):
    """An exporter whose collector never answers."""

    def __init__(self):
        self.proceed = threading.Event()

    def export(self, spans):
        self.proceed.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self):
        """Do nothing."""


def test_an_exporter_that_hangs_delays_neither_spans_nor_the_end():
    exporter = Hanging()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=10))
    tracer = OpenTelemetryTracer(provider)
    longest_s = 0.0
    for _ in range(5_000):  # more than the SDK keeps
        began_s = time.monotonic()
        with tracer.serve("POST", None, None, 0.0):
            pass
        longest_s = max(longest_s, time.monotonic() - began_s)
    began_s = time.monotonic()
    tracer.close()

    assert longest_s < 1.0
    assert time.monotonic() - began_s < FLUSH_LIMIT_S + 1
    exporter.proceed.set()


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "rendezvous-web"),
        ({"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop,a=b"}, "shop"),
    ],
)
def test_the_name_of_the_service_is_the_environments_or_the_process(monkeypatch, environ, name):
    for key, value in environ.items():
        monkeypatch.setenv(key, value)

    assert new_provider("rendezvous-web").resource.attributes["service.name"] == name


def test_a_provider_that_is_there_is_used_and_not_closed(monkeypatch, exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: provider)
    tracer = open_telemetry.start("rendezvous-web")
    tracer.close()
    tracer.send("orders", "the-id").end()

    assert len(exporter.get_finished_spans()) == 1
