"""Any request gets a response; errors are problem details, and none of them is a 500."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fakeredis import FakeRedis
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import run_wsgi_app

from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.poller import Poller
from gateway.routing.table import Route
from rendezvous.contract import Headers, Outcome, Reply, Request
from rendezvous.correlation import CorrelationIds
from rendezvous.errors import UnusableReply
from rendezvous.redis_store.replies import ReplyStore
from responder.handlers import echo, orders
from responder.registry import HandlerError
from tests.fakes import FakePublisher
from tests.strategies import pointed_texts, record_values, reply_headers
from tests.unit.apps import SECRET_KEY, new_app

MAX_BODY_BYTES = 300
ROUTES = (
    Route("/echo", "echo", ("POST", "PUT", "PATCH", "DELETE")),
    Route("/orders", "orders"),
    Route("/keyed/<path:name>", "echo", ("POST",), "path:name", ("X-Tenant", "Accept")),
    Route("/by-header", "echo", ("POST",), "header:X-Tenant", ("X-Tenant",)),
)
IDS = CorrelationIds(SECRET_KEY)

#: Bytes as WSGI passes them.
latin_1 = st.binary(max_size=40).map(lambda b: b.decode("latin-1"))
utf_8 = pointed_texts.map(lambda t: t.encode().decode("latin-1"))
#: What gunicorn lets through as the value of a header.
field_values = (latin_1 | utf_8).map(
    lambda v: "".join(c for c in v if c == "\t" or (c >= " " and c != "\x7f")).strip()
)
paths = st.one_of(
    st.sampled_from(["/echo", "/orders", "/by-header", "/keyed/a", "/livez", "/readyz", "//echo"]),
    st.builds("/replies/{}".format, latin_1 | utf_8),
    st.builds("/keyed/{}".format, latin_1 | utf_8),
    st.builds("/problems/{}".format, utf_8),
    latin_1.map("/".__add__),
    utf_8.map("/".__add__),
    latin_1,
    st.just("*"),
)
methods = st.sampled_from(["POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "X"])
headers = st.dictionaries(
    st.sampled_from(
        ["HTTP_HOST", "HTTP_X_TENANT", "HTTP_TRACEPARENT", "HTTP_TRACESTATE", "HTTP_COOKIE",
         "HTTP_RANGE", "HTTP_IF_MATCH", "HTTP_ACCEPT", "HTTP_AUTHORIZATION", "HTTP_EXPECT",
         "HTTP_X_FORWARDED_HOST", "HTTP_CONNECTION", "HTTP_UPGRADE", "CONTENT_TYPE",
         "CONTENT_LENGTH", "HTTP_CORRELATION_ID", "HTTP_TRANSFER_ENCODING", "HTTP_IF_NONE_MATCH",
         "HTTP_X_REQUEST_ID", "HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD",
         "HTTP_IDEMPOTENCY_KEY"]
    ),
    field_values
    | st.sampled_from(
        ["a:b:c", "[::1", "0", "7", "-1", "multipart/form-data", "text/html", "*/*;q=nan"]
    ),
    max_size=6,
)  # fmt: skip
queries = (latin_1 | utf_8).map(lambda q: "".join(c for c in q if "!" <= c <= "~"))
bodies = st.one_of(
    st.binary(max_size=MAX_BODY_BYTES + 50),
    st.sampled_from([b'{"item": "\\ud800", "quantity": 1}', b'{"quantity": NaN, "delay_s": NaN}',
                     b'{"item": "x", "quantity": 1}', b"[" * 300, b"9" * 300, b'{"a": 1, "a": 2}',
                     b'{"item": "bomb"}', b'{"delay_s": 1e400}', b'\xff"', b'{"delay_s": -0}']),
)  # fmt: skip


@contextmanager
def new_gateway() -> Iterator[tuple[Flask, FakePublisher]]:
    """The application with a responder that is called in the same thread."""
    redis = FakeRedis()
    store = ReplyStore(redis, retention_s=60)
    poller = Poller(store, Mailbox())
    publisher = FakePublisher(store, IDS)
    poller.start()
    try:
        app = new_app(
            ROUTES,
            poller,
            publisher,
            redis,
            reply_timeout_s=5.0,
            max_body_bytes=MAX_BODY_BYTES,
            cors_origins=("0",),
        )
        yield app, publisher
    finally:
        poller.close()


@pytest.fixture(scope="module")
def gateway():
    with new_gateway() as both:
        yield both


def environ_of(method, path, query, body, headers):
    """Return the WSGI environment that gunicorn builds."""
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "RAW_URI": path,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    } | headers


def respond(app, environ):
    chunks, status, headers = run_wsgi_app(app, environ)
    return int(status[:3]), headers, b"".join(chunks)


def serve(request: Request) -> Reply | None:
    """Reply as the responder does, with its encoding."""
    request = Request.decode(request.topic, *request.encode())
    try:
        reply = {"echo": echo, "orders": orders}[request.topic](request)
    except HandlerError as error:
        reply = Reply.problem(request, error.status, "Request refused", error.detail)
    except RuntimeError:
        reply = Reply.problem(request, 500, "Responder failed", "the bomb")
    return read(*reply.encode())


def read(value: bytes | None, headers: Headers) -> Reply:
    """Decode a reply record as the replies process does."""
    try:
        return Reply.decode(value, headers)
    except UnusableReply as error:
        return Reply.unusable(error)


@given(methods, paths, queries, bodies, headers, st.sampled_from([0, 0, 0, 1, 7, -1, -7]))
@example("POST", "/echo", "", b"x", {"CONTENT_TYPE": "caf\xe9"}, 0)
@example("POST", "/echo", "", b"x", {"CONTENT_TYPE": "a\tb"}, 0)
@example("POST", "/echo", "", b"x", {}, 7)
@example("POST", "/keyed/\xff", "", b"x", {"HTTP_X_TENANT": "\xff"}, 0)
@example("GET", "/replies/\r\n", "", b"", {}, 0)
def test_any_request_gets_a_response_and_every_error_is_problem_details(
    gateway, method, path, query, body, headers, missing
):
    """*missing* is the number of body bytes short of Content-Length."""
    app, publisher = gateway
    publisher.published.clear()
    publisher.responder = serve

    declared = max(len(body) + missing, 0)
    environ = environ_of(method, path, query, body[:declared], headers)
    environ["CONTENT_LENGTH"] = str(declared)
    status, given_headers, content = respond(app, environ)

    assert_response(method, status, given_headers, content)
    for request in publisher.published:
        assert len(request.body) <= MAX_BODY_BYTES
        assert request.body == body[:declared]
        assert len(request.body) == declared


@given(record_values, reply_headers)
@example(b"", [("correlation-id", b"the-id"), ("location", b"http://[")])
def test_any_reply_gets_a_response_and_every_error_is_problem_details(gateway, value, headers):
    app, publisher = gateway

    def reply(request):
        cid = request.correlation_id.encode()
        return read(value, [(n, cid if v == b"the-id" else v) for n, v in headers])

    publisher.responder = reply
    status, given_headers, content = respond(app, environ_of("POST", "/echo", "", b"x", {}))

    is_problem = given_headers.get("Content-Type") == "application/problem+json"
    expected = read(value, headers)
    assert status == expected.status
    if expected.outcome is not Outcome.ANSWERED:
        assert is_problem
        assert json.loads(content)["type"] in ("/problems/bad-reply", "/problems/responder-error")


def assert_response(method, status, headers, content):
    names = {name.lower(): value for name, value in headers}
    is_bomb = b"the bomb" in content
    assert status != 500 or is_bomb
    assert status in (200, 201, 202, 204, 304, 308) or status >= 400
    if status >= 400 and names["content-type"] == "text/html; charset=utf-8":
        assert "default-src 'none'" in names["content-security-policy"]
    elif status >= 400:
        assert names["content-type"] == "application/problem+json"
        if method != "HEAD":
            problem = json.loads(content)
            assert problem["status"] == status
            assert problem["detail"]
    assert status not in (502, 503), content
