"""Probes and problem pages."""

import pytest

import rendezvous
from gateway.health.readiness import Check, Readiness
from gateway.problems import DOCUMENTED
from tests.unit.gateway.web.routes.gateway import assert_problem


@pytest.fixture
def draining():
    return [False]


@pytest.fixture
def client(new_app, draining):
    return new_app(draining=lambda: draining[0]).test_client()


def test_a_draining_process_is_live(client, draining):
    draining[0] = True

    assert client.get("/livez").status_code == 200


def test_a_process_is_ready_until_it_drains(client, draining):
    ready = client.get("/readyz")
    draining[0] = True
    not_ready = client.get("/readyz")

    assert (ready.status_code, ready.get_json()["problems"]) == (200, [])
    assert not_ready.status_code == 503
    assert not_ready.get_json()["problems"] == ["this process is shutting down"]


def test_readyz_names_the_node_of_the_process(client):
    node = client.get("/readyz").get_json()["node"]

    assert client.post("/echo").headers["X-Correlation-ID"].startswith(f"{node}.")


def test_readyz_names_the_version(client):
    assert client.get("/readyz").get_json()["version"] == rendezvous.__version__


def test_a_problem_ends_readiness_and_is_reported(client, monkeypatch):
    monkeypatch.setattr(Check, "problem", lambda self: "topic missing: orders; create it")
    monkeypatch.setattr(Readiness, "problems", lambda self: [Check("Kafka", str).problem()])

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.get_json()["problems"] == ["topic missing: orders; create it"]


def test_a_warning_is_reported_and_does_not_end_readiness(client, monkeypatch):
    monkeypatch.setattr(Readiness, "warnings", lambda self: ["the clocks differ"])

    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.get_json()["warnings"] == ["the clocks differ"]


@pytest.mark.parametrize("path", ["/readyz?local", "/readyz?local="])
def test_readyz_local_reports_only_what_concerns_this_process(client, draining, monkeypatch, path):
    monkeypatch.setattr(Readiness, "problems", lambda self: ["no broker reachable"])

    ready = client.get(path)
    draining[0] = True
    not_ready = client.get(path)

    assert (ready.status_code, ready.get_json()["problems"]) == (200, [])
    assert not_ready.status_code == 503
    assert not_ready.get_json()["problems"] == ["this process is shutting down"]


@pytest.mark.parametrize("kind", sorted(DOCUMENTED))
def test_every_problem_type_has_a_page(client, kind):
    response = client.get(f"/problems/{kind}")

    assert response.status_code == 200
    assert DOCUMENTED[kind].meaning in response.text
    assert DOCUMENTED[kind].retry in response.text


def test_the_page_of_an_unknown_problem_type_is_a_404(client):
    problem = assert_problem(client.get("/problems/none"), 404, None, "no")

    assert problem["type"] == "about:blank"
