"""Tenants: one client's requests, identity and keys have no effect on another's."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.exchange.breaker.topic_breaker import MIN_FINISHED
from tests.support.api_clients import ApiClient, keys_table
from tests.support.deployment import Deploy, Deployment, Response
from tests.support.scripted_responder import ScriptedResponder, correlation_id

pytestmark = pytest.mark.e2e

SLOW, STEADY = ApiClient("slow"), ApiClient("steady")
REPLY_TIMEOUT_S = 1.0
ROUTES = """
[[route]]
path = "/echo"
topic = "echo"

[[route]]
path = "/scripted"
topic = "scripted"
"""


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy, tmp_path_factory: Any) -> Iterator[Deployment]:
    routes = tmp_path_factory.mktemp("routes") / "routes.toml"
    routes.write_text(ROUTES)
    env = {
        "API_KEYS": keys_table(SLOW, STEADY),
        "REPLY_TIMEOUT_S": str(REPLY_TIMEOUT_S),
        "ROUTES_FILE": str(routes),
        "WEB_CONCURRENCY": "1",
    }
    with deploy_for_module(env=env, topics=("scripted",), key=STEADY.key) as deployment:
        yield deployment


def reply_unless_slow(responder: ScriptedResponder, record: Any) -> None:
    """Reply with the body; never to a body that begins with "slow"."""
    if not record.value.startswith(b"slow"):
        responder.reply(record.value, [("correlation-id", correlation_id(record))])


@contextmanager
def unanswered_requests(deployment: Deployment, clients: int) -> Iterator[list[Response]]:
    """Send requests that get no reply from *clients* connections, until the block ends."""
    stop, responses = threading.Event(), list[Response]()

    def send() -> None:
        while not stop.is_set():
            responses.append(
                deployment.gateway.request("POST", "/scripted", b"slow", SLOW.authorization)
            )
            stop.wait(0.05)

    with ThreadPoolExecutor(clients) as pool:
        for _ in range(clients):
            pool.submit(send)
        try:
            yield responses
        finally:
            stop.set()


def test_requests_of_one_client_do_not_open_the_breaker_for_another(deployment: Deployment):
    """The other client's requests are further apart than the timeout."""
    with (
        ScriptedResponder.of(deployment, "scripted", reply_unless_slow),
        unanswered_requests(deployment, clients=MIN_FINISHED) as slow,
    ):
        steady = []
        for _ in range(8):
            time.sleep(REPLY_TIMEOUT_S * 1.3)
            body = b"steady"
            steady.append(
                deployment.gateway.request("POST", "/scripted", body, STEADY.authorization)
            )

    assert [response.status for response in steady] == [200] * len(steady)
    kinds = [response.json["type"] for response in slow]
    assert set(kinds) == {"/problems/reply-timeout", "/problems/responder-silent"}
    assert kinds.count("/problems/responder-silent") > kinds.count("/problems/reply-timeout")
    assert "opened for client slow" in deployment.gateway.logged()
