"""Those who wait less, longer, later or not at all, and those who change their minds."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.deployment import Deploy, Deployment, Gateway, Process, Response
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

TIMEOUT_S = 3.0
#: One thread: a request behind a slow one waits for its turn.
ENV = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "RESPONDER_THREADS": "1"}
#: How much later than promised an answer may come on a machine that is out of breath.
LATE_S = 1.5


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("waiting")
    with Deployment(kafka, redis_server, folder, env=ENV) as deployment:
        yield deployment


@pytest.fixture
def gateway(deployment: Deployment) -> Gateway:
    return deployment.gateway


def order(gateway: Gateway, delay_s: float = 0.0, item: str = "tea", **headers: str) -> Response:
    body = {"item": item, "quantity": 1, "delay_s": delay_s}
    return gateway.post("/orders", json.dumps(body).encode(), **headers)


def pending(gateway: Gateway, **body: object) -> str:
    """Send an order without waiting for its reply; return its status URL."""
    promise = order(gateway, prefer="respond-async", **body)  # type: ignore[arg-type]
    assert promise.status == 202
    return promise.headers["Location"]


def test_who_takes_a_promise_finds_the_reply_where_it_says(gateway: Gateway):
    promise = order(gateway, delay_s=0.5, prefer="respond-async")

    assert promise.status == 202
    assert promise.headers["Preference-Applied"] == "respond-async"
    assert promise.json["status"] == "pending"
    location = promise.headers["Location"]
    assert wait_until(lambda: gateway.get(location).status != 202, 2 * TIMEOUT_S)
    reply = gateway.get(location)
    assert (reply.status, reply.json["item"]) == (201, "tea")
    assert reply.headers["Cache-Control"].startswith("private, max-age=")
    known = {"If-None-Match": reply.headers["ETag"]}
    assert gateway.request("GET", location, headers=known).status == 304
    assert gateway.request("HEAD", location).status == 201


def test_who_would_wait_less_is_told_so_and_gets_the_late_reply_in_one_more_call(
    gateway: Gateway,
):
    response = order(gateway, delay_s=2.0, prefer="wait=1")
    late = gateway.request("GET", response.headers["Location"], headers={"Prefer": "wait=20"})

    assert (response.status, response.json["type"]) == (503, "/problems/reply-timeout")
    assert response.json["sent"] == "yes"
    assert response.headers["Preference-Applied"] == "wait=1"
    assert 1.0 <= response.elapsed_s < 1.0 + LATE_S
    assert (late.status, late.json["item"]) == (201, "tea")
    assert late.headers["Preference-Applied"] == "wait=20"
    assert response.elapsed_s + late.elapsed_s < 2.0 + TIMEOUT_S + LATE_S


def test_any_process_waits_for_the_reply_to_anothers_request(deployment: Deployment):
    """The reply is waited for beside those to requests of one's own."""
    other = deployment.start_gateway()
    deployment.wait_until_ready()
    location = pending(deployment.gateway, delay_s=1.0)
    with ThreadPoolExecutor(2) as clients:
        waiting = clients.submit(other.request, "GET", location, None, {"Prefer": "wait=20"})
        own = clients.submit(other.post, "/echo", b"own")

    assert (waiting.result().status, own.result().status) == (201, 200)


def test_who_waits_for_long_is_answered_when_the_gateway_stops(deployment: Deployment):
    """Whoever may wait for 25 s would otherwise be cut off: a stop takes 5."""
    other = deployment.start_gateway()
    deployment.wait_until_ready()
    location = pending(deployment.gateway, delay_s=TIMEOUT_S + 5)
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(other.request, "GET", location, None, {"Prefer": "wait=25"})
        # The log tells of answers only; by the end of a shorter wait the longer one has begun.
        assert other.request("GET", location, headers={"Prefer": "wait=1"}).status == 202
        other.child.terminate()
        response = waiting.result()

    assert response.status == 202
    assert "Preference-Applied" not in response.headers
    assert response.elapsed_s < 1 + TIMEOUT_S + 2


def test_a_cancelled_request_that_waits_its_turn_is_never_carried_out(
    deploy: Deploy,
):
    with deploy(env=ENV) as deployment:
        cancel_one_behind_a_slow_one(deployment.gateway, deployment.named("responder")[0])


def cancel_one_behind_a_slow_one(gateway: Gateway, responder: Process) -> None:
    begun = pending(gateway, delay_s=2.5)
    with ThreadPoolExecutor(1) as clients:
        location = pending(gateway)
        waiting = clients.submit(gateway.request, "GET", location, None, {"Prefer": "wait=25"})
        # Time for the wait to begin; if it has not, the answer is the same.
        assert gateway.request("GET", location, headers={"Prefer": "wait=1"}).status == 202
        cancelled = gateway.request("DELETE", location)
        response = waiting.result()
        still_busy = gateway.get(begun).status

    assert cancelled.status == 204
    assert response.status == 410
    assert response.json["title"] == "Request Cancelled"
    assert still_busy == 202  # the answer did not wait for the responder
    done = gateway.request("GET", begun, headers={"Prefer": "wait=20"})
    assert done.status == 201
    assert order(gateway).status == 201  # whatever was before it has had its turn
    assert gateway.request("DELETE", location).status == 204
    assert gateway.get(location).status == 410
    late = gateway.request("DELETE", begun)
    assert (late.status, late.json["type"]) == (409, "/problems/already-answered")
    responder.child.stop(15)
    counts = re.findall(r"requests so far: (.*)", responder.logged())[-1]
    assert "cancelled 1" in counts
    assert f"{location.rpartition('/')[2]}: dropped, its client has cancelled it" in (
        responder.logged()
    )
