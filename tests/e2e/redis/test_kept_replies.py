"""A client cannot fill Redis with replies that are kept for its idempotency keys."""

from contextlib import closing

import pytest
from redis import Redis

from tests.support.deployment import Deploy
from tests.support.records import records_of
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

LIMIT_S = 10.0
LIMIT_BYTES = 300_000
BODY = bytes(50_000)
ATTEMPTS = 40


@pytest.mark.parametrize("prefer", ["wait=3", "respond-async"])
def test_a_client_reaches_its_limit_and_is_refused_before_its_requests_are_published(
    deploy: Deploy, redis_server: Server, prefer: str
):
    env = {"IDEMPOTENCY_CLIENT_MAX_BYTES": str(LIMIT_BYTES), "WEB_CONCURRENCY": "1"}
    with (
        deploy(env=env) as deployment,
        closing(Redis.from_url(redis_server.url)) as redis,
    ):
        gateway = deployment.gateway
        before = redis.info("memory")["used_memory"]
        responses = [
            gateway.post("/echo", BODY, Idempotency_Key=f"key-{n}", Prefer=prefer)
            for n in range(ATTEMPTS)
        ]
        # Clients that do not wait are ahead of the replies that are counted.
        assert wait_until(
            lambda: (
                gateway.post("/echo", BODY, Idempotency_Key="last", Prefer=prefer).status == 429
            ),
            LIMIT_S,
        )
        refused = gateway.post("/echo", BODY, Idempotency_Key="another", Prefer=prefer)
        published = [record.value for record in records_of(deployment, "echo")].count(BODY)
        grown = redis.info("memory")["used_memory"] - before
        replayed = gateway.post("/echo", BODY, Idempotency_Key="key-0")

    assert (refused.status, refused.json["type"]) == (429, "/problems/kept-replies-full")
    assert refused.json["sent"] == "no"
    assert (replayed.status, replayed.body) == (200, BODY)
    if prefer != "respond-async":
        statuses = [response.status for response in responses]
        assert statuses == [200] * published + [429] * (ATTEMPTS - published)
        assert published <= LIMIT_BYTES / len(BODY) + 1
        assert grown < 2 * LIMIT_BYTES
