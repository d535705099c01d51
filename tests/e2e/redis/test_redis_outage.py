"""A Redis that hangs or is gone: who comes is told at once, and who waits loses nothing to it."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deployment, Response
from tests.support.records import records_of
from tests.support.reply_topic import ReplyTopic, fetched
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    on_embedded_broker,
]

LIMIT_S = 10.0
TIMEOUT_S = 3.0
SHORT_HANG_S = 1.5
CLIENTS = 8


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Server]:
    """A Redis of our own: it is about to be killed."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    env = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "WEB_CONCURRENCY": "1"}
    folder: Path = tmp_path_factory.mktemp("redis-outage")
    with Deployment(kafka, redis_server, folder, env=env) as deployment:
        yield deployment


def test_a_short_hang_fails_nobody_who_waits(deployment: Deployment):
    order = json.dumps({"item": "tea", "quantity": 1, "delay_s": 0.5}).encode()
    with ThreadPoolExecutor(CLIENTS) as clients:
        waiting = [
            clients.submit(deployment.gateway.post, "/orders", order) for _ in range(CLIENTS)
        ]
        assert wait_until(lambda: len(records_of(deployment, "orders")) == CLIENTS, LIMIT_S, 0.01)
        deployment.redis.pause()
        time.sleep(SHORT_HANG_S)
        deployment.redis.resume()
        responses = [future.result() for future in waiting]

    assert Counter(response.status for response in responses) == {201: CLIENTS}
    assert min(response.elapsed_s for response in responses) > SHORT_HANG_S


def test_a_hang_is_told_at_once_to_who_comes_and_at_the_deadline_to_who_waits(
    deployment: Deployment,
):
    hangs(deployment, lasting_s=TIMEOUT_S + 0.5)


def hangs(deployment: Deployment, lasting_s: float) -> None:
    """Let Redis hang for *lasting_s* and see what clients, probes and the log are told."""
    gateway = deployment.gateway
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
    said = len(gateway.logged())
    with ThreadPoolExecutor(1) as clients:
        deployment.redis.pause()
        paused_s = time.monotonic()
        try:
            waiting = clients.submit(gateway.post, "/echo", b"waits")
            # Who comes before the first look has failed waits as well.
            assert wait_until(lambda: "requests wait" in gateway.logged()[said:], 1)
            assert wait_until(lambda: gateway.get("/readyz").status == 503, 2)
            refused: list[Response] = []
            while time.monotonic() < paused_s + lasting_s:
                refused.append(gateway.post("/echo", b"comes"))
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

    assert len(refused) > 1
    for response in refused:
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert response.json["sent"] == "no"
        assert response.elapsed_s < 1
    assert (late.status, late.json["type"]) == (503, "/problems/reply-store-unavailable")
    assert late.json["sent"] == "yes"
    assert late.elapsed_s < TIMEOUT_S + 1
    # It was carried out, and its reply is there now that somebody can look.
    assert wait_until(lambda: gateway.get(late.json["status_url"]).body == b"waits", LIMIT_S)


def test_a_redis_that_is_killed_and_comes_back_empty_costs_503s_and_no_reply(
    deployment: Deployment,
):
    gateway = deployment.gateway
    with ReplyTopic(deployment) as topic:
        committed = topic.wait_until_committed()
        deployment.redis.kill()
        replies = topic.put_many(50)
        first = gateway.post("/echo", b"asked when it was gone")
        refused = gateway.post("/echo", b"refused")
        assert wait_until(lambda: "cannot be reached" in gateway.get("/readyz").body.decode(), 2)
        assert topic.committed() == committed
        deployment.redis.start()

        assert wait_until(lambda: gateway.post("/echo", b"back").status == 200, 1)
        replies[first.correlation_id] = b"asked when it was gone"
        assert wait_until(lambda: fetched(gateway, replies) == replies, LIMIT_S)
        topic.wait_until_committed()

    for response, sent in ((first, "yes"), (refused, "no")):
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert "cannot be reached: start it" in response.json["detail"]
        assert response.json["sent"] == sent
    assert refused.elapsed_s < 1
    assert [process.child.returncode for process in deployment.processes] == [None, None, None]


def test_without_redis_nothing_is_published_under_an_idempotency_key(deployment: Deployment):
    gateway = deployment.gateway
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
    before = len(records_of(deployment, "echo"))
    deployment.redis.kill()
    refused = [gateway.post("/echo", b"once", Idempotency_Key="k") for _ in range(3)]
    published = len(records_of(deployment, "echo")) - before
    deployment.redis.start()

    # The same key again is what a client sends that was told "no".
    assert wait_until(
        lambda: gateway.post("/echo", b"once", Idempotency_Key="k").body == b"once", LIMIT_S
    )
    assert published == 0
    for response in refused:
        assert (response.status, response.json["type"]) == (
            503,
            "/problems/reply-store-unavailable",
        )
        assert response.json["sent"] == "no"
        assert response.elapsed_s < 1
    assert len(records_of(deployment, "echo")) - before == 1


def test_a_redis_that_hangs_for_a_moment_does_not_keep_the_keys_of_what_was_not_published(
    deployment: Deployment,
):
    gateway = deployment.gateway
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
    deployment.redis.pause()
    try:
        refused = gateway.post("/echo", b"again", Idempotency_Key="hangs")
    finally:
        deployment.redis.resume()

    assert refused.json["sent"] == "no"
    # Redis finds the claim in its socket and takes it; it must not last.
    assert wait_until(
        lambda: gateway.post("/echo", b"again", Idempotency_Key="hangs").status == 200, LIMIT_S
    )
