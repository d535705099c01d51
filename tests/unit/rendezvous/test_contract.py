"""The wire contract: how requests and replies are encoded, and how foreign records are decoded."""

import json
from dataclasses import replace

import pytest

from rendezvous.contract import Outcome, Reply, Request
from rendezvous.errors import MalformedRecord, UnusableReply
from rendezvous.framework_requests import ID_HEADERS, REPLY_TOPIC_HEADERS
from rendezvous.reply_headers import (
    LISTED_REPLY_HEADERS,
    MAX_HEADER_BYTES,
    MAX_HEADERS_BYTES,
    REPLY_HTTP_HEADERS,
)

ID = [("correlation-id", b"the-id")]
REQUEST = Request("the-id", "orders", "replies", 1_700_000_000_000)


def decoded_request(headers, value=b"body", key=b"key"):
    return Request.decode("orders", key, value, headers)


# Requests


def test_a_request_is_decoded_as_it_was_encoded():
    request = Request(
        correlation_id="the-id",
        topic="orders",
        reply_topic="replies",
        deadline_ms=1_700_000_000_000,
        body=b"\x00\xff not text",
        content_type="text/plain; charset=ü",
        method="PUT",
        path="/orders/ä",
        query="a=1&b=%20",
        headers=(("x-tenant", "café"), ("x-many", "1"), ("x-many", "2")),
        key=b"\x01key",
        client="shop",
    )

    assert Request.decode("orders", *request.encode()) == request


def test_every_header_of_a_request_is_text():
    _, _, headers = Request("i", "t", "r", 1, headers=(("x-a", "é"),)).encode()

    assert all(isinstance(value, bytes) and value.decode("utf-8") for _, value in headers[:-2])
    assert ("x-a", "é".encode()) in headers


def test_the_id_and_the_reply_topic_are_repeated_under_the_names_of_other_frameworks():
    _, _, headers = REQUEST.encode()

    for name in ID_HEADERS:
        assert (name, b"the-id") in headers
    for name in REPLY_TOPIC_HEADERS:
        assert (name, b"replies") in headers


def test_the_reply_partition_has_one_name_alone_and_none_if_no_partition_is_read():
    _, _, without = REQUEST.encode()
    _, _, headers = replace(REQUEST, reply_partition=12).encode()

    assert set(headers) - set(without) == {("reply-partition", b"12")}


def test_the_client_travels_in_one_header_and_has_none_if_it_is_unknown():
    key, value, headers = replace(REQUEST, client="jwt:Zoë").encode()

    assert set(headers) - set(REQUEST.encode()[2]) == {("client", "jwt:Zoë".encode())}
    request = Request.decode("orders", key, value, headers)
    assert request.client == "jwt:Zoë"
    assert request.header("client") is None
    assert Request.decode("orders", *REQUEST.encode()).client is None


def test_a_key_that_leads_to_the_reply_partition_is_that_of_a_request_without_one():
    asked = replace(REQUEST, reply_partition=12, reply_key=b"leads to 12")

    assert asked.encode()[0] == b"leads to 12"
    assert replace(asked, key=b"own").encode()[0] == b"own"


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("0", 0),
        ("12", 12),
        ("", None),
        ("-1", None),
        ("x", None),
        ("9" * 10, None),
        ("\u0661", None),
    ],
)
def test_a_reply_partition_that_is_no_number_is_as_good_as_none(text, partition):
    key, value, headers = REQUEST.encode()
    headers.append(("reply-partition", text.encode()))
    request = Request.decode("orders", key, value, headers)

    assert request.reply_partition == partition
    assert request.header("reply-partition") is None


def test_the_deadline_travels_as_unix_milliseconds_in_text():
    _, _, headers = REQUEST.encode()

    assert ("deadline", b"1700000000000") in headers


def test_the_record_key_defaults_to_the_correlation_id():
    assert REQUEST.encode()[0] == b"the-id"
    assert Request("i", "t", "r", 1, key=b"own").encode()[0] == b"own"
    assert Request("i", "t", "r", 1, key=b"").encode()[0] == b""


def test_a_request_without_content_type_has_no_such_header():
    _, _, headers = REQUEST.encode()

    assert "content-type" not in dict(headers)
    assert Request.decode("orders", *REQUEST.encode()).content_type is None


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("reply-topic", b"r"), ("deadline", b"1")],
        [*ID, ("deadline", b"1")],
        [*ID, ("reply-topic", b"r")],
        [*ID, ("reply-topic", b"r"), ("deadline", b"soon")],
        [*ID, ("reply-topic", b"r"), ("deadline", None)],
        [*ID, ("reply-topic", b"r"), ("deadline", b"-" + b"9" * 400)],
        [*ID, ("reply-topic", b"r"), ("deadline", b"1_000")],
        [*ID, ("reply-topic", b"r"), ("deadline", "\u0661".encode())],
        [*ID, ("reply-topic", b"r"), ("deadline", b"9" * 5_000)],
        [*ID, ("correlation-id", b"other"), ("reply-topic", b"r"), ("deadline", b"1")],
        [*ID, ("correlation_id", b"other"), ("reply-topic", b"r"), ("deadline", b"1")],
        [*ID, ("reply-topic", b"r"), ("reply_to", b"elsewhere"), ("deadline", b"1")],
        [("correlation-id", None), ("reply-topic", b"r"), ("deadline", b"1")],
    ],
)
def test_a_record_that_is_not_exactly_one_request_is_malformed(headers):
    with pytest.raises(MalformedRecord):
        decoded_request(headers)


@pytest.mark.parametrize("id_name", ID_HEADERS)
@pytest.mark.parametrize("topic_name", REPLY_TOPIC_HEADERS)
def test_a_request_is_decoded_with_the_names_of_any_framework(id_name, topic_name):
    request = decoded_request([(id_name, b"i"), (topic_name, b"r"), ("deadline", b"1")])

    assert (request.correlation_id, request.reply_topic) == ("i", "r")
    assert (request.method, request.path, request.query) == ("POST", "/", "")


def test_a_request_without_value_has_an_empty_body():
    headers = [*ID, ("reply-topic", b"r"), ("deadline", b"1")]

    assert decoded_request(headers, value=None).body == b""


def test_a_header_of_a_request_is_found_in_any_case():
    request = Request("i", "t", "r", 1, headers=(("x-tenant", "a"), ("x-tenant", "b")))

    assert request.header("X-Tenant") == "a"
    assert request.header("x-other") is None


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b"[" * 200_000, b"1" * 5_000])
def test_a_body_that_is_not_json_raises_value_error(body):
    with pytest.raises(ValueError, match=r".*"):
        Request("i", "t", "r", 1, body=body).json()


def test_a_json_body_is_parsed():
    assert Request("i", "t", "r", 1, body=b'{"a": [1]}').json() == {"a": [1]}


# Replies


def test_a_reply_is_decoded_as_it_was_encoded():
    reply = Reply.to(
        REQUEST, b"\x00\xff", status=418, content_type="text/tea", headers=[("x-pot", "blue")]
    )

    assert Reply.decode(*reply.encode()) == reply


def test_a_json_reply_has_the_content_type_of_json():
    reply = Reply.json(REQUEST, {"a": 1}, status=201)

    assert json.loads(reply.body) == {"a": 1}
    assert (reply.status, reply.headers) == (201, (("content-type", "application/json"),))


def test_a_problem_reply_is_problem_details_of_its_request():
    reply = Reply.problem(REQUEST, 422, "Request refused", "quantity")

    assert reply.status == 422
    assert reply.headers == (("content-type", "application/problem+json"),)
    assert json.loads(reply.body) == {
        "type": "about:blank",
        "title": "Request refused",
        "status": 422,
        "detail": "quantity",
        "correlation_id": "the-id",
    }


@pytest.mark.parametrize("names", [*([name] for name in ID_HEADERS), [*ID_HEADERS, *ID_HEADERS]])
def test_the_id_of_a_reply_is_found_under_one_or_several_names_of_frameworks(names):
    assert Reply.decode(b"", [(name, b"the-id") for name in names]).correlation_id == "the-id"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("status", b"200")],
        [("correlation-id", None)],
        [("Correlation-Id", b"the-id")],
        [("correlation-id", b"one"), ("correlation-id", b"two")],
        [("correlation-id", b"one"), ("kafka_correlationId", b"two")],
    ],
)
def test_a_reply_that_does_not_name_one_request_is_malformed(headers):
    with pytest.raises(MalformedRecord, match="correlation id"):
        Reply.decode(b"", headers)


def test_the_status_of_a_reply_defaults_to_200():
    assert Reply.decode(b"x", ID).status == 200
    assert Reply.decode(b"", ID).status == 200


def test_a_reply_without_value_is_204():
    reply = Reply.decode(None, ID)

    assert (reply.status, reply.body, reply.outcome) == (204, b"", Outcome.ANSWERED)
    assert Reply.decode(None, [*ID, ("status", b"404")]).status == 404


@pytest.mark.parametrize("status", [200, 204, 299, 304, 404, 500, 599])
@pytest.mark.parametrize("name", ["status", ":status", "rig-response-code"])
def test_a_status_is_decoded_from_any_of_its_names(name, status):
    assert Reply.decode(b"", [*ID, (name, b"%d" % status)]).status == status


@pytest.mark.parametrize(
    "status",
    [
        b"42", b"101", b"199", b"abc", b"600", b"", b"2000", b"0200", b" 200", b"200 ", b"2.0",
        b"-20", b"+20", b"\xff\xff\xff", "\uff12\uff10\uff10".encode(), "²²²".encode(),
        b"200 OK\r\nX: y",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["status", ":status", "rig-response-code"])
def test_an_invalid_status_makes_a_reply_unusable(name, status):
    with pytest.raises(UnusableReply, match="not an HTTP status") as caught:
        Reply.decode(b"", [*ID, (name, status)])

    assert caught.value.correlation_id == "the-id"


@pytest.mark.parametrize(
    "value",
    [b"a\r\nSet-Cookie: x", b"a\nb", b"a\rb", b"a\0b", b"\x7f", b"\x1b[0m", "é".encode(), b"\xe9"],
)
@pytest.mark.parametrize("name", ["content-type", "x-trace", "location"])
def test_an_invalid_header_value_makes_a_reply_unusable(name, value):
    with pytest.raises(UnusableReply, match="characters"):
        Reply.decode(b"", [*ID, (name, value)])


@pytest.mark.parametrize("name", ["x-a b", "x-a:b", "x-é", "x-a\r\nb", "x-(", "x-\x00"])
def test_an_invalid_header_name_makes_a_reply_unusable(name):
    with pytest.raises(UnusableReply, match="characters"):
        Reply.decode(b"", [*ID, (name, b"1")])


@pytest.mark.parametrize(
    "location", ["http://[", "//host:port", "//host:99999", "//.example", "//" + "a" * 64]
)
@pytest.mark.parametrize("name", ["Location", "content-location"])
def test_a_location_that_is_not_a_uri_makes_a_reply_unusable(name, location):
    with pytest.raises(UnusableReply, match="not a URI"):
        Reply.decode(b"", [*ID, (name, location.encode())])


@pytest.mark.parametrize("location", ["/orders/7", "", "a b", "//h:1/", "http://[::1]:80/?a=%zz#b"])
def test_any_uri_reference_is_a_location(location):
    reply = Reply.decode(b"", [*ID, ("location", location.encode())])

    assert reply.headers == (("location", location),)


def test_a_tab_in_a_header_value_is_kept_and_blanks_around_it_are_dropped():
    assert Reply.decode(b"", [*ID, ("x-a", b" a\tb ")]).headers == (("x-a", "a\tb"),)


def test_a_header_that_is_too_long_makes_a_reply_unusable():
    longest = [*ID, ("x-a", b"a" * MAX_HEADER_BYTES)]

    assert Reply.decode(b"", longest).headers
    with pytest.raises(UnusableReply, match=f"{MAX_HEADER_BYTES + 1} bytes"):
        Reply.decode(b"", [*ID, ("x-a", b"a" * (MAX_HEADER_BYTES + 1))])


def test_too_many_headers_make_a_reply_unusable():
    many = [(f"x-{n}", b"a" * 1_000) for n in range(MAX_HEADERS_BYTES // 1_000)]

    with pytest.raises(UnusableReply, match="headers exceed"):
        Reply.decode(b"", [*ID, *many])


def test_only_allowed_headers_are_decoded():
    headers = [
        *ID,
        ("Content-Type", b"text/plain"),
        ("ETag", b'"1"'),
        ("X-Any", b"1"),
        ("Set-Cookie", b"a=b"),
        ("transfer-encoding", b"chunked"),
        ("content-length", b"7"),
        ("connection", b"close"),
        ("server", b"me"),
        ("traceparent", b"\r\n"),
        ("kafka_nest-is-disposed", b"\x00"),
    ]

    assert Reply.decode(b"", headers).headers == (
        ("content-type", "text/plain"),
        ("etag", '"1"'),
        ("x-any", "1"),
        ("set-cookie", "a=b"),  # the gateway drops it unless the route lists it
    )


@pytest.mark.parametrize("name", sorted(REPLY_HTTP_HEADERS | LISTED_REPLY_HEADERS))
def test_no_hop_by_hop_header_or_header_of_the_gateway_is_allowed(name):
    assert name not in {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "content-length", "date", "server", "preference-applied",
    }  # fmt: skip
    assert not name.startswith("access-control-")


@pytest.mark.parametrize("name", ["X-Accel-Redirect", "x-sendfile", "x-content-type-options"])
def test_headers_that_no_reply_can_set_are_dropped(name):
    assert Reply.decode(b"", [*ID, (name, b"/a"), ("x-a", b"1")]).headers == (("x-a", "1"),)


def test_a_null_header_is_ignored():
    assert Reply.decode(b"", [*ID, ("x-a", None), ("status", None)]).headers == ()


@pytest.mark.parametrize(
    ("value", "headers", "detail"),
    [
        pytest.param(
            None, [("kafka_nest-err", b'{"status":"error","message":"no stock"}')], "no stock",
            id="NestJS",
        ),
        pytest.param(b"x", [("REPLY_ERROR", b"no stock")], "no stock", id="Quarkus"),
        pytest.param(None, [("Error", b"no stock")], "no stock", id="SlimMessageBus"),
        pytest.param(
            b"{}",
            [
                ("_watermill_requestreply_has_error", b"1"),
                ("_watermill_requestreply_error", b"no stock"),
            ],
            "no stock",
            id="Watermill",
        ),
        pytest.param(
            b"{}", [("_watermill_requestreply_has_error", b"1")], "has_error", id="Watermill, bare"
        ),
    ],
)  # fmt: skip
def test_failures_of_other_frameworks_have_no_http_status(value, headers, detail):
    reply = Reply.decode(value, [*ID, *headers])

    assert (reply.outcome, reply.status, reply.body) == (Outcome.FAILED, 502, b"")
    assert detail in reply.detail


def test_a_watermill_reply_without_error_is_an_answer():
    reply = Reply.decode(b"{}", [*ID, ("_watermill_requestreply_has_error", b"0")])

    assert (reply.outcome, reply.status, reply.body) == (Outcome.ANSWERED, 200, b"{}")


def test_a_failure_with_a_status_is_an_http_response():
    reply = Reply.decode(b"gone", [*ID, ("Error", b"no stock"), ("status", b"410")])

    assert (reply.outcome, reply.status, reply.body) == (Outcome.ANSWERED, 410, b"gone")


def test_the_detail_of_a_failure_is_bounded():
    assert len(Reply.decode(None, [*ID, ("Error", b"x" * 100_000)]).detail) < 1_000


def test_an_unusable_reply_keeps_its_id_and_its_reason():
    reply = Reply.unusable(UnusableReply("the-id", "because"))

    assert reply == Reply("the-id", status=502, outcome=Outcome.UNUSABLE, detail="because")


@pytest.mark.parametrize(
    ("status", "headers", "fits"),
    [
        (200, (), True),
        (599, (("x-a", "1"), ("location", "/a")), True),
        (200, (("x-accel-redirect", "/a"),), True),  # stored before; the gateway drops it
        (42, (), False),
        (600, (), False),
        (200, (("x-a", "a\r\nb: c"),), False),
        (200, (("x-a", "é"),), False),
        (200, (("location", "http://["),), False),
        (200, (("content-length", "7"),), False),
    ],
)
def test_fits_http_checks_status_and_headers(status, headers, fits):
    assert Reply("the-id", b"", status, headers).fits_http() == fits
