"""Clients with keys of their own: whatever ids they choose, each has its own replies alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clients.api_keys import hash_of
from rendezvous.redis_store.client import open_redis
from tests.fakes import altered
from tests.support.api_clients import Tenant, in_other_words, send_all, table_of
from tests.support.deployment import Deployment, Gateway
from tests.support.records import records_of
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server

pytestmark = pytest.mark.e2e

REQUESTS = 300
BLUE, GREEN, METERED = Tenant("blue"), Tenant("green"), Tenant("metered")
RATE = 40


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("keys")
    table = table_of(BLUE, GREEN, METERED, metered=f'rate = "{RATE}/min"\nroutes = ["/echo"]\n')
    env = {"API_KEYS": table, "REPLY_TIMEOUT_S": "10"}
    with Deployment(
        kafka, redis_server, folder, env=env, gateways=2, replies=2, key=BLUE.key
    ) as deployment:
        yield deployment


@pytest.fixture
def gateways(deployment: Deployment) -> list[Gateway]:
    return deployment.all_gateways


def test_clients_that_choose_the_same_ids_get_their_own_replies_and_nobody_elses(
    gateways: list[Gateway],
):
    blue, green = Tenant("blue", BLUE.key), Tenant("green", GREEN.key)

    send_all([blue, green], gateways, REQUESTS)

    assert blue.endings == green.endings == {"own": REQUESTS}
    assert len({*blue.ids, *green.ids}) == 2 * REQUESTS
    for owner, other in ((blue, green), (green, blue)):
        for number, correlation_id in enumerate(owner.ids[:20]):
            gateway = gateways[number % 2]
            assert owner.get(gateway, correlation_id).status == 200
            foreign = in_other_words(other.get(gateway, correlation_id))
            assert foreign == in_other_words(other.get(gateway, altered(correlation_id)))
            assert foreign[0] == 404


def test_without_a_known_key_nothing_is_published_and_probes_are_answered(
    deployment: Deployment, gateways: list[Gateway]
):
    gateway = gateways[0]
    correlation_id = gateway.request("POST", "/echo", b"x", BLUE.authorization).correlation_id

    for response in (
        gateway.post("/echo", b"x"),
        gateway.post("/echo", b"x", Authorization=f"Bearer {altered(BLUE.key)}"),
        gateway.post("/nowhere", b"x"),
        gateway.get(f"/replies/{correlation_id}"),
    ):
        assert response.status in (401, 404)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.status == 404 or response.headers["WWW-Authenticate"].startswith(
            "Bearer realm"
        )
    assert gateway.get("/livez").status == gateway.get("/readyz").status == 200
    assert gateway.get("/problems/unauthorized").status == 200


def test_a_rate_holds_over_all_replicas_and_leaves_others_alone(gateways: list[Gateway]):
    # A window may end in between; then another one begins, and not more than that.
    responses = [
        gateways[n % 2].request("POST", "/echo", b"%d" % n, METERED.authorization)
        for n in range(2 * RATE + 1)
    ]

    statuses = [response.status for response in responses]
    assert set(statuses) == {200, 429}
    assert RATE <= statuses.count(200) <= 2 * RATE
    refused = next(response for response in responses if response.status == 429)
    assert (refused.json["type"], refused.json["sent"]) == ("/problems/rate-limited", "no")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == f'"default";q={RATE};w=60'
    assert responses[0].headers["RateLimit"].startswith(f'"default";r={RATE - 1};t=')
    other = gateways[0].request("POST", "/echo", b"x", GREEN.authorization)
    assert (other.status, other.headers["RateLimit"]) == (200, None)


def test_a_route_that_is_not_open_to_a_client_is_forbidden(gateways: list[Gateway]):
    response = gateways[0].request("POST", "/orders", b"{}", METERED.authorization)

    assert (response.status, response.json["type"]) == (403, "/problems/forbidden")


def test_no_key_is_in_a_record_in_redis_or_in_a_log(
    deployment: Deployment, gateways: list[Gateway], redis_server: EmbeddedRedis
):
    for tenant in (BLUE, GREEN, METERED):
        headers = tenant.authorization | {"Cookie": tenant.key, "Proxy-Authorization": tenant.key}
        gateways[0].request("POST", "/echo", b"x", headers)
        gateways[0].request("POST", f"/echo?key={tenant.key}", b"x")

    records = repr(
        [
            (record.key, record.value, record.headers)
            for topic in ("echo", "replies")
            for record in records_of(deployment, topic)
        ]
    )
    kept = repr(kept_in(redis_server))
    logs = "\n".join(process.logged() for process in deployment.processes)
    assert "correlation-id" in records
    assert ":metered:" in kept
    assert "client=blue" in logs
    for tenant in (BLUE, GREEN, METERED):
        for secret in (tenant.key, hash_of(tenant.key).removeprefix("sha256:")):
            assert secret not in records
            assert secret not in kept
            assert secret not in logs


def kept_in(redis_server: EmbeddedRedis) -> list[Any]:
    redis = open_redis(redis_server.url)
    try:
        return [(name, redis.get(name)) for name in redis.scan_iter(count=1000, _type="STRING")]
    finally:
        redis.close()
