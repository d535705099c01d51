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
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

SLOW, OTHER, STEADY = ApiClient("slow"), ApiClient("other"), ApiClient("steady")
REPLY_TIMEOUT_S = 1.0
TEA = b'{"item": "tea", "quantity": 1}'
ROUTES = """
[[route]]
path = "/orders"
topic = "orders"
caller = "header:X-User"

[[route]]
path = "/places/<name>"
topic = "echo"
methods = ["PUT"]
key = "path:name"

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
        "API_KEYS": keys_table(SLOW, OTHER, STEADY),
        "REPLY_TIMEOUT_S": str(REPLY_TIMEOUT_S),
        "ROUTES_FILE": str(routes),
        "WEB_CONCURRENCY": "1",
    }
    with deploy_for_module(env=env, topics=("scripted",), key=STEADY.key) as deployment:
        yield deployment


def order(deployment: Deployment, method: str, path: str, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = TEA if method == "POST" else None
    return deployment.gateway.request(method, path, body, STEADY.authorization | named)


def test_users_behind_one_proxy_have_their_own_keys_and_replies(deployment: Deployment):
    ann, bob, again = (
        order(deployment, "POST", "/orders", X_User=user, Idempotency_Key="first")
        for user in ("ann", "bob", "ann")
    )

    assert [ann.status, bob.status, again.status] == [201] * 3
    assert ann.json["order"] == again.json["order"] != bob.json["order"]
    assert bob.headers["Idempotent-Replayed"] is None
    assert again.headers["Idempotent-Replayed"] == "true"
    path = f"/replies/{ann.correlation_id}"
    assert order(deployment, "GET", path, X_User="ann").body == ann.body
    headers = SLOW.authorization | {"X-User": "ann"}
    for method in ("GET", "DELETE"):
        assert order(deployment, method, path, X_User="bob").status == 404
        assert order(deployment, method, path).status == 404
        assert deployment.gateway.request(method, path, None, headers).status == 404


@pytest.mark.parametrize("user", [None, "", "\xff", "x" * 256])
def test_a_request_without_a_valid_user_is_rejected(deployment: Deployment, user: str | None):
    headers = {} if user is None else {"X_User": user}
    response = order(deployment, "POST", "/orders", **headers)

    assert (response.status, response.json["type"]) == (400, "/problems/caller-unknown")
    assert response.json["sent"] == "no"


def test_a_header_with_an_underscore_names_no_caller(deployment: Deployment):
    """WSGI has one name for X-User and X_User, and a proxy may replace only the first."""
    forged = STEADY.authorization | {"X_User": "ann"}
    both = forged | {"X-User": "bob", "Idempotency-Key": "mine"}
    alone = deployment.gateway.request("POST", "/orders", TEA, forged)
    beside = deployment.gateway.request("POST", "/orders", TEA, both)
    bobs = order(deployment, "POST", "/orders", X_User="bob", Idempotency_Key="mine")

    assert alone.status == 400
    assert beside.status == 201
    assert bobs.body == beside.body


def test_paths_that_are_not_utf_8_share_no_idempotency_key(deployment: Deployment):
    """Decoded, they would be equal."""
    headers = STEADY.authorization | {"Idempotency-Key": "place"}
    responses = [
        deployment.gateway.request("PUT", f"/places/caf{escape}", b"x", headers)
        for escape in ("%E9", "%E8", "%C3%A9")
    ]

    assert [response.status for response in responses] == [400, 400, 200]
    for rejected in responses[:2]:
        assert rejected.headers["Content-Type"] == "application/problem+json"
        assert (rejected.json["type"], rejected.json["sent"]) == ("about:blank", "no")


def reply_unless_slow(responder: ScriptedResponder, record: Any) -> None:
    """Reply with the body; never to a body that begins with "slow"."""
    if not record.value.startswith(b"slow"):
        responder.reply(record.value, [("correlation-id", correlation_id(record))])


@contextmanager
def unanswered_requests(
    deployment: Deployment, client: ApiClient, connections: int
) -> Iterator[list[Response]]:
    """Send requests that get no reply over *connections*, until the block ends."""
    stop, responses = threading.Event(), list[Response]()

    def send() -> None:
        while not stop.is_set():
            responses.append(
                deployment.gateway.request("POST", "/scripted", b"slow", client.authorization)
            )
            stop.wait(0.05)

    with ThreadPoolExecutor(connections) as pool:
        for _ in range(connections):
            pool.submit(send)
        try:
            yield responses
        finally:
            stop.set()


def test_requests_of_one_client_do_not_open_the_breaker_for_another(deployment: Deployment):
    """The other client's requests are further apart than the timeout."""
    with (
        ScriptedResponder.of(deployment, "scripted", reply_unless_slow),
        unanswered_requests(deployment, SLOW, MIN_FINISHED) as slow,
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


def test_without_any_reply_the_breaker_opens_for_every_client_and_probes_go_round(
    deployment: Deployment,
):
    """A reply to a probe of the client that sends least closes it for every client."""
    opened = f"circuit breaker of topic {deployment.prefix}scripted opened: "
    statuses = []
    with (
        ScriptedResponder.of(deployment, "scripted", reply_unless_slow),
        unanswered_requests(deployment, SLOW, MIN_FINISHED),
        unanswered_requests(deployment, OTHER, MIN_FINISHED),
    ):
        assert wait_until(lambda: opened in deployment.gateway.logged(), 10)
        end_s = time.monotonic() + 10
        while 200 not in statuses and time.monotonic() < end_s:
            response = deployment.gateway.request(
                "POST", "/scripted", b"steady", STEADY.authorization
            )
            statuses.append(response.status)
            time.sleep(REPLY_TIMEOUT_S)
        closed = deployment.gateway.logged().rpartition(opened)[2]

    assert statuses[-1] == 200
    assert len(statuses) <= 4
    assert f"topic {deployment.prefix}scripted closed: a reply has come" in closed
