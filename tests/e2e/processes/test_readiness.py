"""/readyz reports problems in words, and at once even while a server hangs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.deployment import Deploy, Deployment, Response
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

#: Returns whether /readyz tells of something.
Told = Callable[[Deployment, str], bool]
#: Time to report or clear a problem; a check counts as hanging after 5 s.
LIMIT_S = 20.0


@contextmanager
def paused(server: Server) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


def reports(deployment: Deployment, text: str) -> bool:
    response: Response = deployment.gateway.get("/readyz")
    assert response.elapsed_s < 1
    return response.status == 503 and any(text in problem for problem in response.json["problems"])


def warns(deployment: Deployment, text: str) -> bool:
    """Return whether the gateway is ready and has a warning with *text*."""
    response = deployment.gateway.get("/readyz")
    assert response.elapsed_s < 1
    warned = any(text in warning for warning in response.json["warnings"])
    return response.status == 200 and warned


#: What /readyz says of Redis is a problem if all replies come from there, else a warning.
is_told = pytest.mark.parametrize(
    ("delivery", "told", "status"), [("store", reports, 503), ("direct", warns, 200)]
)


def is_ready(deployment: Deployment) -> bool:
    response = deployment.gateway.get("/readyz")
    return response.status == 200 and response.json["problems"] + response.json["warnings"] == []


@is_told
def test_a_hanging_redis_is_reported_until_it_answers_again(
    deploy: Deploy, delivery: str, told: Told, status: int
):
    with deploy(env={"REPLY_DELIVERY": delivery}) as deployment:
        with paused(deployment.redis):
            assert wait_until(lambda: told(deployment, "Redis does not answer"), LIMIT_S)
            assert deployment.gateway.get("/livez").status == 200
            response = deployment.gateway.post("/echo", b"x")
            refused = deployment.gateway.post("/echo", b"x", Idempotency_Key="k")
        assert wait_until(lambda: is_ready(deployment), LIMIT_S)
        assert wait_until(lambda: deployment.gateway.post("/echo", b"x").status == 200, LIMIT_S)

    assert response.status == status
    assert (refused.status, refused.json["type"]) == (503, "/problems/reply-store-unavailable")


def test_a_hanging_broker_is_reported_until_it_answers_again(deploy: Deploy):
    with deploy() as deployment:
        with paused(deployment.kafka):
            assert wait_until(
                lambda: (
                    reports(deployment, "no broker reachable")
                    or reports(deployment, "not answered")
                ),
                LIMIT_S,
            )
            assert deployment.gateway.get("/livez").status == 200
        assert wait_until(lambda: is_ready(deployment), 2 * LIMIT_S)
        assert wait_until(lambda: deployment.gateway.post("/echo", b"x").status == 200, LIMIT_S)


def test_servers_that_hang_do_not_make_this_process_unready_by_itself(deploy: Deploy):
    """A balancer that asks /readyz?local keeps sending, and clients read what is wrong."""
    with deploy(env={"WEB_CONCURRENCY": "1", "REPLY_DELIVERY": "store"}) as deployment:
        gateway = deployment.gateway
        for server in (deployment.redis, deployment.kafka):
            with paused(server):
                assert wait_until(lambda: gateway.get("/readyz").status == 503, LIMIT_S)
                local = gateway.get("/readyz?local")
                refused = gateway.post("/echo", b"x")
            assert (local.status, local.json["problems"]) == (200, [])
            assert local.elapsed_s < 1
            assert refused.status == 503
            assert refused.json["type"].startswith("/problems/")
            assert wait_until(lambda: is_ready(deployment), 2 * LIMIT_S)


def test_a_draining_process_is_unready_by_itself(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": "1", "DRAIN_DELAY_S": "2"}) as deployment:
        before = deployment.gateway.get("/readyz?local")
        deployment.gateway.child.terminate()

        def is_unready() -> bool:
            return deployment.gateway.get("/readyz?local").status == 503

        assert before.status == 200
        assert wait_until(is_unready, 1)


@is_told
def test_a_reply_topic_without_a_replies_process_is_reported(
    deploy: Deploy, delivery: str, told: Told, status: int
):
    # One worker: another one would notice up to a second later.
    with deploy(env={"REPLY_DELIVERY": delivery, "WEB_CONCURRENCY": "1"}) as deployment:
        assert wait_until(lambda: is_ready(deployment), LIMIT_S)
        deployment.named("replies")[0].child.stop(10)
        assert wait_until(lambda: told(deployment, "no replies process reads"), LIMIT_S)
        assert deployment.gateway.get("/readyz").status == status
        deployment.start("replies")

        assert wait_until(lambda: is_ready(deployment), LIMIT_S)


def test_a_missing_topic_is_named(deploy: Deploy):
    routes = "[[route]]\npath = '/missing'\ntopic = 'not-there'\n"
    with deploy() as deployment:
        file = deployment.folder / "routes.toml"
        file.write_text(routes)
        gateway = deployment.start_gateway(ROUTES_FILE=str(file))

        def is_named() -> bool:
            try:
                response = gateway.get("/readyz")
            except OSError:
                return False
            return f"topic missing: {deployment.prefix}not-there; create it" in str(response.json)

        assert wait_until(is_named, LIMIT_S)
        refused = gateway.post("/missing", b"x")

    assert refused.status == 503
    # The embedded broker creates a topic when a record is published to it.
    if not isinstance(deployment.kafka, EmbeddedBroker):
        assert refused.json["type"] == "/problems/not-sent"
        assert refused.json["sent"] == "no"
