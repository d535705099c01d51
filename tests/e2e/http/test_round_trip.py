"""Requests and responses on the default routes, late replies, unknown ids."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.brokers import on_both_brokers
from tests.support.deployment import Deploy, Deployment, Gateway, Response
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_both_brokers]

TIMEOUT_S, RETENTION_S = 2.0, 4.0
#: Tolerance for a slow machine, in seconds.
LATE_S = 1.5


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    env = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "REPLY_RETENTION_S": str(RETENTION_S)}
    with deploy_for_module(env=env) as deployment:
        yield deployment


@pytest.fixture
def gateway(deployment: Deployment) -> Gateway:
    return deployment.gateway


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"hello": "world"}', "application/json"),
        (b"\x00\xff binary \x00\r\n", "application/octet-stream"),
        (b"", "text/plain"),
        (b"x" * 800_000, "text/plain; charset=utf-8"),
        ("grüße".encode(), "text/plain; charset=utf-8"),
    ],
    ids=["json", "binary", "empty", "800 kB", "utf-8"],
)
def test_echo_returns_the_same_bytes_and_content_type(
    gateway: Gateway, body: bytes, content_type: str
):
    response = gateway.post("/echo", body, content_type=content_type)

    assert (response.status, response.body) == (200, body)
    assert response.headers["Content-Type"] == content_type


def test_a_body_without_content_type_is_returned_without_one(gateway: Gateway):
    response = gateway.post("/echo", b"plain")

    assert (response.status, response.body) == (200, b"plain")
    assert response.headers["Content-Type"] is None


@pytest.mark.parametrize(
    ("order", "status"),
    [
        (b'{"item": "tea", "quantity": 2}', 201),
        (b'{"item": "tea", "quantity": 0}', 422),
        (b'{"item": "tea"', 400),
        (b"[" * 100_000, 400),
        (b'{"item": "bomb", "quantity": 1}', 500),
    ],
    ids=["good", "quantity 0", "truncated", "nested too deep", "bomb"],
)
def test_an_order_gets_the_status_of_its_handler(gateway: Gateway, order: bytes, status: int):
    response = gateway.post("/orders", order, content_type="application/json")

    assert response.status == status
    if status == 201:
        assert response.json["item"] == "tea"
        assert response.json["quantity"] == 2
    else:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert b"Traceback" not in response.body
        assert response.json["status"] == status


def test_a_late_reply_can_be_fetched_until_its_retention_is_over(gateway: Gateway):
    slow = {"item": "tea", "quantity": 1, "delay_s": TIMEOUT_S + 1.5}

    response = gateway.post("/orders", json.dumps(slow).encode())

    assert response.status == 503
    assert response.json["title"] == "Gateway Timeout"
    assert response.json["type"] == "/problems/reply-timeout"
    assert response.json["sent"] == "yes"
    assert int(response.headers["Retry-After"]) >= 1
    assert TIMEOUT_S <= response.elapsed_s < TIMEOUT_S + LATE_S
    location = response.headers["Location"]
    pending = gateway.get(location)
    assert (pending.status, pending.json["status"]) == (202, "pending")
    assert pending.headers["Retry-After"] == "1"
    assert wait_until(lambda: gateway.get(location).status == 201, RETENTION_S)
    assert gateway.get(location).json["item"] == "tea"
    assert wait_until(lambda: gateway.get(location).status == 410, RETENTION_S + 2)


def test_a_reply_can_be_fetched_again(gateway: Gateway):
    response = gateway.post("/echo", b"twice", content_type="text/plain")

    again = gateway.fetch(response.correlation_id)

    assert (again.status, again.body) == (200, b"twice")


@pytest.mark.parametrize("position", [0, 30, -1])
def test_an_altered_id_is_unknown(gateway: Gateway, position: int):
    characters = list(gateway.post("/echo", b"x").correlation_id)
    characters[position] = "1" if characters[position] == "0" else "0"

    response = gateway.get(f"/replies/{''.join(characters)}")

    assert (response.status, response.json["type"]) == (404, "/problems/unknown-reply")


def test_an_invented_id_is_unknown(gateway: Gateway):
    assert gateway.get("/replies/made-up").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/echo", 405), ("DELETE", "/livez", 405)],
)
def test_errors_are_problem_details(gateway: Gateway, method: str, path: str, status: int):
    response = gateway.request(method, path)

    assert response.status == response.json["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert status != 405 or response.headers["Allow"]


def test_a_problem_type_is_the_url_of_its_explanation(gateway: Gateway):
    response = gateway.get(gateway.get("/replies/made-up").json["type"])

    assert response.status == 200
    assert b"not issued by this gateway" in response.body


def test_ids_chosen_by_clients_do_not_affect_which_reply_they_get(deployment: Deployment):
    labels = {"X-Correlation-ID": "same", "X-Request-ID": "same", "correlation-id": "same"}

    def client(name: str) -> list[Response]:
        return [
            deployment.gateway.request("POST", "/echo", f"{name} {n}".encode(), labels)
            for n in range(100)
        ]

    with ThreadPoolExecutor(2) as clients:
        found = dict(zip("ab", clients.map(client, "ab"), strict=True))

    for name, responses in found.items():
        assert [response.body for response in responses] == [
            f"{name} {n}".encode() for n in range(100)
        ]
    ids = [response.correlation_id for responses in found.values() for response in responses]
    assert len(set(ids)) == 200
    assert deployment.gateway.get("/replies/same").status == 404
