"""
Redis hangs or is killed: no reply is lost.

A gateway that gets its replies from Redis answers new requests with 503. One that gets them
straight from Kafka does so for requests with an idempotency key only.
"""

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.deployment import Deploy, Deployment, Gateway, Response
from tests.support.records import correlation_ids, records_of
from tests.support.reply_topic import ReplyTopic, fetched
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

LIMIT_S = 10.0
TIMEOUT_S = 3.0
SHORT_HANG_S = 1.5
CLIENTS = 8


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Server]:
    """A Redis for these tests alone, which kill it."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    """A gateway that gets its replies from Redis, and one that gets them straight from Kafka."""
    env = {
        "REPLY_TIMEOUT_S": str(TIMEOUT_S),
        "WEB_CONCURRENCY": "1",
        "REPLY_DELIVERY": "store",
    }
    with deploy_for_module(env=env) as deployment:
        deployment.start_gateway(REPLY_DELIVERY="direct")
        deployment.wait_until_ready()
        yield deployment


@pytest.fixture
def direct(deployment: Deployment) -> Gateway:
    """The gateway that gets its replies straight from Kafka, ready."""
    gateway = deployment.all_gateways[1]
    assert wait_until(lambda: is_ready_without_warnings(gateway), LIMIT_S)
    return gateway


def is_ready_without_warnings(gateway: Gateway) -> bool:
    response = gateway.get("/readyz")
    return response.status == 200 and response.json["warnings"] == []


def check_answered_without_redis(gateway: Gateway, cause: str, lasting_s: float) -> None:
    """Check responses and /readyz of *gateway*, which needs no Redis for plain requests."""
    assert wait_until(lambda: cause in str(gateway.get("/readyz").json["warnings"]), 2)
    until_s = time.monotonic() + lasting_s
    plain: list[Response] = []
    while time.monotonic() < until_s or not plain:
        plain.append(gateway.post("/echo", b"plain"))
        ready = gateway.get("/readyz")
        assert ready.status == 200
        assert cause in str(ready.json["warnings"])
        assert ready.elapsed_s < 1
        time.sleep(0.1)
    keyed = gateway.post("/echo", b"keyed", Idempotency_Key=secrets.token_hex(8))
    deferred = gateway.post("/echo", b"later", Prefer="respond-async")
    fetched_late = gateway.get(f"/replies/{plain[0].correlation_id}")

    assert {(response.status, response.body) for response in plain} == {(200, b"plain")}
    assert max(response.elapsed_s for response in plain) < TIMEOUT_S
    for refused in (keyed, deferred):
        assert (refused.status, refused.json["type"]) == (503, "/problems/reply-store-unavailable")
        assert refused.json["sent"] == "no"
        assert refused.elapsed_s < 1
    assert (fetched_late.status, fetched_late.json["type"]) == (
        503,
        "/problems/reply-store-unavailable",
    )


def check_all_as_before(gateway: Gateway) -> None:
    """Check that *gateway* uses Redis again."""
    assert wait_until(lambda: is_ready_without_warnings(gateway), LIMIT_S)
    key = secrets.token_hex(8)
    first, again = (gateway.post("/echo", b"back", Idempotency_Key=key) for _ in range(2))
    assert (first.body, again.body) == (b"back", b"back")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert fetched(gateway, {first.correlation_id: b"back"}) == {first.correlation_id: b"back"}


def test_requests_are_answered_straight_while_redis_hangs(deployment: Deployment, direct: Gateway):
    deployment.redis.pause()
    try:
        check_answered_without_redis(direct, "Redis does not answer", TIMEOUT_S + 0.5)
    finally:
        deployment.redis.resume()
    check_all_as_before(direct)


def test_requests_are_answered_straight_while_redis_is_killed(
    deployment: Deployment, direct: Gateway
):
    deployment.redis.kill()
    try:
        check_answered_without_redis(direct, "Redis cannot be reached", TIMEOUT_S + 0.5)
    finally:
        deployment.redis.start()
    check_all_as_before(direct)


def test_a_timeout_while_redis_is_killed_is_told_as_sent(deployment: Deployment, direct: Gateway):
    slow = json.dumps({"item": "tea", "quantity": 1, "delay_s": TIMEOUT_S + 1}).encode()
    deployment.redis.kill()
    try:
        late = direct.post("/orders", slow)
        published = correlation_ids(deployment, "orders")
    finally:
        deployment.redis.start()

    assert late.status == 503
    assert late.json["sent"] == "yes"
    assert late.correlation_id in published
    assert late.elapsed_s < TIMEOUT_S + 1
    assert wait_until(lambda: direct.get(late.json["status_url"]).status == 201, LIMIT_S)


def test_a_short_hang_fails_no_pending_request(deployment: Deployment):
    order = json.dumps({"item": "tea", "quantity": 1, "delay_s": 0.5}).encode()
    before = len(records_of(deployment, "orders"))
    with ThreadPoolExecutor(CLIENTS) as clients:
        waiting = [
            clients.submit(deployment.gateway.post, "/orders", order) for _ in range(CLIENTS)
        ]
        assert wait_until(
            lambda: len(records_of(deployment, "orders")) == before + CLIENTS, LIMIT_S, 0.01
        )
        deployment.redis.pause()
        time.sleep(SHORT_HANG_S)
        deployment.redis.resume()
        responses = [future.result() for future in waiting]

    assert Counter(response.status for response in responses) == {201: CLIENTS}
    assert min(response.elapsed_s for response in responses) > SHORT_HANG_S


def test_a_hang_rejects_new_requests_at_once_and_pending_ones_at_their_deadline(
    deployment: Deployment,
):
    check_hang(deployment, lasting_s=TIMEOUT_S + 0.5)


def check_hang(deployment: Deployment, lasting_s: float) -> None:
    """Suspend Redis for *lasting_s*; check responses, probes and the log."""
    gateway = deployment.gateway
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
    logged = len(gateway.logged())
    with ThreadPoolExecutor(1) as clients:
        deployment.redis.pause()
        paused_s = time.monotonic()
        try:
            waiting = clients.submit(gateway.post, "/echo", b"pending")
            # Requests before the first failed poll are pending as well.
            assert wait_until(lambda: "requests wait" in gateway.logged()[logged:], 1)
            assert wait_until(lambda: gateway.get("/readyz").status == 503, 2)
            rejected: list[Response] = []
            while time.monotonic() < paused_s + lasting_s:
                rejected.append(gateway.post("/echo", b"new"))
                assert gateway.get("/livez").status == 200
                ready = gateway.get("/readyz")
                assert ready.status == 503
                assert "Redis does not answer" in str(ready.json["problems"])
                assert ready.elapsed_s < 1
                time.sleep(0.1)
            late = waiting.result()
        finally:
            deployment.redis.resume()
    assert wait_until(lambda: gateway.post("/echo", b"back").status == 200, 1)
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)

    assert len(rejected) > 1
    for response in rejected:
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert response.json["sent"] == "no"
        assert response.elapsed_s < 1
    assert (late.status, late.json["type"]) == (503, "/problems/reply-store-unavailable")
    assert late.json["sent"] == "yes"
    assert late.elapsed_s < TIMEOUT_S + 1
    # It was handled, and its reply can be fetched now.
    assert wait_until(lambda: gateway.get(late.json["status_url"]).body == b"pending", LIMIT_S)


def test_a_redis_that_is_killed_and_restarted_empty_causes_503s_and_loses_no_reply(
    deployment: Deployment,
):
    gateway = deployment.gateway
    with ReplyTopic(deployment) as topic:
        committed = topic.wait_until_committed()
        deployment.redis.kill()
        replies = topic.put_many(50)
        first = gateway.post("/echo", b"sent during the outage")
        rejected = gateway.post("/echo", b"rejected")
        assert wait_until(lambda: "cannot be reached" in gateway.get("/readyz").body.decode(), 2)
        assert topic.committed() == committed
        deployment.redis.start()

        assert wait_until(lambda: gateway.post("/echo", b"back").status == 200, 1)
        replies[first.correlation_id] = b"sent during the outage"
        assert wait_until(lambda: fetched(gateway, replies) == replies, LIMIT_S)
        topic.wait_until_committed()

    for response, sent in ((first, "yes"), (rejected, "no")):
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert "cannot be reached: start it" in response.json["detail"]
        assert response.json["sent"] == sent
    assert rejected.elapsed_s < 1
    assert {process.child.returncode for process in deployment.processes} == {None}


def test_requests_with_an_idempotency_key_are_not_published_without_redis(deployment: Deployment):
    gateway = deployment.gateway
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
    before = len(records_of(deployment, "echo"))
    deployment.redis.kill()
    rejected = [gateway.post("/echo", b"once", Idempotency_Key="k") for _ in range(3)]
    published = len(records_of(deployment, "echo")) - before
    deployment.redis.start()

    # After `sent: no` a client repeats its request with the same key.
    assert wait_until(
        lambda: gateway.post("/echo", b"once", Idempotency_Key="k").body == b"once", LIMIT_S
    )
    assert published == 0
    for response in rejected:
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert response.json["sent"] == "no"
        assert response.elapsed_s < 1
    assert len(records_of(deployment, "echo")) - before == 1


def test_a_short_hang_leaves_no_claim_for_a_request_that_was_not_published(deployment: Deployment):
    gateway = deployment.gateway
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
    deployment.redis.pause()
    try:
        rejected = gateway.post("/echo", b"again", Idempotency_Key="hangs")
    finally:
        deployment.redis.resume()

    assert rejected.json["sent"] == "no"
    # Redis reads the claim from its socket afterwards; it must be released.
    assert wait_until(
        lambda: gateway.post("/echo", b"again", Idempotency_Key="hangs").status == 200, LIMIT_S
    )
