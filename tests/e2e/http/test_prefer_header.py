"""Prefer (wait, respond-async), late replies and cancelled requests."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.deployment import Deploy, Deployment, Gateway, Process, Response
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

TIMEOUT_S = 3.0
#: One responder thread: a request behind a slow one is queued.
ENV = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "RESPONDER_THREADS": "1"}
#: Tolerance for a slow machine, in seconds.
LATE_S = 1.5


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    with deploy_for_module(env=ENV) as deployment:
        yield deployment


@pytest.fixture
def gateway(deployment: Deployment) -> Gateway:
    return deployment.gateway


def order(gateway: Gateway, delay_s: float = 0.0, item: str = "tea", **headers: str) -> Response:
    body = {"item": item, "quantity": 1, "delay_s": delay_s}
    return gateway.post("/orders", json.dumps(body).encode(), **headers)


def order_async(gateway: Gateway, **body: object) -> str:
    """Send an order with respond-async; return its status URL."""
    accepted = order(gateway, prefer="respond-async", **body)  # type: ignore[arg-type]
    assert accepted.status == 202
    return accepted.headers["Location"]


def test_respond_async_returns_202_and_the_url_of_the_reply(gateway: Gateway):
    accepted = order(gateway, delay_s=0.5, prefer="respond-async")

    assert accepted.status == 202
    assert accepted.headers["Preference-Applied"] == "respond-async"
    assert accepted.json["status"] == "pending"
    location = accepted.headers["Location"]
    assert wait_until(lambda: gateway.get(location).status != 202, 2 * TIMEOUT_S)
    reply = gateway.get(location)
    assert (reply.status, reply.json["item"]) == (201, "tea")
    assert reply.headers["Cache-Control"].startswith("private, max-age=")
    known = {"If-None-Match": reply.headers["ETag"]}
    assert gateway.request("GET", location, headers=known).status == 304
    assert gateway.request("HEAD", location).status == 201


def test_a_shorter_wait_is_applied_and_the_late_reply_can_be_fetched_with_a_wait(gateway: Gateway):
    response = order(gateway, delay_s=2.0, prefer="wait=1")
    late = gateway.request("GET", response.headers["Location"], headers={"Prefer": "wait=20"})

    assert (response.status, response.json["type"]) == (503, "/problems/reply-timeout")
    assert response.json["sent"] == "yes"
    assert response.headers["Preference-Applied"] == "wait=1"
    assert 1.0 <= response.elapsed_s < 1.0 + LATE_S
    assert (late.status, late.json["item"]) == (201, "tea")
    assert late.headers["Preference-Applied"] == "wait=20"
    assert response.elapsed_s + late.elapsed_s < 2.0 + TIMEOUT_S + LATE_S


def test_any_gateway_can_wait_for_the_reply_to_another_gateways_request(deployment: Deployment):
    other = deployment.start_gateway()
    deployment.wait_until_ready()
    location = order_async(deployment.gateway, delay_s=1.0)
    with ThreadPoolExecutor(2) as clients:
        waiting = clients.submit(other.request, "GET", location, None, {"Prefer": "wait=20"})
        own = clients.submit(other.post, "/echo", b"own")

    assert (waiting.result().status, own.result().status) == (201, 200)


def test_a_long_wait_ends_early_when_the_gateway_shuts_down(deployment: Deployment):
    """A graceful shutdown takes 5 s, less than the 25 s that a client may ask for."""
    other = deployment.start_gateway()
    deployment.wait_until_ready()
    location = order_async(deployment.gateway, delay_s=TIMEOUT_S + 5)
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(other.request, "GET", location, None, {"Prefer": "wait=25"})
        # By the end of this shorter wait the longer one has begun.
        assert other.request("GET", location, headers={"Prefer": "wait=1"}).status == 202
        other.child.terminate()
        response = waiting.result()

    assert response.status == 202
    assert "Preference-Applied" not in response.headers
    assert response.elapsed_s < 1 + TIMEOUT_S + 2


def test_a_cancelled_request_in_the_responders_queue_is_never_handled(deploy: Deploy):
    with deploy(env=ENV) as deployment:
        cancel_behind_a_slow_request(deployment.gateway, deployment.named("responder")[0])


def cancel_behind_a_slow_request(gateway: Gateway, responder: Process) -> None:
    begun = order_async(gateway, delay_s=2.5)
    with ThreadPoolExecutor(1) as clients:
        location = order_async(gateway)
        waiting = clients.submit(gateway.request, "GET", location, None, {"Prefer": "wait=25"})
        # By the end of this shorter wait the longer one has begun.
        assert gateway.request("GET", location, headers={"Prefer": "wait=1"}).status == 202
        cancelled = gateway.request("DELETE", location)
        response = waiting.result()
        still_busy = gateway.get(begun).status

    assert cancelled.status == 204
    assert response.status == 410
    assert response.json["title"] == "Request Cancelled"
    assert still_busy == 202  # the response did not wait for the responder
    done = gateway.request("GET", begun, headers={"Prefer": "wait=20"})
    assert done.status == 201
    assert order(gateway).status == 201  # the queue before it is handled
    assert gateway.request("DELETE", location).status == 204
    assert gateway.get(location).status == 410
    late = gateway.request("DELETE", begun)
    assert (late.status, late.json["type"]) == (409, "/problems/already-answered")
    responder.child.stop(15)
    counts = re.findall(r"requests so far: (.*)", responder.logged())[-1]
    assert "cancelled 1" in counts
    (line,) = [line for line in responder.logged().splitlines() if "has cancelled it" in line]
    assert f"correlation_id={location.rpartition('/')[2]} " in line
