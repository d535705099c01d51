"""Any record is decoded, or refused with an error of the contract."""

import contextlib

from gunicorn.http.message import TOKEN_RE
from gunicorn.http.wsgi import HEADER_VALUE_RE, STATUS_RE
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import create_environ, run_wsgi_app

from gateway.web.responses import reply_response
from gateway.web.trace import trace_headers
from rendezvous.contract import RESERVED_HEADERS, Outcome, Reply, Request
from rendezvous.errors import MalformedRecord, UnusableReply
from rendezvous.reply_headers import MAX_HEADERS_BYTES
from tests.strategies import (
    header_names,
    json_values,
    pointed_texts,
    record_headers,
    record_values,
    reply_headers,
    texts,
    wild_texts,
)

tokens = st.from_regex(r"[!-~]{1,200}", fullmatch=True)
topics = st.from_regex(r"[A-Za-z0-9._-]{1,249}", fullmatch=True)
#: Headers that a route forwards: each once, in lower case.
route_headers = st.lists(
    st.tuples(
        st.from_regex(r"[a-z0-9-]+", fullmatch=True).filter(lambda n: n not in RESERVED_HEADERS),
        texts,
    ),
    max_size=6,
    unique_by=lambda header: header[0],
).map(tuple)
requests = st.builds(
    Request,
    correlation_id=tokens,
    topic=topics,
    reply_topic=topics,
    deadline_ms=st.integers(0, 10**13),
    body=st.binary(max_size=100),
    content_type=st.none() | texts,
    method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
    path=texts,
    query=texts,
    headers=route_headers,
    key=st.none() | st.binary(max_size=20),
)
field_values = st.from_regex(r"[!-~]([ -~\t]{0,20}[!-~])?", fullmatch=True)
http_headers = st.lists(
    st.tuples(st.sampled_from(["content-type", "etag", "vary", "x-a", "x-b", "x-~"]), field_values),
    max_size=6,
).map(tuple)


@given(requests)
def test_any_request_is_decoded_as_it_was_encoded(request):
    key, value, headers = request.encode()
    read = Request.decode(request.topic, key, value, headers)

    assert read.key == (request.correlation_id.encode() if request.key is None else request.key)
    assert {name: getattr(read, name) for name in Request.__slots__ if name != "key"} == {
        name: getattr(request, name) for name in Request.__slots__ if name != "key"
    }


@given(record_headers, record_values, st.none() | st.binary(max_size=10))
@example(headers=[("correlation-id", b"i"), ("reply-topic", b"r"), ("deadline", b"-" + b"9" * 400)],
         value=b"", key=None)  # fmt: skip
def test_any_record_is_a_request_or_malformed(headers, value, key):
    try:
        request = Request.decode("orders", key, value, headers)
    except MalformedRecord:
        return
    # The calls of a worker must not fail.
    assert request.encode()
    assert 0 <= request.deadline_ms / 1000 < 10**12
    assert Reply.json(request, {}).encode()


@given(
    tokens, st.binary(max_size=100), st.integers(200, 599), http_headers
)  # fmt: skip
def test_any_reply_is_decoded_as_it_was_encoded(correlation_id, body, status, headers):
    reply = Reply(correlation_id, body, status, headers)

    assert Reply.decode(*reply.encode()) == reply


@given(record_values, record_headers | reply_headers)
def test_any_record_is_a_valid_http_response_or_refused(value, headers):
    try:
        reply = Reply.decode(value, headers)
    except MalformedRecord:
        return
    except UnusableReply as refused:
        reply = Reply.unusable(refused)
    assert reply.outcome is Outcome.ANSWERED or (reply.detail and reply.status == 502)
    assert_servable(Reply("the-id", reply.body, reply.status, reply.headers))


@given(st.lists(st.tuples(st.just("location"), pointed_texts.map(str.encode)), max_size=3))
@example([("location", b"http://[")])
@example([("location", b"//host:port")])
@example([("location", b"//host:99999")])
@example([("location", b"http://" + b"a" * 64 + b".example")])
@example([("location", b"//\x2eexample")])
def test_any_location_is_valid_in_http_or_refused(headers):
    try:
        reply = Reply.decode(b"", [("correlation-id", b"the-id"), *headers])
    except UnusableReply:
        return
    assert_servable(reply)


def assert_servable(reply):
    """Fail unless werkzeug and gunicorn accept the response of *reply*."""
    chunks, status, headers = run_wsgi_app(reply_response(reply), create_environ())

    assert STATUS_RE.fullmatch(status)
    assert 200 <= int(status[:3]) <= 599
    assert all(TOKEN_RE.fullmatch(name) for name, _ in headers)
    assert all(HEADER_VALUE_RE.fullmatch(value) for _, value in headers)
    assert sum(len(name) + len(value) for name, value in headers) < MAX_HEADERS_BYTES + 500
    assert b"".join(chunks) == (b"" if reply.status in (204, 205, 304) else reply.body)


@given(record_headers)
def test_a_decoded_reply_is_encoded_and_decoded_to_the_same(headers):
    try:
        reply = Reply.decode(b"body", headers)
    except (MalformedRecord, UnusableReply):
        return
    if reply.outcome is Outcome.ANSWERED:
        assert Reply.decode(*reply.encode()) == reply


@given(header_names, json_values)
def test_any_json_value_makes_a_reply(name, value):
    request = Request("the-id", "t", "r", 1, headers=((name, "1"),))

    assert Reply.decode(*Reply.json(request, value, status=201).encode()).status == 201


@given(st.binary(max_size=50))
def test_any_body_is_json_or_a_value_error(body):
    request = Request("the-id", "t", "r", 1, body=body)
    with contextlib.suppress(ValueError):
        request.json()


@given(wild_texts, wild_texts)
def test_any_trace_context_is_forwarded_unchanged_or_dropped(traceparent, tracestate):
    assert trace_headers(traceparent, tracestate) in ([], [("traceparent", traceparent)])


valid_traceparents = st.from_regex(
    r"0[0-9]-[0-9a-f]{31}[1-9]-[0-9a-f]{15}[1-9]-[0-9a-f]{2}", fullmatch=True
)


@given(valid_traceparents, wild_texts | st.from_regex(r"[ -~\t]{1,600}", fullmatch=True))
def test_a_valid_traceparent_is_forwarded_and_a_tracestate_in_one_line(traceparent, tracestate):
    first, *second = trace_headers(traceparent, tracestate)

    assert first == ("traceparent", traceparent)
    assert second in ([], [("tracestate", tracestate)])
    if second:
        assert HEADER_VALUE_RE.fullmatch(tracestate)
