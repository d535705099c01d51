"""The options of a route, as a client sees them."""

import json

import pytest

from gateway.routing.schema import MAX_VALIDATED_BYTES, BodySchema
from gateway.routing.table import Route, RoutesError, load_routes
from rendezvous.contract import Reply
from rendezvous.reply_headers import LISTED_REPLY_HEADERS
from tests.unit.apps import new_app

MAX_BODY_BYTES = 1_000
ORDER = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}


@pytest.fixture
def client_of(poller, publisher, redis):
    """Return a function that makes a client of a gateway with one route."""

    def build(reply_timeout_s=10.0, gateway_max_body_bytes=MAX_BODY_BYTES, **options):
        limits = {"reply_timeout_s": reply_timeout_s, "max_body_bytes": gateway_max_body_bytes}
        routes = [Route("/a", "topic", **options)]
        return new_app(routes, poller, publisher, redis, **limits).test_client()

    return build


def test_a_valid_body_is_published_unchanged(client_of, publisher):
    body = b' {"item":\n "t\\u0065a"} '

    assert client_of(schema=BodySchema(ORDER)).post("/a", data=body).status_code == 200
    assert [request.body for request in publisher.published] == [body]


def test_an_invalid_body_is_rejected_with_its_faults_and_not_published(client_of, publisher):
    response = client_of(schema=BodySchema(ORDER)).post("/a", data=b'{"item": 7}')

    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    problem = response.get_json(force=True)
    assert problem["type"] == "/problems/invalid-body"
    assert problem["sent"] == "no"
    assert problem["faults"] == [{"path": "/item", "fault": 'expected the type "string"'}]
    assert "/a" in problem["detail"]
    assert publisher.published == []


@pytest.mark.parametrize("body", [b"", b"item=tea", b"\xff", b"[" * 900 + b"]" * 100])
def test_a_body_that_is_not_json_is_rejected_if_the_route_has_a_schema(client_of, publisher, body):
    response = client_of(schema=BodySchema(ORDER)).post("/a", data=body)

    assert response.status_code == 400
    assert [fault["path"] for fault in response.get_json(force=True)["faults"]] == [""]
    assert publisher.published == []


def test_a_body_that_is_too_large_is_not_validated(client_of):
    client = client_of(schema=BodySchema(ORDER), max_body_bytes=10)

    assert client.post("/a", data=b"x" * 11).status_code == 413


def test_a_body_that_is_validated_has_a_smaller_limit_unless_its_route_sets_one(client_of):
    body = json.dumps("x" * MAX_VALIDATED_BYTES).encode()
    options = {"schema": BodySchema(True), "gateway_max_body_bytes": 900_000}
    refused = client_of(**options).post("/a", data=body)

    assert refused.status_code == 413
    detail = refused.get_json(force=True)["detail"]
    assert "the 100000 bytes of the route /a, which validates bodies" in detail
    assert client_of(**options, max_body_bytes=len(body)).post("/a", data=body).status_code == 200
    assert client_of(gateway_max_body_bytes=900_000).post("/a", data=body).status_code == 200


def test_a_route_without_idempotency_publishes_each_request(client_of, publisher):
    client = client_of(idempotency="off", headers=("Idempotency-Key",))
    for key in ("k", "k", '"malformed'):
        response = client.post("/a", headers={"Idempotency-Key": key})
        assert (response.status_code, "Idempotent-Replayed" in response.headers) == (200, False)

    assert [request.header("idempotency-key") for request in publisher.published] == [
        "k", "k", '"malformed',
    ]  # fmt: skip


@pytest.mark.parametrize("size", [11, MAX_BODY_BYTES, MAX_BODY_BYTES + 1])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_route_may_have_a_smaller_body_limit(client_of, publisher, size, is_chunked):
    headers = {"Transfer-Encoding": "chunked"} if is_chunked else {}
    client = client_of(max_body_bytes=10)

    response = client.post(
        "/a", data=b"x" * size, headers=headers, environ_overrides={"wsgi.input_terminated": True}
    )

    assert response.status_code == 413
    problem = response.get_json(force=True)
    assert (problem["type"], problem["sent"]) == ("/problems/too-large", "no")
    assert "10 bytes of the route /a" in problem["detail"]
    assert publisher.published == []


def test_a_body_of_exactly_the_limit_is_accepted(client_of):
    assert client_of(max_body_bytes=10).post("/a", data=b"x" * 10).status_code == 200


def reply_with_all_headers(request):
    headers = [(name, "one") for name in sorted(LISTED_REPLY_HEADERS)]
    return Reply.to(request, b"", headers=[*headers, ("set-cookie", "two"), ("etag", '"7"')])


def listed_in(response):
    return sorted(
        (name.lower(), value)
        for name, value in response.headers
        if name.lower() in LISTED_REPLY_HEADERS
    )


def test_reply_headers_that_need_listing_are_dropped_by_default(client_of, publisher):
    publisher.responder = reply_with_all_headers

    response = client_of().post("/a")

    assert listed_in(response) == []
    assert response.headers["ETag"] == '"7"'


def test_each_listed_reply_header_reaches_the_client(client_of, publisher):
    publisher.responder = reply_with_all_headers

    response = client_of(response_headers=("set-cookie", "www-authenticate")).post("/a")

    assert listed_in(response) == [
        ("set-cookie", "one"),
        ("set-cookie", "two"),
        ("www-authenticate", "one"),
    ]


def test_the_status_resource_drops_reply_headers_that_need_listing(client_of, publisher):
    publisher.responder = reply_with_all_headers
    client = client_of(response_headers=("set-cookie",))
    correlation_id = client.post("/a").headers["X-Correlation-ID"]

    response = client.get(f"/replies/{correlation_id}")

    assert response.headers["ETag"] == '"7"'
    assert listed_in(response) == [("content-security-policy", "sandbox; default-src 'none'")]


#: One header of each proxy, and spellings of them.
COMMANDS = (
    "x-accel-redirect", "X-Accel-Buffering", "x-sendfile", "X-SENDFILE-TEMPORARY",
    "x-lighttpd-send-file", "x-litespeed-location", "x-litespeed-purge", "x-reproxy-url",
    "x-reproxy-file", "x-envoy-immediate-health-check-fail", "x-appengine-blobkey",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_no_reply_commands_the_proxy_in_front(client_of, publisher, name):
    publisher.responder = lambda request: Reply.to(
        request, b"", headers=[(name.lower(), "/etc/passwd"), ("x-account", "7")]
    )
    client = client_of()

    on_route = client.post("/a")
    fetched = client.get(f"/replies/{on_route.headers['X-Correlation-ID']}")

    for response in (on_route, fetched):
        assert response.status_code == 200
        assert response.headers["X-Account"] == "7"
        assert name not in response.headers
        assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_route_may_list_a_command_to_the_proxy(tmp_path, name):
    file = tmp_path / "routes.toml"
    file.write_text(f'[[route]]\npath="/a"\ntopic="t"\nresponse_headers=["{name}"]\n')

    with pytest.raises(RoutesError, match="may not be listed"):
        load_routes(file)


def test_a_route_may_have_its_own_timeout(client_of, publisher):
    publisher.responder = lambda request: None

    response = client_of(reply_timeout_s=10.0, timeout_s=0.1).post("/a")

    assert response.status_code == 503
    assert "within 0.1 s" in json.loads(response.data)["detail"]


def test_the_wait_of_a_client_is_limited_by_the_route(client_of, publisher):
    publisher.responder = lambda request: None

    response = client_of(reply_timeout_s=0.1, max_timeout_s=0.3).post(
        "/a", headers={"Prefer": "wait=20"}
    )

    assert "within 0.3 s" in json.loads(response.data)["detail"]
