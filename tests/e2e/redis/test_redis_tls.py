"""A Redis that speaks TLS with a certificate of its own making, as Heroku's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import on_embedded_broker
from tests.support.certificates import Authority, require_openssl
from tests.support.deployment import Deploy
from tests.support.tls_proxy import TlsFront
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    on_embedded_broker,
]

LIMIT_S = 10.0


@pytest.fixture
def redis_url(redis_server: Server, tmp_path: Path) -> Iterator[str]:
    require_openssl()
    keystore = Authority.make(tmp_path, "authority").issue("redis", f"IP:{LOOPBACK}")
    with TlsFront(redis_server.port, keystore) as front:
        yield f"rediss://{LOOPBACK}:{front.port}/0"


def test_all_processes_speak_tls_with_redis(deploy: Deploy, redis_url: str):
    env = {"REDIS_URL": redis_url, "REDIS_TLS_VERIFY": "no", "RESPONDER_JOURNAL": "redis"}
    with deploy(env=env) as deployment:
        responses = [deployment.gateway.post("/echo", b"through TLS") for _ in range(5)]
        ready = deployment.gateway.get("/readyz")

    assert {(response.status, response.body) for response in responses} == {(200, b"through TLS")}
    assert ready.status == 200


def test_a_certificate_that_nobody_vouches_for_is_told_with_what_to_do(
    deploy: Deploy, redis_url: str
):
    deployment = deploy(env={"REDIS_URL": redis_url})
    create_topics(deployment.settings.kafka_connection(), [deployment.prefix + "replies"], 1)
    try:
        gateway, replies = deployment.start_gateway(), deployment.start("replies")

        def told() -> str:
            try:
                return str(gateway.get("/readyz").json["problems"])
            except OSError:  # it is starting
                return ""

        assert wait_until(lambda: "set REDIS_TLS_VERIFY=no" in told(), LIMIT_S), told()
        refused = gateway.post("/echo", b"x")
        assert wait_until(lambda: "set REDIS_TLS_VERIFY=no" in replies.logged(), LIMIT_S)
    finally:
        deployment.__exit__()

    assert (refused.status, refused.json["type"]) == (503, "/problems/reply-store-unavailable")
    assert "set REDIS_TLS_VERIFY=no" in refused.json["detail"]
    assert "Traceback" not in deployment.logs()
