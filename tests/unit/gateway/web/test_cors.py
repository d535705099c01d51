"""CORS: listed origins may use the gateway, others may not."""

import pytest

from gateway.clients.api_keys import ApiKeys, hash_of, new_key
from gateway.clients.client import Client
from gateway.routing.table import Route
from rendezvous.contract import Reply
from tests.fakes import raising

LISTED, OTHER = "https://app.example.org", "https://elsewhere.example.org"
ROUTES = (
    Route("/echo", "echo"),
    Route("/orders/<order_id>", "orders", ("PUT", "DELETE"), headers=("X-Tenant", "Prefer")),
    Route("/keyed", "keyed", ("POST",), "header:X-Key"),
)


@pytest.fixture
def client(new_app):
    return new_app(ROUTES, cors_origins=(LISTED, "http://localhost:3000")).test_client()


@pytest.fixture
def open_client(new_app):
    return new_app(ROUTES, cors_origins=("*",)).test_client()


def cors_headers(response):
    return {name for name, _ in response.headers if name.startswith("Access-Control-")}


def items(value):
    return {item.strip() for item in value.split(",")}


def preflight(client, path="/echo", method="POST", origin=LISTED, **headers):
    base = {"Origin": origin, "Access-Control-Request-Method": method}
    return client.options(path, headers=base | headers)


def test_without_origins_there_are_no_cors_headers(new_app):
    client = new_app().test_client()

    response = client.post("/echo", headers={"Origin": LISTED})

    assert cors_headers(response) == cors_headers(preflight(client)) == set()
    assert "Vary" not in response.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/echo", 200), ("POST", "/nowhere", 404), ("GET", "/echo", 405),
     ("GET", "/replies/x", 404), ("GET", "/livez", 200), ("GET", "/problems", 200)],
)  # fmt: skip
def test_a_listed_origin_may_read_all_responses(client, method, path, status):
    response = client.open(path, method=method, headers={"Origin": LISTED})

    assert response.status_code == status
    assert response.headers.getlist("Access-Control-Allow-Origin") == [LISTED]
    assert items(response.headers["Access-Control-Expose-Headers"]) == {
        "ETag", "X-Correlation-ID", "X-Request-ID", "Location", "Retry-After", "WWW-Authenticate",
        "Preference-Applied",
        "Idempotent-Replayed", "RateLimit", "RateLimit-Policy",
    }  # fmt: skip


def test_a_listed_origin_may_read_a_500(client, publisher):
    publisher.responder = raising(RuntimeError())
    response = client.post("/echo", headers={"Origin": LISTED})

    assert response.status_code == 500
    assert response.headers["Access-Control-Allow-Origin"] == LISTED


@pytest.mark.parametrize(
    "origin",
    [OTHER, "null", "", LISTED.upper(), LISTED + "/", LISTED + ".evil", f"{LISTED},{OTHER}"],
)
def test_another_origin_may_read_nothing(client, origin):
    response = client.post("/echo", headers={"Origin": origin})

    assert response.status_code == 200
    assert cors_headers(response) == set()


@pytest.mark.parametrize("headers", [{}, {"Origin": LISTED}, {"Origin": OTHER}])
def test_every_response_varies_by_origin(client, headers):
    response = client.get("/problems", headers=headers)

    assert items(",".join(response.headers.getlist("Vary"))) == {"Accept", "Origin"}


def test_the_vary_headers_of_a_reply_are_kept(client, publisher):
    publisher.responder = lambda request: Reply.to(
        request, headers=[("vary", "X-A"), ("vary", "X-B")]
    )
    response = client.post("/echo", headers={"Origin": LISTED, "Prefer": "wait=1"})

    varies = items(",".join(response.headers.getlist("Vary")))
    assert varies == {"X-A", "X-B", "Origin", "Prefer"}


@pytest.mark.parametrize("headers", [{}, {"Origin": OTHER}])
def test_with_a_star_every_origin_is_allowed_without_vary(open_client, headers):
    response = open_client.post("/echo", headers=headers)

    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Origin" not in ",".join(response.headers.getlist("Vary"))


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/echo", {"POST"}), ("/orders/7", {"PUT", "DELETE"}), ("/keyed", {"POST"}),
     ("/replies/x", {"GET", "HEAD"}), ("/livez", {"GET", "HEAD"})],
)  # fmt: skip
def test_a_preflight_lists_the_methods_of_the_path(client, path, methods):
    response = preflight(client, path, "PUT")

    assert response.status_code == 204
    assert response.data == b""
    assert response.headers["Access-Control-Allow-Origin"] == LISTED
    assert items(response.headers["Access-Control-Allow-Methods"]) >= methods
    assert "PATCH" not in response.headers["Access-Control-Allow-Methods"]
    assert 0 < int(response.headers["Access-Control-Max-Age"]) <= 3_600


def test_a_preflight_lists_each_allowed_header_once(client):
    response = preflight(client, **{"Access-Control-Request-Headers": "x-anything"})

    assert sorted(response.headers["Access-Control-Allow-Headers"].split(", ")) == sorted(
        ["Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key",
         "If-Modified-Since", "If-None-Match", "Prefer", "X-Request-ID",
         "traceparent", "tracestate", "X-Tenant", "X-Key"]
    )  # fmt: skip


def test_a_preflight_of_another_origin_gets_no_cors_headers(client):
    response = preflight(client, origin=OTHER)

    assert response.status_code == 204
    assert cors_headers(response) == set()


def test_a_preflight_for_an_unknown_path_is_a_404(client):
    assert preflight(client, "/nowhere").status_code == 404


def test_a_preflight_publishes_nothing(client, publisher):
    preflight(client)

    assert publisher.published == []


def test_options_that_is_no_preflight_lists_the_methods(client):
    response = client.options("/echo", headers={"Origin": LISTED})

    assert response.status_code == 200
    assert items(response.headers["Allow"]) == {"POST", "OPTIONS"}


def test_a_preflight_needs_no_key_and_a_401_can_be_read(new_app):
    api_keys = ApiKeys([(hash_of(new_key()), Client("shop"))])
    client = new_app(ROUTES, cors_origins=(LISTED,), api_keys=api_keys).test_client()

    allowed = preflight(client)
    refused = client.post("/echo", headers={"Origin": LISTED})

    assert allowed.status_code == 204
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == LISTED


def test_cookies_are_never_allowed(client, open_client):
    for response in (preflight(client), preflight(open_client), client.post("/echo")):
        assert "Access-Control-Allow-Credentials" not in response.headers
