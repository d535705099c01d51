"""Kept replies above a limit of bytes: new keys are refused, unpublished; earlier keys work."""

from typing import Any

import pytest

from gateway.routing.table import Route
from rendezvous.contract import Reply
from rendezvous.redis_store.kept_replies import BYTES_PER_KEY
from tests.unit.apps import new_app
from tests.unit.gateway.web.routes.gateway import assert_problem

LIMIT = 50_000
ROUTES = (Route("/a", "topic"), Route("/off", "topic", idempotency="off"))


@pytest.mark.parametrize(
    ("setting", "status"),
    [("idempotency_client_max_bytes", 429), ("idempotency_max_bytes", 503)],
)
def test_a_new_key_above_the_limit_is_refused_unpublished(
    poller, publisher, redis, setting, status
):
    publisher.responder = lambda request: Reply.to(request, bytes(LIMIT))
    changes: dict[str, Any] = {setting: LIMIT}
    client = new_app(ROUTES, poller, publisher, redis, **changes).test_client()
    first = client.post("/a", headers={"Idempotency-Key": "one"})
    refused = [client.post("/a", headers={"Idempotency-Key": key}) for key in ("two", "two")]
    replayed = client.post("/a", headers={"Idempotency-Key": "one"})
    published = len(publisher.published)

    assert (first.status_code, published) == (200, 1)
    for response in refused:
        problem = assert_problem(response, status, "kept-replies-full", "no")
        assert f"have reached {LIMIT} bytes" in problem["detail"]
        assert int(response.headers["Retry-After"]) >= 60
    assert replayed.headers["Idempotent-Replayed"] == "true"
    assert client.post("/a").status_code == 200
    assert client.post("/off", headers={"Idempotency-Key": "three"}).status_code == 200


def test_refused_requests_do_not_count(redis, poller, publisher):
    publisher.responder = lambda request: Reply.to(request)
    changes: dict[str, Any] = {"idempotency_client_max_bytes": BYTES_PER_KEY}
    client = new_app(ROUTES, poller, publisher, redis, **changes).test_client()
    for key in "abc":
        client.post("/a", headers={"Idempotency-Key": key})
    counted = sorted(int(redis.get(key)) for key in redis.keys("kept:{*"))

    assert len(publisher.published) == 1
    assert BYTES_PER_KEY < counted[0] == counted[1] < 2 * BYTES_PER_KEY
