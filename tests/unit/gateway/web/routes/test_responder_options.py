"""Options of a route about its responder, as clients and responders see them."""

import gzip
from dataclasses import replace

import pytest

from gateway.routing.schema import BodySchema
from gateway.routing.table import Route
from rendezvous.contract import Reply, Request
from tests.unit.apps import new_app


@pytest.fixture
def client_of(poller, publisher, redis):
    """Return a function that makes a client of a gateway with one route."""

    def build(**options):
        return new_app([Route("/a", "topic", **options)], poller, publisher, redis).test_client()

    return build


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"body": b"{}"}, ["application/json"]),
        ({"body": b"{}", "status": 422}, ["application/json"]),
        ({"body": b"a", "content_type": "text/plain"}, ["text/plain"]),
        ({"body": b"a", "content_type": ""}, ["application/json"]),
        ({"body": b""}, []),
        ({"status": 204}, []),
    ],
)
def test_a_reply_with_a_body_and_no_type_gets_that_of_the_route(
    client_of, publisher, reply, expected
):
    publisher.responder = lambda request: Reply.to(request, **reply)

    response = client_of(reply_content_type="application/json").post("/a")

    assert response.headers.getlist("Content-Type") == expected
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_route_sets_the_content_type_of_records(client_of, publisher):
    client = client_of(content_type="application/json")
    client.post("/a", data=b"{}", content_type="application/x-www-form-urlencoded")
    client.post("/a", data=b"{}")

    assert [request.content_type for request in publisher.published] == ["application/json"] * 2


def test_a_record_without_a_key(client_of, publisher):
    client_of(key="none").post("/a", data=b"x")
    client_of().post("/a", data=b"x")

    assert [request.encode()[0] is None for request in publisher.published] == [True, False]
    assert [request.key for request in publisher.published] == [None, None]  # any partition


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "APPLICATION/JSON; charset=utf-8", "application/problem+json"],
)
@pytest.mark.parametrize("body", [b"{}", b"null", b" 7 ", '"é"'.encode(), b"9" * 900])
def test_json_is_published_unchanged(client_of, publisher, content_type, body):
    client = client_of(body="json")

    assert client.post("/a", data=body, content_type=content_type).status_code == 200
    assert [request.body for request in publisher.published] == [body]


@pytest.mark.parametrize(
    "body", [b"", b"a=1", b"{", b"\xff", b'"\xe9"', b"NaN", b"[" * 990, b"{} {}", b"\xef\xbb\xbf{}"]
)
def test_a_body_that_is_not_json_is_refused(client_of, publisher, body):
    response = client_of(body="json").post("/a", data=body, content_type="application/json")

    assert response.status_code == 400
    problem = response.get_json(force=True)
    assert (problem["type"], problem["sent"]) == ("/problems/invalid-body", "no")
    assert problem["detail"] == "the route /a takes JSON; see faults"
    assert problem["faults"][0]["path"] == ""
    assert publisher.published == []


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", "application/jsonp", "x"]
)
@pytest.mark.parametrize("schema", [None, BodySchema(True)])
def test_another_content_type_than_json_is_refused(client_of, publisher, content_type, schema):
    client = client_of(body="json", schema=schema)
    response = client.post("/a", data=b"{}", content_type=content_type)

    assert response.status_code == 415
    problem = response.get_json(force=True)
    assert (problem["title"], problem["sent"]) == ("Unsupported Media Type", "no")
    assert f"the Content-Type is '{content_type}'; send application/json" in problem["detail"]
    assert publisher.published == []


def test_the_encoding_of_a_body_travels_with_it(client_of, publisher):
    body = gzip.compress(b"hello")
    for options in ({}, {"headers": ("Content-Encoding",)}):
        client_of(**options).post("/a", data=body, headers={"Content-Encoding": "gzip"})

    assert [request.body for request in publisher.published] == [body, body]
    assert [request.headers for request in publisher.published] == [
        (("content-encoding", "gzip"),),
        (("content-encoding", "gzip"),),
    ]


@pytest.mark.parametrize("options", [{"body": "json"}, {"schema": BodySchema(True)}])
def test_a_compressed_body_cannot_be_validated(client_of, publisher, options):
    client = client_of(**options)
    arguments = {"data": b"{}", "content_type": "application/json"}
    refused = client.post("/a", **arguments, headers={"Content-Encoding": "gzip"})
    taken = client.post("/a", **arguments, headers={"Content-Encoding": "identity"})

    assert (refused.status_code, taken.status_code) == (415, 200)
    assert refused.headers["Accept-Encoding"] == "identity"
    assert "send the body without one" in refused.get_json(force=True)["detail"]
    assert len(publisher.published) == 1


def test_where_the_last_value_is_the_reply_those_before_are_none(client_of, publisher, ids):
    client_of(replies="last").post("/a")
    client_of().post("/a")

    stream, single = publisher.published
    assert [ids.read(r.correlation_id).is_stream for r in (stream, single)] == [True, False]
    # One partition keeps the values in order; digits are what NestJS reads.
    assert dict(stream.encode()[2])["kafka_replyPartition"] == b"0"
    assert "kafka_replyPartition" not in dict(single.encode()[2])
    in_partition = replace(stream, reply_partition=7)
    assert dict(in_partition.encode()[2])["kafka_replyPartition"] == b"7"


@pytest.mark.parametrize(
    ("partition", "expected"), [(0, b"\0\0\0\0"), (127, b"\0\0\0\x7f"), (128, None), (None, None)]
)
def test_quarkus_reads_the_reply_partition_in_four_bytes(client_of, publisher, partition, expected):
    client_of(reply_partition="quarkus").post("/a")
    client_of().post("/a")

    quarkus, other = (replace(r, reply_partition=partition) for r in publisher.published)
    assert dict(quarkus.encode()[2]).get("REPLY_PARTITION") == expected
    assert "REPLY_PARTITION" not in dict(other.encode()[2])
    received = Request.decode("topic", None, b"", quarkus.encode()[2])
    assert received.reply_partition == partition
