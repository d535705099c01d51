"""What the metrics of the gateway count."""

from contextlib import ExitStack

import pytest

from gateway import metrics
from gateway.clients.client import Client, Rate
from gateway.clients.rates import RateLimiter
from gateway.problems import RateLimited
from gateway.routing.table import Route
from gateway.web import routes
from rendezvous.contract import Reply
from rendezvous.errors import UnusableReply
from tests.fakes import FakeClock, raising
from tests.support.metric_values import increases, value
from tests.unit.gateway.exchange.test_breaker import breakers as new_breakers
from tests.unit.gateway.exchange.test_breaker import exchange, time_out

breakers = new_breakers


@pytest.fixture
def clock():
    return FakeClock(1_000.0)


def outcome(name, number=1, route="/echo"):
    return increases(number, "rendezvous_outcomes_total", route=route, outcome=name)


def sent(answer, number=1):
    return increases(number, "rendezvous_sent_total", topic="echo", sent=answer)


# Outcomes of requests


def test_a_reply_counts_once(new_app):
    client = new_app().test_client()

    with ExitStack() as counted:
        counted.enter_context(outcome("reply"))
        counted.enter_context(sent("yes"))
        counted.enter_context(increases(1, "rendezvous_reply_wait_seconds_count", topic="echo"))
        assert client.post("/echo", data=b"x").status_code == 200


def test_a_timeout_counts_as_its_problem_and_not_as_a_wait(new_app, publisher):
    publisher.responder = lambda request: None
    client = new_app(reply_timeout_s=0.1).test_client()

    waits = increases(0, "rendezvous_reply_wait_seconds_count", topic="echo")
    with outcome("reply-timeout"), sent("yes"), outcome("reply", 0), waits:
        assert client.post("/echo", data=b"x").status_code == 503


def test_a_request_that_is_rejected_counts_as_not_sent(new_app):
    client = new_app(max_body_bytes=3).test_client()

    with outcome("too-large"), sent("no"):
        assert client.post("/echo", data=b"xxxx").status_code == 413


def test_a_202_counts_as_pending(new_app, publisher):
    publisher.responder = lambda request: None
    client = new_app().test_client()

    with outcome("pending"), sent("yes"):
        response = client.post("/echo", headers={"Prefer": "respond-async, wait=0"})
        assert response.status_code == 202


def test_a_reply_that_no_http_response_can_be_made_of_counts_as_sent(new_app, publisher):
    publisher.responder = lambda request: Reply.unusable(
        UnusableReply(request.correlation_id, "broken")
    )
    client = new_app().test_client()

    with outcome("bad-reply"), sent("yes"):
        assert client.post("/echo").status_code == 502


def test_a_reply_whose_condition_fails_counts_as_its_problem_alone(new_app, publisher):
    publisher.responder = lambda request: Reply.to(request, headers=(("etag", '"5"'),))
    client = new_app([Route("/a", "echo", methods=("GET",))]).test_client()

    with outcome("http", route="/a"), outcome("reply", 0, route="/a"), sent("yes"):
        assert client.get("/a", headers={"If-Match": '"6"'}).status_code == 412


def test_a_failure_to_make_a_response_counts_once(new_app, monkeypatch):
    monkeypatch.setattr(routes, "reply_response", raising(RuntimeError("a fault")))
    client = new_app().test_client()

    with outcome("http"), outcome("reply", 0):
        assert client.post("/echo", data=b"x").status_code == 500


def test_a_replay_counts_as_a_reply_and_as_a_replay(new_app):
    client = new_app([Route("/echo", "echo", idempotency="optional")]).test_client()
    headers = {"Idempotency-Key": "a"}

    with outcome("reply", 2), increases(1, "rendezvous_idempotent_replays_total", route="/echo"):
        client.post("/echo", headers=headers)
        client.post("/echo", headers=headers)


def test_paths_without_a_route_have_one_label(new_app):
    client = new_app().test_client()

    with outcome("http", 3, route="unmatched"):
        for path in ("/a", "/b", "/c"):
            client.get(path)


def test_rejections_by_rate_limit_are_counted_by_client():
    limiter, client = RateLimiter(None, "d"), Client("shop", rate=Rate(1, 86_400))
    limiter.charge(client)

    counted = increases(1, "rendezvous_rate_limited_total", client="shop")
    with counted, pytest.raises(RateLimited):
        limiter.charge(client)


# State


def test_the_state_of_breakers_is_shown(breakers, clock):
    time_out(breakers, clock, client="a")
    assert value("rendezvous_breaker_open_clients", topic="orders") == 1
    assert value("rendezvous_breakers_open", topic="orders") == 0

    time_out(breakers, clock, client="b")
    assert value("rendezvous_breakers_open", topic="orders") == 1

    exchange(breakers, client="b")
    assert value("rendezvous_breaker_open_clients", topic="orders") == 0
    assert value("rendezvous_breakers_open", topic="orders") == 0


# Responses, as the server sees them


def duration(number, route, method, status, error=""):
    return increases(
        number,
        "http_server_request_duration_seconds_count",
        http_route=route,
        http_request_method=method,
        http_response_status_code=str(status),
        error_type=error,
    )


def test_a_response_counts_by_route_method_and_status():
    with duration(1, "/echo", "POST", 200), duration(1, "/echo", "POST", 503, "reply-timeout"):
        metrics.observe_response("/echo", "POST", 200, None, 0.003)
        metrics.observe_response("/echo", "POST", 503, "reply-timeout", 0.003)
    with duration(1, "/echo", "POST", 500, "500"), duration(2, "unmatched", "_OTHER", 404):
        metrics.observe_response("/echo", "POST", 500, None, 0.003)
        metrics.observe_response(None, "EVIL1", 404, None, 0.003)
        metrics.observe_response(None, "EVIL2", 404, None, 0.003)
