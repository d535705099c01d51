"""Swagger UI, HTML problem pages, CORS and X-Request-ID."""

import gzip
import json
import re
from collections.abc import Iterator

import pytest

from rendezvous.contract import Request
from tests.support.deployment import Deploy, Deployment, Gateway, Response
from tests.support.records import records_of

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    with deploy_for_module(env={"CORS_ORIGINS": ORIGIN}) as deployment:
        yield deployment


@pytest.fixture
def gateway(deployment: Deployment) -> Gateway:
    return deployment.gateway


def test_swagger_ui_loads_its_files_and_describes_a_request_that_works(gateway: Gateway):
    page = gateway.get("/docs").body.decode()
    files = [gateway.get("/" + path) for path in re.findall('(?:src|href)="(.*?)"', page)]
    description = gateway.get("/openapi.json").json
    operation = description["paths"]["/orders"]["post"]
    (content_type, *_) = operation["requestBody"]["content"]

    response = gateway.post("/orders", b'{"item": "tea", "quantity": 2}', content_type=content_type)

    assert [file.status for file in files] == [200] * 4
    assert (response.status, response.json["item"]) == (201, "tea")


def test_the_files_of_swagger_ui_are_compressed(gateway: Gateway):
    page = gateway.get("/docs").body.decode()
    for path in re.findall('(?:src|href)="(.*?js|.*?css)"', page):
        plain = gateway.get("/" + path)
        compressed = gateway.request("GET", "/" + path, b"", {"Accept-Encoding": "gzip"})

        assert compressed.headers["Content-Encoding"] == "gzip"
        assert compressed.headers["Content-Length"] == str(len(compressed.body))
        assert gzip.decompress(compressed.body) == plain.body


def test_x_request_id_is_in_the_record_once_and_in_the_response(
    deployment: Deployment, gateway: Gateway
):
    response = gateway.post("/echo", b"named", x_request_id="order-7/try-1")

    assert response.headers.get_all("X-Request-ID") == ["order-7/try-1"]
    topic = deployment.settings.prefixed("echo")
    (record,) = [r for r in records_of(deployment, "echo") if r.value == b"named"]
    assert [value for name, value in record.headers if name == "x-request-id"] == [b"order-7/try-1"]
    request = Request.decode(topic, record.key, record.value, record.headers)
    assert request.header("X-Request-ID") == "order-7/try-1"


def not_found(gateway: Gateway, accept: str) -> Response:
    return gateway.request("POST", "/<b>nowhere</b>", b"x", {"Accept": accept})


def test_clients_that_prefer_html_get_a_problem_page_with_the_request_escaped(gateway: Gateway):
    page = not_found(gateway, "text/html,*/*;q=0.8")
    problem = not_found(gateway, "*/*")

    assert (page.status, problem.status) == (404, 404)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"&lt;b&gt;nowhere" in page.body
    assert b"<b>" not in page.body
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json["retryable"] is False


def test_an_allowed_origin_passes_preflight_and_can_read_the_response(gateway: Gateway):
    preflight = gateway.request(
        "OPTIONS", "/orders", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    )
    response = gateway.post("/orders", json.dumps({"item": "tea"}).encode(), origin=ORIGIN)

    assert (preflight.status, preflight.body) == (204, b"")
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "X-Correlation-ID" in response.headers["Access-Control-Expose-Headers"]
