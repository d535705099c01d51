"""A responder that replies late, twice, in two partitions, or differently."""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.brokers import on_apache_kafka
from tests.support.deployment import NO_REDIS_ENV, NO_REPLIES, Deploy, Deployment, Gateway, Response
from tests.support.scripted_responder import (
    Headers,
    Script,
    ScriptedResponder,
    correlation_id,
    reply_partition,
)
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.faults, on_apache_kafka]

TIMEOUT_S = 3.0
LATE_S = TIMEOUT_S + 1
AGAIN_S = 0.3
LIMIT_S = 20.0
PARTITIONS = 4
ROUNDS = 20


@pytest.fixture(scope="module", params=[True, False], ids=["redis", "no-redis"])
def deployment(request: pytest.FixtureRequest, deploy_for_module: Deploy) -> Iterator[Deployment]:
    env = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "WEB_CONCURRENCY": "1"}
    options: dict[str, Any] = {"gateways": 2, "partitions": PARTITIONS, "responders": 0}
    if not request.param:
        env |= NO_REDIS_ENV
        options["replies"] = NO_REPLIES
    with deploy_for_module(env=env, **options) as deployment:
        yield deployment


def responder(deployment: Deployment, script: Script) -> ScriptedResponder:
    """Return a responder that ignores the requests of earlier tests."""
    started_ms = time.time() * 1000

    def only_new(responder: ScriptedResponder, record: Any) -> None:
        if record.timestamp >= started_ms:
            script(responder, record)

    return ScriptedResponder.of(deployment, "echo", only_new)


def has_redis(deployment: Deployment) -> bool:
    return bool(deployment.settings.redis_url)


def headers_of(record: Any) -> Headers:
    return [("correlation-id", correlation_id(record))]


def elsewhere(record: Any) -> int:
    """Return a partition that the waiting gateway does not read."""
    return (reply_partition(record) + 1) % PARTITIONS


def reply_twice(responder: ScriptedResponder, record: Any) -> None:
    for _ in range(2):
        responder.reply(record.value, headers_of(record), reply_partition(record))


def reply_in_two_partitions(responder: ScriptedResponder, record: Any) -> None:
    for partition in (elsewhere(record), reply_partition(record), elsewhere(record)):
        responder.reply(record.value, headers_of(record), partition)


def reply_differently_straight_last(responder: ScriptedResponder, record: Any) -> None:
    responder.reply(b"A", headers_of(record), elsewhere(record))
    responder.reply(b"B", headers_of(record), reply_partition(record))


def reply_differently_straight_first(responder: ScriptedResponder, record: Any) -> None:
    responder.reply(b"B", headers_of(record), reply_partition(record))
    responder.reply(b"A", headers_of(record), elsewhere(record))


def reply_late(responder: ScriptedResponder, record: Any) -> None:
    time.sleep(LATE_S)
    responder.reply(record.value, headers_of(record), reply_partition(record))


def reply_again_late(responder: ScriptedResponder, record: Any) -> None:
    """Reply in time, and once more, differently, when the client has its response."""
    responder.reply(record.value, headers_of(record), reply_partition(record))

    def again() -> None:
        responder.reply(b"late", headers_of(record), reply_partition(record))

    threading.Timer(AGAIN_S, again).start()


def stored(gateway: Gateway, response: Response) -> Response:
    """Return the stored reply, by another gateway."""
    path = f"/replies/{response.correlation_id}"
    assert wait_until(lambda: gateway.get(path).status == 200, LIMIT_S)
    return gateway.get(path)


@pytest.mark.parametrize("script", [reply_twice, reply_in_two_partitions, reply_again_late])
def test_each_request_gets_its_reply_once(deployment: Deployment, script: Any):
    gateway, other = deployment.all_gateways
    with responder(deployment, script):
        bodies = [secrets.token_bytes(8) for _ in range(ROUNDS)]
        responses = [gateway.post("/echo", body) for body in bodies]
        assert [r.body for r in responses] == bodies
        assert {r.status for r in responses} == {200}
        if has_redis(deployment):
            assert [stored(other, r).body for r in responses] == bodies
        assert gateway.post("/echo", b"afterwards").body == b"afterwards"
        assert gateway.responds("/readyz")
        time.sleep(2 * AGAIN_S)  # until the last reply that is late


@pytest.mark.parametrize(
    "script", [reply_differently_straight_last, reply_differently_straight_first]
)
def test_of_two_different_replies_to_a_plain_request_one_is_the_response(
    deployment: Deployment, script: Any
):
    gateway, _ = deployment.all_gateways
    with responder(deployment, script):
        responses = [gateway.post("/echo", b"x") for _ in range(ROUNDS)]

    assert {(r.status, r.body) for r in responses} <= {(200, b"A"), (200, b"B")}
    if not has_redis(deployment):
        # Replies elsewhere are of no use without Redis.
        assert {r.body for r in responses} == {b"B"}


@pytest.mark.parametrize(
    "script", [reply_differently_straight_last, reply_differently_straight_first]
)
def test_of_two_different_replies_to_a_request_with_a_key_all_get_the_same(
    deployment: Deployment, script: Any
):
    if not has_redis(deployment):
        pytest.skip("there are no idempotency keys without Redis")
    gateway, other = deployment.all_gateways
    with responder(deployment, script):
        for _ in range(ROUNDS):
            key = secrets.token_hex(8)
            first = gateway.post("/echo", b"x", Idempotency_Key=key)
            again = other.post("/echo", b"x", Idempotency_Key=key)
            assert first.body in (b"A", b"B")
            assert again.headers["Idempotent-Replayed"] == "true"
            assert {again.body, stored(other, first).body} == {first.body}


def test_a_late_reply_can_be_fetched_with_redis_only(deployment: Deployment):
    gateway, other = deployment.all_gateways
    with responder(deployment, reply_late):
        late = gateway.post("/echo", b"late")
    fetched = other.get(f"/replies/{late.correlation_id}")
    if has_redis(deployment):
        fetched = stored(other, late)

    assert (late.status, late.json["type"]) == (503, "/problems/reply-timeout")
    assert late.json["sent"] == "yes"
    if has_redis(deployment):
        assert late.headers["Location"] == f"/replies/{late.correlation_id}"
        assert fetched.body == b"late"
    else:
        assert late.headers["Location"] is None
        assert fetched.status == 404
        assert "Redis" in fetched.json["detail"]
