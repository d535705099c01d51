"""The record that is published for an HTTP request."""

import pytest

from rendezvous.contract import RESERVED_HEADERS, Reply, Request
from tests.unit.gateway.web.routes.gateway import MAX_BODY_BYTES, assert_problem

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "body", [b"", b"plain", bytes(range(256)), b"\xff\xfe\x00", b"a=1&b=2", b"x" * MAX_BODY_BYTES]
)
@pytest.mark.parametrize(
    "content_type",
    [None, "application/x-www-form-urlencoded", "application/octet-stream", "text/plain; a=b"],
)
def test_the_body_and_its_type_are_forwarded_unchanged(gateway, body, content_type):
    gateway.request(data=body, content_type=content_type)

    assert gateway.published.body == body
    assert gateway.published.content_type == content_type


def test_a_request_has_topic_reply_topic_method_path_and_query(gateway):
    gateway.request(path="/echo?a=1&b=%C3%A4")

    request = gateway.published
    assert (request.topic, request.reply_topic) == ("prefix.echo", "prefix.replies")
    assert (request.method, request.path, request.query) == ("POST", "/echo", "a=1&b=%C3%A4")
    assert request.key is None


def test_a_path_is_forwarded_decoded(gateway):
    gateway.request("PUT", "/orders/%C3%A4%20b")

    assert (gateway.published.path, gateway.published.method) == ("/orders/ä b", "PUT")
    assert gateway.published.key == "ä b".encode()


@pytest.mark.parametrize(
    ("path", "order_id"),
    [("/orders/7", "7"), ("/orders/%C3%A4%20b%0A", "ä b\n"), ("/orders/path.x", "path.x")],
)
def test_the_parameters_in_the_path_are_headers_of_the_record(gateway, path, order_id):
    gateway.request("PUT", path)

    sent = gateway.published
    _, _, headers = sent.encode()
    assert [value for name, value in headers if name == "path.order_id"] == [order_id.encode()]
    received = Request.decode(sent.topic, sent.key, sent.body, headers)
    assert received.path_parameters == sent.path_parameters == {"order_id": order_id}


def test_a_handler_reads_the_parameters_in_the_query(gateway):
    gateway.request(path="/echo?tag=a&tag=%C3%A4+b&empty=&bare")

    expected = {"tag": ["a", "ä b"], "empty": [""], "bare": [""]}
    assert gateway.published.query_parameters == expected
    gateway.request(path="/echo")
    assert gateway.publisher.published[-1].query_parameters == {}


def test_a_header_can_be_the_record_key(gateway):
    gateway.request(path="/keyed", headers={"X-Key": "k-1"})

    assert gateway.published.key == b"k-1"


def test_without_the_key_header_the_correlation_id_is_the_record_key(gateway):
    gateway.request(path="/keyed")

    key, _, _ = gateway.published.encode()
    assert key == gateway.published.correlation_id.encode()


def test_only_headers_that_the_route_lists_are_forwarded(gateway):
    others = {"Accept": "text/plain", "Authorization": "Bearer secret", "Cookie": "a=b"}
    others |= {"Reply-Partition": "3", "Reply-Topic": "elsewhere"}
    gateway.request("PUT", "/orders/7", headers={"X-Tenant": "blue"} | others)

    assert gateway.published.headers == (("x-tenant", "blue"), ("path.order_id", "7"))
    assert gateway.published.reply_partition is None


def test_a_utf_8_header_value_is_forwarded_as_utf_8(gateway):
    value = "café".encode().decode("latin-1")  # as PEP 3333 has it
    gateway.request("PUT", "/orders/7", environ_overrides={"HTTP_X_TENANT": value})

    assert gateway.published.headers == (("x-tenant", "café"), ("path.order_id", "7"))


def test_any_other_header_value_is_decoded_as_latin_1(gateway):
    gateway.request("PUT", "/orders/7", environ_overrides={"HTTP_X_TENANT": "caf\xe9"})

    assert gateway.published.headers == (("x-tenant", "café"), ("path.order_id", "7"))


@pytest.mark.parametrize("end", ["\xe9", "\xe8", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xff\xfe"])
def test_a_path_that_is_not_utf_8_is_rejected(gateway, end):
    environ = {"PATH_INFO": f"/orders/caf{end}"}
    response = gateway.request("PUT", environ_overrides=environ, data=b"x")

    problem = assert_problem(response, 400, None, "no")
    assert "the path is not UTF-8; send its characters as percent-encoded" in problem["detail"]
    assert gateway.publisher.published == []


def test_a_utf_8_path_is_forwarded(gateway):
    gateway.request("PUT", "/orders/caf%C3%A9", data=b"x")

    assert (gateway.published.path, gateway.published.key) == ("/orders/café", "café".encode())


def test_a_raw_query_that_is_not_utf_8_is_rejected(gateway):
    """Escapes in a query are forwarded as they are."""
    escaped = gateway.request(query_string="name=caf%E9")
    response = gateway.request(environ_overrides={"QUERY_STRING": "name=caf\xe9"}, data=b"x")

    assert escaped.status_code == 200
    problem = assert_problem(response, 400, None, "no")
    assert "the query is not UTF-8" in problem["detail"]
    assert gateway.published.query == "name=caf%E9"


def test_a_record_key_in_a_header_that_is_not_utf_8_is_rejected(gateway):
    response = gateway.request(path="/keyed", environ_overrides={"HTTP_X_KEY": "caf\xe9"})

    problem = assert_problem(response, 400, None, "no")
    assert "the header X-Key, the record key, is not UTF-8" in problem["detail"]
    assert gateway.publisher.published == []


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS - {"content-type"}))
def test_a_client_cannot_set_reserved_headers(gateway, name):
    environ = {"HTTP_" + name.upper().replace("-", "_"): "forged"}

    gateway.request(path="/keyed", data=b"x", environ_overrides=environ)

    _, _, headers = gateway.published.encode()
    assert b"forged" not in [value for _, value in headers]


def test_the_correlation_id_is_never_the_one_of_the_client(gateway, ids):
    response = gateway.request(
        headers={"X-Request-ID": "of-the-client", "X-Correlation-ID": "of-the-client"}, data=b"x"
    )

    assert ids.read(response.headers["X-Correlation-ID"])
    names = [name for name, value in gateway.published.encode()[2] if value == b"of-the-client"]
    assert names == ["x-request-id"]


@pytest.mark.parametrize(
    "given", ["7", "0af76519-16cd-43dd-8448-eb211c80319c", "a+b/c==", "urn:x:1.2~3_4", "x" * 200]
)
def test_the_request_id_is_forwarded_and_returned(gateway, given):
    response = gateway.request(headers={"X-Request-ID": given}, data=b"x")

    assert gateway.published.headers == (("x-request-id", given),)
    assert response.headers.getlist("X-Request-ID") == [given]


@pytest.mark.parametrize(
    "given", [None, "", " ", "a b", "a,b", "a\tb", '"a"', "<a>", "é", "x" * 201]
)
def test_a_missing_or_malformed_request_id_is_neither_forwarded_nor_replaced(gateway, given):
    response = gateway.request(headers={} if given is None else {"X-Request-ID": given}, data=b"x")

    assert response.status_code == 200
    assert gateway.published.headers == ()
    assert "X-Request-ID" not in response.headers


def test_error_responses_have_the_request_id(gateway):
    response = gateway.request(path="/nowhere", headers={"X-Request-ID": "of-the-client"})

    assert response.status_code == 404
    assert response.headers["X-Request-ID"] == "of-the-client"


def test_the_request_id_of_the_client_replaces_that_of_the_reply(gateway):
    gateway.publisher.responder = lambda request: Reply.to(
        request, headers=[("x-request-id", "of-the-responder")]
    )

    with_id = gateway.request(headers={"X-Request-ID": "of-the-client"})
    without_id = gateway.request()

    assert with_id.headers.getlist("X-Request-ID") == ["of-the-client"]
    assert without_id.headers.getlist("X-Request-ID") == ["of-the-responder"]


def test_a_valid_trace_context_is_forwarded(gateway):
    gateway.request(headers={"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"})

    assert gateway.published.headers == (("traceparent", TRACEPARENT), ("tracestate", "a=1,b=2"))


@pytest.mark.parametrize(
    "traceparent",
    [
        "", "x", TRACEPARENT + "x", TRACEPARENT.upper(), "ff" + TRACEPARENT[2:],
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
def test_an_invalid_trace_context_is_not_forwarded(gateway, traceparent):
    gateway.request(headers={"traceparent": traceparent, "tracestate": "a=1"})

    assert gateway.published.headers == ()


def test_an_invalid_trace_state_is_dropped_and_the_traceparent_forwarded(gateway):
    gateway.request(headers={"traceparent": TRACEPARENT, "tracestate": "a=" + "x" * 600})

    assert gateway.published.headers == (("traceparent", TRACEPARENT),)
