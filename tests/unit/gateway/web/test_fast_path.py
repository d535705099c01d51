"""The straight way of a request: for usual ones only, and nobody can tell the difference."""

from typing import Any

import pytest
from flask import Flask, request_finished, request_started

from gateway.clients.api_keys import ApiKeys
from gateway.routing.table import Route
from gateway.web.cors import ANY_ORIGIN
from rendezvous.contract import Reply

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
def watched_app(new_app):
    """The same, of which every request takes Flask's way."""
    app = new_app(ROUTES, max_body_bytes=MAX_BODY_BYTES, reply_timeout_s=0.2)
    app.before_request(lambda: None)
    return app


@pytest.fixture
def flask_saw(monkeypatch):
    """The requests that took Flask's way."""
    seen, dispatch = [], Flask.full_dispatch_request

    def noted(*arguments):
        seen.append(1)
        return dispatch(*arguments)

    monkeypatch.setattr(Flask, "full_dispatch_request", noted)
    return seen


USUAL: dict[str, tuple[str, str, Any]] = {
    "a body": ("POST", "/echo", {"data": b"hello", "content_type": "text/plain"}),
    "another method": ("PUT", "/echo", {"data": b"hello"}),
    "no body": ("POST", "/echo", {}),
    "nothing": ("GET", "/things", {}),
    "a query": ("GET", "/things?a=b&c=%C3%A9", {}),
    "all that is allowed": ("POST", "/echo", {"data": b"x" * MAX_BODY_BYTES}),
    "all that the route allows": ("POST", "/small", {"data": b"x" * 10}),
    "headers": (
        "GET",
        "/things",
        {"headers": {"X-Tenant": "one", "X-Request-ID": "mine", "traceparent": "00-junk"}},
    ),
    "a preference": ("POST", "/patient", {"headers": {"Prefer": "wait=2"}}),
}
UNUSUAL: dict[str, tuple[str, str, Any]] = {
    "no such route": ("GET", "/nowhere", {}),
    "no method of its": ("DELETE", "/echo", {}),
    "the head only": ("HEAD", "/things", {}),
    "what there is": ("OPTIONS", "/echo", {}),
    "a parameter": ("POST", "/things/7", {"data": b"x"}),
    "another spelling": ("POST", "//echo", {"data": b"x"}),
    "not ASCII": ("POST", "/größe", {"data": b"x"}),
    "too much": ("POST", "/echo", {"data": b"x" * (MAX_BODY_BYTES + 1)}),
    "too much for the route": ("POST", "/small", {"data": b"x" * 11}),
    "in chunks": (
        "POST",
        "/echo",
        {
            "data": b"x",
            "environ_overrides": {
                "HTTP_TRANSFER_ENCODING": "chunked",
                "wsgi.input_terminated": True,
            },
        },
    ),
    "no length that is one": (
        "POST",
        "/echo",
        {"data": b"x", "environ_overrides": {"CONTENT_LENGTH": "\xb2"}},
    ),
    "no host": ("POST", "/echo", {"data": b"x", "environ_overrides": {"HTTP_HOST": "no..host"}}),
}


@pytest.mark.parametrize("name", USUAL)
def test_a_usual_request_goes_straight(app, flask_saw, name):
    method, path, arguments = USUAL[name]

    assert app.test_client().open(path, method=method, **arguments).status_code == 200
    assert flask_saw == []


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_one_goes_through_flask(app, flask_saw, name):
    method, path, arguments = UNUSUAL[name]

    app.test_client().open(path, method=method, **arguments)

    assert flask_saw == [1]


@pytest.mark.parametrize("name", [*USUAL, *UNUSUAL])
def test_the_responder_and_the_client_see_no_difference(app, watched_app, publisher, name):
    method, path, arguments = (USUAL | UNUSUAL)[name]
    straight = app.test_client().open(path, method=method, **arguments)

    through_flask = watched_app.test_client().open(path, method=method, **arguments)

    assert told(straight) == told(through_flask)
    published = [told_of(request) for request in publisher.published]
    assert published[:1] * 2 == published


def told(response):
    """Return all of *response* but what each has of its own: its id, and when to come back."""
    own = response.headers.get("X-Correlation-ID", "none")
    headers = [
        (name, value.replace(own, "<id>"))
        for name, value in response.headers
        if name != "Retry-After"  # which is drawn
    ]
    headers.sort(key=lambda header: header[0])
    return response.status, headers, response.data.replace(own.encode(), b"<id>")


def told_of(request):
    return (
        request.topic,
        request.body,
        request.content_type,
        request.method,
        request.path,
        request.query,
        request.headers,
        request.key,
    )


def a_reply(*headers, status=200, body=b"reply"):
    return lambda request: Reply(request.correlation_id, body, status, headers)


REPLIES = {
    "plain": a_reply(("content-type", "text/plain")),
    "no type": a_reply(),
    "two types": a_reply(("content-type", "text/plain"), ("Content-Type", "text/html")),
    "no body": a_reply(body=b""),
    "an error": a_reply(("content-type", "application/json"), status=422),
    "an error without a name": a_reply(status=299),
    "a header of its own": a_reply(("x-mine", "1"), ("x-mine", "2"), ("vary", "Accept")),
    "an id of its own": a_reply(("x-correlation-id", "forged"), ("x-request-id", "forged")),
    "a cookie": a_reply(("set-cookie", "a=b")),
    "no content": a_reply(status=204, body=b""),
    "not modified": a_reply(("etag", '"1"'), status=304, body=b""),
    "a place": a_reply(("location", "/elsewhere"), status=303),
    "none": lambda request: None,
}


@pytest.mark.parametrize("request_id", [None, "mine"])
@pytest.mark.parametrize("path", ["/echo", "/cookies"])
@pytest.mark.parametrize("name", REPLIES)
def test_no_reply_makes_a_difference(app, watched_app, publisher, name, path, request_id):
    publisher.responder = REPLIES[name]
    headers = {} if request_id is None else {"X-Request-ID": request_id}
    straight = app.test_client().post(path, data=b"x", headers=headers)

    through_flask = watched_app.test_client().post(path, data=b"x", headers=headers)

    assert told(straight) == told(through_flask)
    assert len(publisher.published) == 2


@pytest.mark.parametrize("name", ["no content", "not modified", "a place", "none"])
def test_an_ending_that_is_not_plain_is_flasks_and_nothing_is_sent_twice(
    app, publisher, flask_saw, name
):
    publisher.responder = REPLIES[name]

    app.test_client().post("/echo", data=b"x")

    assert flask_saw == [1]
    assert len(publisher.published) == 1


def test_a_promise_is_flasks_and_nothing_is_sent_twice(app, publisher, flask_saw):
    publisher.responder = REPLIES["none"]

    response = app.test_client().post("/echo", data=b"x", headers={"Prefer": "respond-async"})

    assert response.status_code == 202
    assert flask_saw == [1]
    assert len(publisher.published) == 1


def test_a_fault_of_ours_is_flasks_and_told_as_such(app, publisher, flask_saw, caplog):
    def fail(request):
        raise RuntimeError("a fault of ours")

    publisher.responder = fail

    assert app.test_client().post("/echo", data=b"x").status_code == 500
    assert "a fault of ours" in caplog.text
    assert flask_saw == [1]


WATCHERS = {
    "before": lambda app: app.before_request(lambda: None),
    "after": lambda app: app.after_request(lambda response: response),
    "at the end": lambda app: app.teardown_request(lambda error: None),
    "at the very end": lambda app: app.teardown_appcontext(lambda error: None),
    "of parameters": lambda app: app.url_value_preprocessor(lambda endpoint, values: None),
}


@pytest.mark.parametrize("name", WATCHERS)
def test_whoever_wants_to_see_requests_sees_them(app, flask_saw, name):
    WATCHERS[name](app)

    assert app.test_client().post("/echo", data=b"x").status_code == 200
    assert flask_saw == [1]


@pytest.mark.parametrize("signal", [request_started, request_finished])
def test_so_do_those_who_subscribe_to_a_signal(app, signal):
    heard = []

    def hear(sender, **named):
        heard.append(sender)

    with signal.connected_to(hear):
        app.test_client().post("/echo", data=b"x")

    assert heard == [app]


@pytest.mark.parametrize(
    "options", [{"cors_origins": ANY_ORIGIN}, {"api_keys": ApiKeys(())}], ids=["CORS", "keys"]
)
def test_keys_and_other_origins_are_flasks(new_app, flask_saw, options):
    new_app(ROUTES, **options).test_client().post("/echo", data=b"x")

    assert flask_saw == [1]
