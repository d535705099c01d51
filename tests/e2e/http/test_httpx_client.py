"""A client that knows nothing of us waits and retries as its own documentation says: httpx."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from httpx_retries import Retry, RetryTransport

from tests.support.deployment import Deploy, Deployment
from tests.support.records import records_of
from tools.devstack.ports import LOOPBACK
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.e2e

LIMIT_S = 20.0
ORDER = {"item": "tea", "quantity": 2}


def client_of(deployment: Deployment, retry: Retry) -> httpx.Client:
    base_url = f"http://{LOOPBACK}:{deployment.gateway.port}"
    return httpx.Client(base_url=base_url, transport=RetryTransport(retry=retry), timeout=LIMIT_S)


def test_it_sends_again_until_the_gateway_can_serve_and_has_one_effect(
    deploy: Deploy,
):
    retry = Retry(total=20, allowed_methods=["POST"], status_forcelist=[503], backoff_factor=0.1)
    with deploy() as deployment, client_of(deployment, retry) as client:

        def order() -> httpx.Response:
            return client.post("/orders", json=ORDER, headers={"Idempotency-Key": "tea-for-two"})

        deployment.redis.pause()
        try:
            with ThreadPoolExecutor() as pool:
                first = pool.submit(order)
                refused = '"POST /orders HTTP/1.1" 503'
                told = wait_until(lambda: refused in deployment.gateway.logged(), LIMIT_S)
                deployment.redis.resume()
                response = first.result()
        finally:
            deployment.redis.resume()
        again = order()
        published = records_of(deployment, "orders")

    assert told
    assert (response.status_code, response.json()["item"]) == (201, "tea")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == response.json()
    assert len(published) == 1


def test_it_waits_at_the_status_url_as_long_as_it_is_told_to(deploy: Deploy):
    retry = Retry(total=20, status_forcelist=[202])
    with deploy() as deployment, client_of(deployment, retry) as client:
        pending = client.post(
            "/orders", json=ORDER | {"delay_s": 1.5}, headers={"Prefer": "respond-async"}
        )
        reply = client.get(pending.headers["Location"])

    assert pending.status_code == 202
    assert (reply.status_code, reply.json()["item"]) == (201, "tea")
