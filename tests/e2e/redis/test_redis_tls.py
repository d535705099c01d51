"""Redis with TLS and a self-signed certificate, as on Heroku."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority, require_openssl
from tests.support.deployment import Deploy
from tests.support.tls_proxy import TlsProxy
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

LIMIT_S = 10.0


@pytest.fixture
def redis_url(redis_server: Server, tmp_path: Path) -> Iterator[str]:
    require_openssl()
    keystore = Authority.make(tmp_path, "authority").issue("redis", f"IP:{LOOPBACK}")
    with TlsProxy(redis_server.port, keystore) as proxy:
        yield f"rediss://{LOOPBACK}:{proxy.port}/0"


def test_all_processes_connect_with_tls(deploy: Deploy, redis_url: str):
    env = {"REDIS_URL": redis_url, "REDIS_TLS_VERIFY": "no", "RESPONDER_JOURNAL": "redis"}
    with deploy(env=env) as deployment:
        responses = [deployment.gateway.post("/echo", b"through TLS") for _ in range(5)]
        ready = deployment.gateway.get("/readyz")

    assert {(response.status, response.body) for response in responses} == {(200, b"through TLS")}
    assert ready.status == 200


def test_an_untrusted_certificate_is_reported_with_advice(deploy: Deploy, redis_url: str):
    deployment = deploy(env={"REDIS_URL": redis_url, "REPLY_DELIVERY": "store"})
    create_topics(
        deployment.settings.kafka_connection(),
        [deployment.prefix + "echo", deployment.prefix + "replies"],
        1,
    )
    try:
        gateway, replies = deployment.start_gateway(), deployment.start("replies")

        def problems() -> str:
            try:
                return str(gateway.get("/readyz").json["problems"])
            except OSError:  # it is starting
                return ""

        assert wait_until(lambda: "set REDIS_TLS_VERIFY=no" in problems(), LIMIT_S), problems()
        rejected = gateway.post("/echo", b"x")
        assert wait_until(lambda: "set REDIS_TLS_VERIFY=no" in replies.logged(), LIMIT_S)
    finally:
        deployment.__exit__()

    assert (rejected.status, rejected.json["type"]) == (503, "/problems/reply-store-unavailable")
    assert "set REDIS_TLS_VERIFY=no" in rejected.json["detail"]
    assert "Traceback" not in deployment.logs()
