"""What a route says of its requests and replies beyond path and topic, as a client sees it."""

import json

import pytest

from gateway.routing.schema import BodySchema
from gateway.routing.table import Route
from rendezvous.contract import Reply
from rendezvous.reply_headers import LISTED_REPLY_HEADERS
from tests.unit.apps import new_app

MAX_BODY_BYTES = 1_000
ORDER = {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}


@pytest.fixture
def client_of(mailbox, publisher, redis):
    """Return a client of a gateway with that one route, and the publisher behind it."""

    def build(reply_timeout_s=10.0, **options):
        route = Route("/a", "topic", **options)
        app = new_app(
            [route],
            mailbox,
            publisher,
            redis,
            reply_timeout_s=reply_timeout_s,
            max_body_bytes=MAX_BODY_BYTES,
        )
        return app.test_client()

    return build


def test_a_body_that_fits_the_schema_is_published_as_it_is(client_of, publisher):
    body = b' {"item":\n "t\\u0065a"} '

    assert client_of(schema=BodySchema(ORDER)).post("/a", data=body).status_code == 200
    assert [request.body for request in publisher.published] == [body]


def test_a_body_that_does_not_fit_is_refused_with_its_faults_and_not_published(
    client_of, publisher
):
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
def test_a_body_that_is_not_json_is_refused_where_there_is_a_schema(client_of, publisher, body):
    response = client_of(schema=BodySchema(ORDER)).post("/a", data=body)

    assert response.status_code == 400
    assert [fault["path"] for fault in response.get_json(force=True)["faults"]] == [""]
    assert publisher.published == []


def test_a_body_that_is_too_large_is_not_held_against_the_schema(client_of):
    client = client_of(schema=BodySchema(ORDER), max_body_bytes=10)

    assert client.post("/a", data=b"x" * 11).status_code == 413


@pytest.mark.parametrize("size", [11, MAX_BODY_BYTES, MAX_BODY_BYTES + 1])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_route_may_take_less_than_the_gateway(client_of, publisher, size, is_chunked):
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


def test_a_body_of_just_the_size_that_the_route_takes_is_taken(client_of):
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


def test_headers_that_must_be_listed_stay_here_unless_they_are(client_of, publisher):
    publisher.answer = reply_with_all_headers

    response = client_of().post("/a")

    assert listed_in(response) == []
    assert response.headers["ETag"] == '"7"'


def test_headers_that_the_route_lists_reach_the_client_each_of_them(client_of, publisher):
    publisher.answer = reply_with_all_headers

    response = client_of(response_headers=("set-cookie", "www-authenticate")).post("/a")

    assert listed_in(response) == [
        ("set-cookie", "one"),
        ("set-cookie", "two"),
        ("www-authenticate", "one"),
    ]


def test_the_status_resource_knows_no_route_and_hands_out_no_such_header(client_of, publisher):
    publisher.answer = reply_with_all_headers
    client = client_of(response_headers=("set-cookie",))
    correlation_id = client.post("/a").headers["X-Correlation-ID"]

    response = client.get(f"/replies/{correlation_id}")

    assert response.headers["ETag"] == '"7"'
    assert listed_in(response) == []


def test_a_route_has_its_own_timeout(client_of, publisher):
    publisher.answer = lambda request: None

    response = client_of(reply_timeout_s=10.0, timeout_s=0.1).post("/a")

    assert response.status_code == 503
    assert "within 0.1 s" in json.loads(response.data)["detail"]


def test_a_client_may_not_wait_longer_than_the_route_lets_it(client_of, publisher):
    publisher.answer = lambda request: None

    response = client_of(reply_timeout_s=0.1, max_timeout_s=0.3).post(
        "/a", headers={"Prefer": "wait=20"}
    )

    assert "within 0.3 s" in json.loads(response.data)["detail"]
