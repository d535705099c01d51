"""Routes with GET: what the responder gets, and what caches get."""

import pytest

from gateway.routing.schema import BodySchema
from gateway.routing.table import Route
from rendezvous.contract import Reply
from tests.unit.apps import new_app
from tests.unit.gateway.web.routes.gateway import assert_problem

TAG, DATE = '"7"', "Fri, 27 Nov 2026 12:00:00 GMT"
NEVER = f"Mon, 01 Jan {10**20} 00:00:00 GMT"
EARLIER, LATER = "Fri, 27 Nov 2026 11:59:59 GMT", "Fri, 27 Nov 2026 12:00:01 GMT"
BOTH = {"etag": TAG, "last-modified": DATE}


@pytest.fixture
def client_of(poller, publisher, redis):
    """Return a function that makes a client of a gateway with one route."""

    def build(**options):
        given = {"methods": ("GET",)} | options
        return new_app([Route("/a/<b>", "topic", **given)], poller, publisher, redis).test_client()

    return build


@pytest.fixture
def reply_with(publisher):
    """Return a function that sets the reply."""

    def set_reply(status=200, body=b"hello", **headers):
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        publisher.responder = lambda request: Reply.to(
            request, body, status=status, content_type="text/plain", headers=named
        )

    return set_reply


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_responder_gets_a_get_with_query_and_parameters(client_of, publisher, method):
    client = client_of(content_type="text/plain")
    response = client.open("/a/x?c=1&c=2", method=method, content_type="text/plain")

    (request,) = publisher.published
    assert response.status_code == 200
    assert (request.method, request.path, request.query) == ("GET", "/a/x", "c=1&c=2")
    assert (request.path_parameters, request.query_parameters) == ({"b": "x"}, {"c": ["1", "2"]})
    assert (request.body, request.content_type) == (b"", None)


def test_head_returns_the_headers_of_the_reply_without_its_body(client_of, reply_with):
    reply_with(etag=TAG, x_any="1")
    client = client_of()
    whole, head = client.get("/a/b"), client.head("/a/b")

    def of_the_reply(response):
        return [(n, v) for n, v in response.headers if n not in ("Date", "X-Correlation-ID")]

    assert (head.status_code, head.data, whole.data) == (200, b"", b"hello")
    assert of_the_reply(head) == of_the_reply(whole)
    assert head.headers["Content-Length"] == "5"


def test_a_get_claims_no_idempotency_key(client_of, publisher):
    client = client_of(methods=("GET", "POST"), idempotency="required")
    for _ in range(2):
        response = client.get("/a/b", headers={"Idempotency-Key": "k"})
        assert (response.status_code, "Idempotent-Replayed" in response.headers) == (200, False)

    assert client.get("/a/b").status_code == 200
    assert len(publisher.published) == 3
    assert_problem(client.post("/a/b"), 400, "idempotency-key-missing", "no")


@pytest.mark.parametrize(("method", "retryable"), [("GET", True), ("POST", False)])
def test_a_get_that_timed_out_can_be_sent_again(client_of, publisher, method, retryable):
    publisher.responder = lambda request: None
    client = client_of(methods=("GET", "POST"), timeout_s=0.1)

    problem = assert_problem(client.open("/a/b", method=method), 503, "reply-timeout", "yes")
    assert problem["retryable"] is retryable


def test_the_body_of_a_get_is_refused(client_of, publisher):
    response = client_of().get("/a/b", data=b"x")

    problem = assert_problem(response, 400, None, "no")
    assert "GET /a/<b> takes no body; send it as the query" in problem["detail"]
    assert publisher.published == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_where_records_are_json_a_request_without_a_body_is_null(client_of, publisher, method):
    client = client_of(methods=("GET", "DELETE"), body="json")

    assert client.open("/a/b", method=method).status_code == 200
    assert [(r.body, r.content_type) for r in publisher.published] == [
        (b"null", "application/json")
    ]


def test_a_schema_does_not_concern_a_get(client_of, publisher):
    client = client_of(methods=("GET", "POST"), schema=BodySchema({"type": "object"}))

    assert client.get("/a/b").status_code == 200
    assert_problem(client.post("/a/b"), 400, "invalid-body", "no")


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        ({}, {}, ["no-cache"]),
        ({"status": 404}, {}, ["no-cache"]),
        ({}, {"caller": "header:X-User"}, ["private, no-cache"]),
        ({"cache_control": "private, max-age=60"}, {}, ["private, max-age=60"]),
        (
            {"cache_control": "max-age=5", "vary": "Accept"},
            {"caller": "header:X-User"},
            ["max-age=5"],
        ),
        ({"expires": DATE}, {}, []),
    ],
)
def test_the_reply_says_what_caches_may_do(client_of, reply_with, given, options, expected):
    reply_with(**given)
    response = client_of(**options).get("/a/b", headers={"X-User": "ada"})

    assert response.headers.getlist("Cache-Control") == expected
    assert response.headers.get("Vary") == given.get("vary")
    assert response.headers.get("Expires") == given.get("expires")


def test_only_a_get_gets_a_cache_control_of_the_gateway(client_of):
    assert "Cache-Control" not in client_of(methods=("GET", "POST")).post("/a/b").headers


@pytest.mark.parametrize(
    ("reply", "request_headers", "status"),
    [
        ({"etag": TAG}, {"If-None-Match": TAG}, 304),
        ({"etag": TAG}, {"If-None-Match": f'"6", W/{TAG}'}, 304),
        ({"etag": f"W/{TAG}"}, {"If-None-Match": TAG}, 304),
        ({"etag": TAG}, {"If-None-Match": "*"}, 304),
        ({"etag": TAG}, {"If-None-Match": '"6"'}, 200),
        ({"etag": TAG}, {"If-None-Match": '"'}, 200),
        ({}, {"If-None-Match": TAG}, 200),
        ({"last-modified": DATE}, {"If-Modified-Since": DATE}, 304),
        ({"last-modified": DATE}, {"If-Modified-Since": LATER}, 304),
        ({"last-modified": DATE}, {"If-Modified-Since": EARLIER}, 200),
        ({"last-modified": DATE}, {"If-Modified-Since": "yesterday"}, 200),
        ({"last-modified": "yesterday"}, {"If-Modified-Since": DATE}, 200),
        ({"last-modified": DATE}, {"If-Modified-Since": NEVER}, 200),
        ({"last-modified": NEVER}, {"If-Modified-Since": DATE}, 200),
        ({"last-modified": DATE}, {"If-Modified-Since": f"{DATE[:-3]}+{10**20}"}, 200),
        (BOTH, {"If-None-Match": '"6"', "If-Modified-Since": DATE}, 200),
        ({"last-modified": DATE}, {"If-None-Match": TAG, "If-Modified-Since": DATE}, 200),
        (BOTH, {"If-None-Match": TAG, "If-Modified-Since": EARLIER}, 304),
        (BOTH, {"Range": "bytes=0-1"}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_condition_compares_the_reply_with_what_the_client_has(
    client_of, reply_with, publisher, reply, request_headers, status, method
):
    reply_with(**{"cache-control": "max-age=60", "vary": "Accept", **reply})
    response = client_of().open("/a/b", method=method, headers=request_headers)

    assert response.status_code == status
    if method == "GET":
        assert response.data == (b"hello" if status == 200 else b"")
    assert response.headers.get("ETag") == reply.get("etag")
    for name in ("Content-Type", "Content-Length"):
        assert (name in response.headers) == (status == 200)
    assert response.headers["Cache-Control"] == "max-age=60"
    assert response.headers["Vary"] == "Accept"
    assert response.headers["X-Correlation-ID"] == publisher.published[0].correlation_id


@pytest.mark.parametrize("status", [301, 404, 500])
def test_a_condition_does_not_concern_an_error(client_of, reply_with, status):
    reply_with(status, etag=TAG)

    assert client_of().get("/a/b", headers={"If-None-Match": TAG}).status_code == status


def test_a_condition_does_not_concern_another_method(client_of, reply_with):
    reply_with(etag=TAG)
    client = client_of(methods=("GET", "POST"))

    assert client.post("/a/b", headers={"If-None-Match": TAG}).status_code == 200


def test_a_304_of_the_responder_is_passed_on(client_of, reply_with, publisher):
    reply_with(304, b"", etag=TAG)
    client = client_of(headers=("If-None-Match",))
    response = client.get("/a/b", headers={"If-None-Match": TAG})

    assert (response.status_code, response.data) == (304, b"")
    assert publisher.published[0].header("if-none-match") == TAG


def test_an_if_match_that_does_not_match_is_a_412(client_of, reply_with):
    reply_with(etag=TAG)
    client = client_of()

    assert client.get("/a/b", headers={"If-Match": TAG}).data == b"hello"
    problem = assert_problem(client.get("/a/b", headers={"If-Match": '"6"'}), 412, None, "yes")
    assert "another ETag than If-Match" in problem["detail"]


@pytest.mark.parametrize(
    ("reply", "date"),
    [({"etag": TAG}, {"If-Modified-Since": NEVER}), (BOTH | {"last-modified": NEVER}, {})],
)
def test_a_date_that_no_clock_can_have_changes_no_other_condition(
    client_of, reply_with, reply, date
):
    reply_with(**reply)
    client = client_of()
    same = client.get("/a/b", headers={"If-None-Match": TAG} | date)
    other = client.get("/a/b", headers={"If-Match": '"6"'} | date)

    whole = client.get("/a/b", headers=date)

    assert (same.status_code, other.status_code, whole.status_code) == (304, 412, 200)
    assert whole.headers.get("Last-Modified") == reply.get("last-modified")


def test_a_route_without_get_allows_neither_get_nor_head(client_of):
    client = client_of(methods=("POST",))

    assert client.get("/a/b").status_code == client.head("/a/b").status_code == 405
    allowed = client_of().post("/a/b").headers["Allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "OPTIONS"}
