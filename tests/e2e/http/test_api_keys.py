"""API keys: isolation of clients, rate limits, allowed routes, secrecy."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clients.api_keys import hash_of
from rendezvous.redis_store.connecting.opening import open_redis
from tests.fakes import altered
from tests.support.api_clients import ApiClient, keys_table, send_all, without_ids
from tests.support.deployment import Deployment, Gateway
from tests.support.records import records_of
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

REQUESTS = 300
BLUE, GREEN, METERED = ApiClient("blue"), ApiClient("green"), ApiClient("metered")
RATE = 40


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("keys")
    table = keys_table(BLUE, GREEN, METERED, metered=f'rate = "{RATE}/min"\nroutes = ["/echo"]\n')
    env = {"API_KEYS": table, "REPLY_TIMEOUT_S": "10"}
    with Deployment(
        kafka, redis_server, folder, env=env, gateways=2, replies=2, key=BLUE.key
    ) as deployment:
        yield deployment


@pytest.fixture
def gateways(deployment: Deployment) -> list[Gateway]:
    return deployment.all_gateways


def test_clients_that_choose_the_same_ids_get_only_their_own_replies(gateways: list[Gateway]):
    blue, green = ApiClient("blue", BLUE.key), ApiClient("green", GREEN.key)

    send_all([blue, green], gateways, REQUESTS)

    assert blue.outcomes == green.outcomes == {"own": REQUESTS}
    assert len({*blue.ids, *green.ids}) == 2 * REQUESTS
    for owner, other in ((blue, green), (green, blue)):
        for number, correlation_id in enumerate(owner.ids[:20]):
            gateway = gateways[number % 2]
            assert owner.get_reply(gateway, correlation_id).status == 200
            other_reply = without_ids(other.get_reply(gateway, correlation_id))
            assert other_reply == without_ids(other.get_reply(gateway, altered(correlation_id)))
            assert other_reply[0] == 404


def test_requests_without_a_known_key_are_rejected_but_probes_are_not(
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


def test_a_rate_limit_holds_across_replicas_and_for_its_client_alone(gateways: list[Gateway]):
    # At most one window ends meanwhile, so that at most two quotas are used.
    responses = [
        gateways[n % 2].request("POST", "/echo", b"%d" % n, METERED.authorization)
        for n in range(2 * RATE + 1)
    ]

    statuses = [response.status for response in responses]
    assert set(statuses) == {200, 429}
    assert RATE <= statuses.count(200) <= 2 * RATE
    rejected = next(response for response in responses if response.status == 429)
    assert (rejected.json["type"], rejected.json["sent"]) == ("/problems/rate-limited", "no")
    assert 1 <= int(rejected.headers["Retry-After"]) <= 60
    assert rejected.headers["RateLimit-Policy"] == f'"default";q={RATE};w=60'
    assert responses[0].headers["RateLimit"].startswith(f'"default";r={RATE - 1};t=')
    other = gateways[0].request("POST", "/echo", b"x", GREEN.authorization)
    assert (other.status, other.headers["RateLimit"]) == (200, None)


def test_a_route_that_a_client_may_not_use_is_a_403(gateways: list[Gateway]):
    response = gateways[0].request("POST", "/orders", b"{}", METERED.authorization)

    assert (response.status, response.json["type"]) == (403, "/problems/forbidden")


def test_no_key_is_in_a_record_in_redis_or_in_a_log(
    deployment: Deployment, gateways: list[Gateway], redis_server: EmbeddedRedis
):
    for client in (BLUE, GREEN, METERED):
        headers = client.authorization | {"Cookie": client.key, "Proxy-Authorization": client.key}
        gateways[0].request("POST", "/echo", b"x", headers)
        gateways[0].request("POST", f"/echo?key={client.key}", b"x")

    records = repr(
        [
            (record.key, record.value, record.headers)
            for topic in ("echo", "replies")
            for record in records_of(deployment, topic)
        ]
    )
    stored = repr(strings_in(redis_server))
    logs = "\n".join(process.logged() for process in deployment.processes)
    assert "correlation-id" in records
    assert ":metered:" in stored
    assert "client=blue" in logs
    for client in (BLUE, GREEN, METERED):
        for secret in (client.key, hash_of(client.key).removeprefix("sha256:")):
            assert secret not in records
            assert secret not in stored
            assert secret not in logs


def strings_in(redis_server: EmbeddedRedis) -> list[Any]:
    redis = open_redis(redis_server.url)
    try:
        return [(name, redis.get(name)) for name in redis.scan_iter(count=1000, _type="STRING")]
    finally:
        redis.close()
