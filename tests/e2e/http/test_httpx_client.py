"""httpx with a standard retry policy: repeats 503s, polls the status URL."""

from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    with deploy_for_module() as deployment:
        yield deployment


def client_of(deployment: Deployment, retry: Retry) -> httpx.Client:
    base_url = f"http://{LOOPBACK}:{deployment.gateway.port}"
    return httpx.Client(base_url=base_url, transport=RetryTransport(retry=retry), timeout=LIMIT_S)


def test_retries_with_an_idempotency_key_publish_once(deployment: Deployment):
    retry = Retry(total=20, allowed_methods=["POST"], status_forcelist=[503], backoff_factor=0.1)
    with client_of(deployment, retry) as client:

        def order() -> httpx.Response:
            return client.post("/orders", json=ORDER, headers={"Idempotency-Key": "tea-for-two"})

        deployment.redis.pause()
        try:
            with ThreadPoolExecutor() as pool:
                first = pool.submit(order)
                rejected = '"POST /orders HTTP/1.1" 503'
                logged = wait_until(lambda: rejected in deployment.gateway.logged(), LIMIT_S)
                deployment.redis.resume()
                first_response = first.result()
        finally:
            deployment.redis.resume()
        again = order()
    body = first_response.request.content
    published = [record for record in records_of(deployment, "orders") if record.value == body]

    assert logged
    assert (first_response.status_code, first_response.json()["item"]) == (201, "tea")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first_response.json()
    assert len(published) == 1


def test_the_status_url_is_polled_until_the_reply_is_there(deployment: Deployment):
    retry = Retry(total=20, status_forcelist=[202])
    with client_of(deployment, retry) as client:
        pending = client.post(
            "/orders", json=ORDER | {"delay_s": 1.5}, headers={"Prefer": "respond-async"}
        )
        reply = client.get(pending.headers["Location"])

    assert pending.status_code == 202
    assert (reply.status_code, reply.json()["item"]) == (201, "tea")
