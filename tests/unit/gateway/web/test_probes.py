"""Probes and problem pages."""

import pytest

from gateway.health.readiness import Check, Readiness
from gateway.problems import DOCUMENTED
from tests.unit.gateway.web.route_gateway import assert_problem


def test_a_draining_process_is_live(gateway):
    gateway.draining[0] = True

    assert gateway.request("GET", "/livez").status_code == 200


def test_a_process_is_ready_until_it_drains(gateway):
    ready = gateway.request("GET", "/readyz")
    gateway.draining[0] = True
    draining = gateway.request("GET", "/readyz")

    assert (ready.status_code, ready.get_json()["problems"]) == (200, [])
    assert draining.status_code == 503
    assert draining.get_json()["problems"] == ["this process is shutting down"]


def test_readyz_names_the_node_of_the_process(gateway):
    node = gateway.request("GET", "/readyz").get_json()["node"]

    assert gateway.request("POST", "/echo").headers["X-Correlation-ID"].startswith(f"{node}.")


def test_a_problem_ends_readiness_and_is_reported(gateway, monkeypatch):
    monkeypatch.setattr(Check, "problem", lambda self: "topic missing: orders; create it")
    monkeypatch.setattr(Readiness, "problems", lambda self: [Check("Kafka", str).problem()])

    response = gateway.request("GET", "/readyz")

    assert response.status_code == 503
    assert response.get_json()["problems"] == ["topic missing: orders; create it"]


def test_a_warning_is_reported_and_does_not_end_readiness(gateway, monkeypatch):
    monkeypatch.setattr(Readiness, "warnings", lambda self: ["the clocks differ"])

    response = gateway.request("GET", "/readyz")

    assert response.status_code == 200
    assert response.get_json()["warnings"] == ["the clocks differ"]


@pytest.mark.parametrize("kind", sorted(DOCUMENTED))
def test_every_problem_type_has_a_page(gateway, kind):
    response = gateway.request("GET", f"/problems/{kind}")

    assert response.status_code == 200
    assert DOCUMENTED[kind].meaning in response.text
    assert DOCUMENTED[kind].retry in response.text


def test_the_page_of_an_unknown_problem_type_is_a_404(gateway):
    problem = assert_problem(gateway.request("GET", "/problems/none"), 404, None, "no")

    assert problem["type"] == "about:blank"
