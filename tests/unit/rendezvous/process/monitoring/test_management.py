"""The management port: metrics and probes."""

import errno
import json
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from rendezvous.process.monitoring import management
from rendezvous.process.monitoring.health import ProcessHealth
from rendezvous.process.monitoring.management import ManagementServer
from rendezvous.process.monitoring.metrics import show_only
from rendezvous.process.watchdog import Watchdog
from tests.fakes import eventually
from tests.support.scrape import get
from tools.devstack.ports import free_port


@pytest.fixture
def serve():
    servers = []

    def start(**options):
        registry = CollectorRegistry()
        Counter("things_total", "Things", registry=registry).inc(3)
        port = free_port()
        servers.append(ManagementServer(port, registry, **options))
        servers[-1].start()
        return port

    yield start
    for server in servers:
        server.close()


def listens(port, address="127.0.0.1"):
    try:
        socket.create_connection((address, port), 1).close()
    except OSError:
        return False
    return True


def test_metrics_are_served_as_the_scraper_asks_for_them(serve):
    port = serve()
    eventually(lambda: listens(port))

    assert b"things_total 3.0" in get(port, "/metrics")[1]
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    with urllib.request.urlopen(request) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        assert response.read().endswith(b"# EOF\n")


def test_it_listens_on_ipv4_and_ipv6(serve):
    port = serve()

    eventually(lambda: listens(port))
    if socket.has_dualstack_ipv6():
        assert listens(port, "::1")


def test_without_ipv6_it_listens_on_ipv4(serve, monkeypatch):
    def fail(self):
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(management._ServerOnIPv6, "server_bind", fail)
    port = serve()

    eventually(lambda: listens(port))


def test_a_probe_says_what_is_wrong(serve):
    problems = ["Redis does not answer"]
    port = serve(alive=list, ready=lambda: problems)
    eventually(lambda: listens(port))

    status, body = get(port, "/readyz")
    assert (status, json.loads(body)["problems"]) == (503, problems)
    problems.clear()
    assert get(port, "/readyz")[0] == get(port, "/livez")[0] == 200


def test_another_path_is_a_404_that_names_the_paths(serve):
    port = serve(ready=list)
    eventually(lambda: listens(port))

    status, body = get(port, "/livez")
    assert status == 404
    assert b"/metrics, /readyz" in body


def test_a_port_that_is_taken_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(management, "RETRY_S", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = ManagementServer(port)
        server.start()
        eventually(lambda: f"METRICS_PORT={port} cannot be listened on" in caplog.text)
    eventually(lambda: listens(port))
    server.close()

    assert caplog.text.count("cannot be listened on") == 1


def test_a_slow_client_delays_no_other(serve):
    port = serve()
    eventually(lambda: listens(port))

    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET /metr")
        assert get(port, "/metrics")[0] == 200


# What the probes say


def test_a_process_is_ready_without_problems_and_alive_while_its_loop_turns():
    ended: list[int] = []
    watchdog = Watchdog("the loop of the test", 0.4, ended.append)
    health = ProcessHealth(watchdog)

    assert "not connected" in health.unready()[0]
    health.problems = []
    assert health.unready() == health.dead() == []
    watchdog.start()
    eventually(health.dead)
    assert "the loop of the test has hung" in health.dead()[0]
    assert health.unready() == health.dead()
    watchdog.stop()
    assert health.dead() == []


def test_the_labels_of_what_is_gone_are_removed():
    from prometheus_client import Gauge

    registry = CollectorRegistry()
    gauge = Gauge("lag_seconds", "Lag", ("partition",), registry=registry)
    shown = show_only(gauge, {("0",): 1.0, ("1",): 2.0}, set())
    show_only(gauge, {("1",): 3.0}, shown)

    assert registry.get_sample_value("lag_seconds", {"partition": "0"}) is None
    assert registry.get_sample_value("lag_seconds", {"partition": "1"}) == 3.0
