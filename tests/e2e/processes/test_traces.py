"""Traces of all three processes, as a collector receives them over OTLP/HTTP."""

import json
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.support.deployment import Deploy, Deployment, Response
from tools.devstack.waiting import wait_until
from tools.traces.collector import Collector, Span, collecting
from tools.traces.tree import trace_of, tree

LIMIT_S = 15
REQUESTS = 24
#: Of SERVER spans against the client's clock, and of CONSUMER spans against the handler's: the
#: closest of REQUESTS, since a busy machine delays any one of them.
TOLERANCE_MS = 1.0


@dataclass
class Traced:
    """A deployment whose spans a collector receives."""

    deployment: Deployment
    collector: Collector

    def order(self, **order: float) -> tuple[str, Response]:
        """Send an order with a trace id; return that and the response."""
        trace_id = secrets.token_hex(16)
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
        body = json.dumps({"delay_s": 0.02} | order).encode()
        return trace_id, self.deployment.gateway.request("POST", "/orders", body, headers)

    def trace(self, trace_id: str, number: int) -> list[Span]:
        """Return the spans of a trace, once there are *number*."""

        def found() -> list[Span]:
            return trace_of(self.collector.spans, trace_id)

        assert wait_until(lambda: len(found()) >= number, LIMIT_S), "\n".join(tree(found()))
        return found()


@pytest.fixture(scope="module")
def traced(deploy_for_module: Deploy) -> Iterator[Traced]:
    with collecting() as (endpoint, collector):
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRICS_EXPORTER": "none",
            "RESPONDER_HANDLERS": "tests.support.timed_handlers",
            "REPLY_TIMEOUT_S": "2",
        }
        with deploy_for_module(env=env) as deployment:
            yield Traced(deployment, collector)


def by_name(spans: list[Span], prefix: str) -> dict[str, Span]:
    """Return *spans* by name, which has no *prefix* of topics."""
    names = [span.name.replace(prefix, "") for span in spans]
    assert not [name for name, count in Counter(names).items() if count > 1], "\n".join(tree(spans))
    return dict(zip(names, spans, strict=True))


def test_the_trace_of_a_request_leads_through_all_processes(traced: Traced):
    prefix = traced.deployment.prefix
    trace_id, response = traced.order(delay_s=0.2)
    spans = traced.trace(trace_id, 5)
    found = by_name(spans, prefix)

    assert response.status == 200, response.body
    server, sent, processed, replied, stored = (
        found[name]
        for name in ("POST /orders", "send orders", "process orders", "send replies",
                     "process replies")
    )  # fmt: skip
    assert [span.kind for span in (server, sent, processed, replied, stored)] == [
        "SERVER", "PRODUCER", "CONSUMER", "PRODUCER", "CONSUMER"
    ]  # fmt: skip
    parents = [span.parent_id for span in (server, sent, processed, replied, stored)]
    assert parents == [
        "b7ad6b7169203331", server.span_id, sent.span_id, processed.span_id, ""
    ]  # fmt: skip
    assert replied.span_id in stored.links
    assert [span.service for span in (server, processed, stored)] == [
        "rendezvous-gateway", "rendezvous-responder", "rendezvous-replies"
    ]  # fmt: skip
    for span in (server, sent, processed, replied):
        cid = span.attributes["messaging.message.conversation_id"]
        assert cid == response.correlation_id
    assert server.attributes["http.route"] == "/orders"
    assert server.attributes["http.response.status_code"] == 200
    assert sent.attributes["messaging.system"] == "kafka"
    assert sent.attributes["messaging.destination.name"] == f"{prefix}orders"
    (event,) = server.events
    assert (event.name, event.attributes) == ("reply", {"rendezvous.reply.way": "straight"})
    assert not any(span.is_error for span in spans)
    lines = tree(spans)
    assert [line.split(" ")[0] for line in lines[:2]] == ["POST", ""]
    assert len(lines) == 6


def test_each_request_has_each_span_once_with_its_true_duration(traced: Traced):
    def timed(_: int) -> tuple[str, Response, int, int]:
        began_ns = time.time_ns()
        trace_id, response = traced.order(delay_s=0.05)
        return trace_id, response, began_ns, time.time_ns()

    with ThreadPoolExecutor(2) as threads:
        requests = list(threads.map(timed, range(REQUESTS)))
    off_client, off_handler = [], []
    for trace_id, response, began_ns, ended_ns in requests:
        assert response.status == 200, response.body
        found = by_name(traced.trace(trace_id, 5), traced.deployment.prefix)
        server, processed = found["POST /orders"], found["process orders"]
        assert began_ns <= server.start_ns <= processed.start_ns <= response.json["began_ns"]
        # The reply may be there before its sender's thread goes on.
        assert response.json["ended_ns"] <= min(processed.end_ns, server.end_ns)
        off_client.append((ended_ns - began_ns) / 1e6 - server.duration_ms)
        handled_ns = response.json["ended_ns"] - response.json["began_ns"]
        off_handler.append(processed.duration_ms - handled_ns / 1e6)

    assert min(map(abs, off_client)) < TOLERANCE_MS, off_client
    assert min(map(abs, off_handler)) < TOLERANCE_MS, off_handler
    ids = [span.span_id for span in traced.collector.spans]
    assert len(ids) == len(set(ids))
    gateways = {s.instance for s in traced.collector.spans if s.kind == "SERVER"}
    assert len(gateways) == traced.deployment.settings.web_concurrency


def test_failures_are_named_in_spans_and_spans_in_log_lines(traced: Traced):
    trace_id, failed = traced.order(status=503)
    found = by_name(traced.trace(trace_id, 5), traced.deployment.prefix)

    assert failed.status == 503
    assert found["process orders"].is_error
    assert found["process orders"].attributes["error.type"] == "503"
    assert found["POST /orders"].attributes["error.type"] == "503"
    (responder,) = traced.deployment.named("responder")
    for process, span in (
        (traced.deployment.gateway, found["POST /orders"]),
        (responder, found["process orders"]),
    ):
        ids = f"trace_id={trace_id} span_id={span.span_id}"
        assert wait_until(lambda p=process, text=ids: text in p.logged(), LIMIT_S), ids  # type: ignore[misc]
    (replies,) = traced.deployment.named("replies")
    assert wait_until(lambda: f"trace_id={trace_id}" in replies.logged(), LIMIT_S)


def test_spans_end_when_no_reply_comes_since_the_responder_was_killed(traced: Traced):
    """The last test: nothing answers after it."""
    (responder,) = traced.deployment.named("responder")
    responder.child.signal(signal.SIGKILL)
    trace_id, response = traced.order()
    assert (response.status, response.json["type"]) == (503, "/problems/reply-timeout")
    found = by_name(traced.trace(trace_id, 2), traced.deployment.prefix)

    assert found.keys() == {"POST /orders", "send orders"}
    server = found["POST /orders"]
    assert server.is_error
    assert server.attributes["error.type"] == "reply-timeout"
    assert server.attributes["rendezvous.sent"] == "yes"
    assert 2000 <= server.duration_ms < 2500
    assert found["send orders"].duration_ms < 2000
    assert server.events == ()
