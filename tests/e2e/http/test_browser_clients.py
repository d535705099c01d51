"""What the gateway says of itself, over HTTP: its description, its pages, its errors."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rendezvous.contract import Request
from tests.support.deployment import Deployment, Gateway, Response
from tests.support.records import records_of
from tools.devstack.process.server import Server

pytestmark = pytest.mark.e2e

ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("described")
    with Deployment(kafka, redis_server, folder, env={"CORS_ORIGINS": ORIGIN}) as deployment:
        yield deployment


@pytest.fixture
def gateway(deployment: Deployment) -> Gateway:
    return deployment.gateway


def test_the_page_has_all_that_it_loads_and_leads_to_an_order(gateway: Gateway):
    page = gateway.get("/docs").body.decode()
    files = [gateway.get("/" + path) for path in re.findall('(?:src|href)="(.*?)"', page)]
    description = gateway.get("/openapi.json").json
    operation = description["paths"]["/orders"]["post"]
    (content_type, *_) = operation["requestBody"]["content"]

    ordered = gateway.post("/orders", b'{"item": "tea", "quantity": 2}', content_type=content_type)

    assert [file.status for file in files] == [200] * 4
    assert (ordered.status, ordered.json["item"]) == (201, "tea")


def test_the_name_of_a_request_reaches_kafka_once_and_comes_back(
    deployment: Deployment, gateway: Gateway
):
    response = gateway.post("/echo", b"named", x_request_id="order-7/try-1")

    assert response.headers.get_all("X-Request-ID") == ["order-7/try-1"]
    topic = deployment.settings.prefixed("echo")
    (record,) = [r for r in records_of(deployment, "echo") if r.value == b"named"]
    assert [value for name, value in record.headers if name == "x-request-id"] == [b"order-7/try-1"]
    request = Request.decode(topic, record.key, record.value, record.headers)
    assert request.header("X-Request-ID") == "order-7/try-1"


def refused(gateway: Gateway, accept: str) -> Response:
    return gateway.request("POST", "/<b>nowhere</b>", b"x", {"Accept": accept})


def test_who_prefers_a_page_gets_one_in_which_nothing_of_the_request_is_markup(gateway: Gateway):
    page = refused(gateway, "text/html,*/*;q=0.8")
    problem = refused(gateway, "*/*")

    assert (page.status, problem.status) == (404, 404)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"&lt;b&gt;nowhere" in page.body
    assert b"<b>" not in page.body
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json["retryable"] is False


def test_a_page_of_another_origin_may_ask_first_and_read_what_comes(gateway: Gateway):
    asked = gateway.request(
        "OPTIONS",
        "/orders",
        headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"},
    )
    answered = gateway.post("/orders", json.dumps({"item": "tea"}).encode(), origin=ORIGIN)

    assert (asked.status, asked.body) == (204, b"")
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    assert answered.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "X-Correlation-ID" in answered.headers["Access-Control-Expose-Headers"]
