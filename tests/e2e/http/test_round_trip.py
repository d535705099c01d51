"""A newcomer's first requests, from the first curl to the last chance to fetch a late reply."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.brokers import on_both_brokers
from tests.support.deployment import Deployment, Gateway, Response
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, on_both_brokers]

TIMEOUT_S, RETENTION_S = 2.0, 4.0
#: How much later than the deadline an answer may come on a machine that is out of breath.
LATE_S = 1.5


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("round-trip")
    env = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "REPLY_RETENTION_S": str(RETENTION_S)}
    with Deployment(kafka, redis_server, folder, env=env) as deployment:
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


def test_a_body_without_content_type_comes_back_without_one(gateway: Gateway):
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
    ids=["good", "nothing ordered", "cut off", "too deep", "bomb"],
)
def test_an_order_ends_with_the_status_of_its_handler(gateway: Gateway, order: bytes, status: int):
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


def test_the_reply_stays_for_those_who_ask_again(gateway: Gateway):
    response = gateway.post("/echo", b"twice", content_type="text/plain")

    again = gateway.get(f"/replies/{response.correlation_id}")

    assert (again.status, again.body) == (200, b"twice")


@pytest.mark.parametrize("place", [0, 30, -1])
def test_an_altered_id_is_unknown(gateway: Gateway, place: int):
    characters = list(gateway.post("/echo", b"x").correlation_id)
    characters[place] = "1" if characters[place] == "0" else "0"

    response = gateway.get(f"/replies/{''.join(characters)}")

    assert (response.status, response.json["type"]) == (404, "/problems/unknown-reply")


def test_an_invented_id_is_unknown(gateway: Gateway):
    assert gateway.get("/replies/made-up").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/echo", 405), ("DELETE", "/livez", 405)],
)
def test_what_http_forbids_is_answered_as_problem_details(
    gateway: Gateway, method: str, path: str, status: int
):
    response = gateway.request(method, path)

    assert response.status == response.json["status"] == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert status != 405 or response.headers["Allow"]


def test_each_problem_type_leads_to_its_explanation(gateway: Gateway):
    response = gateway.get(gateway.get("/replies/made-up").json["type"])

    assert response.status == 200
    assert b"not issued here" in response.body


def test_an_id_that_a_client_chooses_is_only_a_label(deployment: Deployment):
    """Two clients with the same ids in their requests: nobody gets the other's reply."""
    labels = {"X-Correlation-ID": "mine", "X-Request-ID": "mine", "correlation-id": "mine"}

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
    assert deployment.gateway.get("/replies/mine").status == 404
