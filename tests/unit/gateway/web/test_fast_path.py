"""The fast path: which requests take it, and that its responses equal those of Flask."""

from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, request_finished, request_started

from gateway.clients.api_keys import ApiKeys
from gateway.routing.table import Route
from gateway.web.cors import ANY_ORIGIN
from rendezvous.contract import Reply
from tests.fakes import raising, record_calls

MAX_BODY_BYTES = 1_000
ROUTES = (
    Route("/echo", "echo", ("POST", "PUT")),
    Route("/small", "echo", max_body_bytes=10),
    Route("/things", "echo", ("GET",), headers=("X-Tenant",)),
    Route("/things/<thing>", "echo", ("GET", "POST")),
    Route("/größe", "echo"),
    Route("/cookies", "echo", response_headers=("set-cookie",)),
    Route("/patient", "echo", max_timeout_s=20.0),
)


@pytest.fixture
def app(new_app):
    return new_app(ROUTES, max_body_bytes=MAX_BODY_BYTES, reply_timeout_s=0.2)


@pytest.fixture
def flask_app(new_app):
    """The same application; a hook makes every request go through Flask."""
    app = new_app(ROUTES, max_body_bytes=MAX_BODY_BYTES, reply_timeout_s=0.2)
    app.before_request(lambda: None)
    return app


@pytest.fixture
def through_flask(monkeypatch):
    """A list with an element for each request that went through Flask."""
    return record_calls(monkeypatch, Flask, "full_dispatch_request")


PLAIN: dict[str, tuple[str, str, Any]] = {
    "a body": ("POST", "/echo", {"data": b"hello", "content_type": "text/plain"}),
    "another method": ("PUT", "/echo", {"data": b"hello"}),
    "no body": ("POST", "/echo", {}),
    "GET": ("GET", "/things", {}),
    "a query": ("GET", "/things?a=b&c=%C3%A9", {}),
    "largest body": ("POST", "/echo", {"data": b"x" * MAX_BODY_BYTES}),
    "largest body of the route": ("POST", "/small", {"data": b"x" * 10}),
    "headers": ("GET", "/things", {
        "headers": {"X-Tenant": "one", "X-Request-ID": "order-7", "traceparent": "00-junk"},
    }),
    "a host with a port": ("GET", "/things", {"headers": {"Host": "gateway_1.example:8000"}}),
    "a preference": ("POST", "/patient", {"headers": {"Prefer": "wait=2"}}),
}  # fmt: skip
OTHER: dict[str, tuple[str, str, Any]] = {
    "unknown route": ("GET", "/nowhere", {}),
    "method not allowed": ("DELETE", "/echo", {}),
    "HEAD": ("HEAD", "/things", {}),
    "OPTIONS": ("OPTIONS", "/echo", {}),
    "path parameter": ("POST", "/things/7", {"data": b"x"}),
    "double slash": ("POST", "//echo", {"data": b"x"}),
    "non-ASCII path": ("POST", "/größe", {"data": b"x"}),
    "body too large": ("POST", "/echo", {"data": b"x" * (MAX_BODY_BYTES + 1)}),
    "body too large for the route": ("POST", "/small", {"data": b"x" * 11}),
    "chunked body": ("POST", "/echo", {
        "data": b"x",
        "environ_overrides": {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    }),
    "invalid Content-Length": ("POST", "/echo", {
        "data": b"x", "environ_overrides": {"CONTENT_LENGTH": "\xb2"},
    }),
    "IPv6 host": ("GET", "/things", {"headers": {"Host": "[::1]:8000"}}),
    "invalid host": ("POST", "/echo", {
        "data": b"x", "environ_overrides": {"HTTP_HOST": "no..host"},
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_request_takes_the_fast_path(app, through_flask, name):
    method, path, arguments = PLAIN[name]

    assert app.test_client().open(path, method=method, **arguments).status_code == 200
    assert through_flask == []


@pytest.mark.parametrize("name", OTHER)
def test_any_other_request_goes_through_flask(app, through_flask, name):
    method, path, arguments = OTHER[name]

    app.test_client().open(path, method=method, **arguments)

    assert len(through_flask) == 1


@pytest.mark.parametrize("name", [*PLAIN, *OTHER])
def test_both_paths_publish_and_respond_the_same(app, flask_app, publisher, name):
    method, path, arguments = (PLAIN | OTHER)[name]
    fast = app.test_client().open(path, method=method, **arguments)

    slow = flask_app.test_client().open(path, method=method, **arguments)

    assert comparable(fast) == comparable(slow)
    published = [
        replace(request, correlation_id="", deadline_ms=0) for request in publisher.published
    ]
    assert published[:1] * 2 == published


def comparable(response):
    """Return *response* without its id and the random Retry-After."""
    correlation_id = response.headers.get("X-Correlation-ID", "none")
    headers = [
        (name, value.replace(correlation_id, "<id>"))
        for name, value in response.headers
        if name != "Retry-After"
    ]
    headers.sort(key=lambda header: header[0])
    return response.status, headers, response.data.replace(correlation_id.encode(), b"<id>")


def a_reply(*headers, status=200, body=b"reply"):
    return lambda request: Reply(request.correlation_id, body, status, headers)


REPLIES = {
    "plain": a_reply(("content-type", "text/plain")),
    "no type": a_reply(),
    "two types": a_reply(("content-type", "text/plain"), ("Content-Type", "text/html")),
    "no body": a_reply(body=b""),
    "an error": a_reply(("content-type", "application/json"), status=422),
    "a status without a phrase": a_reply(status=299),
    "repeated headers": a_reply(("x-a", "1"), ("x-a", "2"), ("vary", "Accept")),
    "forged ids": a_reply(("x-correlation-id", "forged"), ("x-request-id", "forged")),
    "a cookie": a_reply(("set-cookie", "a=b")),
    "204": a_reply(status=204, body=b""),
    "304": a_reply(("etag", '"1"'), status=304, body=b""),
    "a Location": a_reply(("location", "/elsewhere"), status=303),
    "no reply": lambda request: None,
}


@pytest.mark.parametrize("request_id", [None, "order-7"])
@pytest.mark.parametrize("path", ["/echo", "/cookies"])
@pytest.mark.parametrize("name", REPLIES)
def test_both_paths_respond_the_same_to_every_reply(
    app, flask_app, publisher, name, path, request_id
):
    publisher.responder = REPLIES[name]
    headers = {} if request_id is None else {"X-Request-ID": request_id}
    fast = app.test_client().post(path, data=b"x", headers=headers)

    slow = flask_app.test_client().post(path, data=b"x", headers=headers)

    assert comparable(fast) == comparable(slow)
    assert len(publisher.published) == 2


@pytest.mark.parametrize("name", ["204", "304", "a Location", "no reply"])
def test_a_reply_that_is_not_plain_is_rendered_by_flask_and_published_once(
    app, publisher, through_flask, name
):
    publisher.responder = REPLIES[name]

    app.test_client().post("/echo", data=b"x")

    assert len(through_flask) == 1
    assert len(publisher.published) == 1


def test_a_202_is_rendered_by_flask_and_published_once(app, publisher, through_flask):
    publisher.responder = REPLIES["no reply"]

    response = app.test_client().post("/echo", data=b"x", headers={"Prefer": "respond-async"})

    assert response.status_code == 202
    assert len(through_flask) == 1
    assert len(publisher.published) == 1


def test_an_unexpected_error_is_rendered_by_flask_and_logged(app, publisher, through_flask, caplog):
    publisher.responder = raising(RuntimeError("unexpected"))

    assert app.test_client().post("/echo", data=b"x").status_code == 500
    assert "unexpected" in caplog.text
    assert len(through_flask) == 1


HOOKS = {
    "before_request": lambda app: app.before_request(lambda: None),
    "after_request": lambda app: app.after_request(lambda response: response),
    "teardown_request": lambda app: app.teardown_request(lambda error: None),
    "teardown_appcontext": lambda app: app.teardown_appcontext(lambda error: None),
    "url_value_preprocessor": lambda app: app.url_value_preprocessor(lambda endpoint, values: None),
}


@pytest.mark.parametrize("name", HOOKS)
def test_with_a_hook_every_request_goes_through_flask(app, through_flask, name):
    HOOKS[name](app)

    assert app.test_client().post("/echo", data=b"x").status_code == 200
    assert len(through_flask) == 1


@pytest.mark.parametrize("signal", [request_started, request_finished])
def test_with_a_signal_receiver_every_request_goes_through_flask(app, signal):
    received = []

    def receive(sender, **named):
        received.append(sender)

    with signal.connected_to(receive):
        app.test_client().post("/echo", data=b"x")

    assert received == [app]


@pytest.mark.parametrize(
    "options", [{"cors_origins": (ANY_ORIGIN,)}, {"api_keys": ApiKeys(())}], ids=["CORS", "keys"]
)
def test_with_api_keys_or_cors_every_request_goes_through_flask(new_app, through_flask, options):
    new_app(ROUTES, **options).test_client().post("/echo", data=b"x")

    assert len(through_flask) == 1
