"""Metrics of the three processes, across workers and their restarts; probes of the others."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.deployment import Deploy, Deployment
from tests.support.otlp_collector import Collector, collector
from tests.support.scrape import Scrape, answers, get, probe
from tools.devstack.ports import free_port
from tools.devstack.process.procfs import children_of
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

REQUESTS = 40
LIMIT_S = 20.0


@dataclass
class Observed:
    """A deployment, and the management ports of its processes."""

    deployment: Deployment
    collector: Collector
    web: int
    replies: int
    responder: int

    @property
    def arbiter(self) -> int:
        return self.deployment.gateway.child.pid

    def metrics_processes(self) -> list[tuple[int, Path]]:
        return metrics_processes(self.arbiter)


def metrics_processes(arbiter: int) -> list[tuple[int, Path]]:
    """Return the process that serves the metrics of a gateway, and the folder of its workers."""
    lines = {pid: command_line(pid) for pid in children_of(arbiter)}
    return [(pid, Path(words[4])) for pid, words in lines.items() if len(words) == 7]


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except FileNotFoundError:  # it has just ended
        return []


def is_ready(port: int) -> bool:
    return bool(probe(port, "/readyz")[0] == 200)


@pytest.fixture(scope="module")
def observed(deploy_for_module: Deploy) -> Iterator[Observed]:
    ports = [free_port() for _ in range(3)]
    with (
        collector() as server,
        deploy_for_module(
            gateways=0,
            replies=0,
            responders=0,
            env={"WEB_CONCURRENCY": "2", "OTEL_METRIC_EXPORT_INTERVAL": "500", **server.env},
        ) as deployment,
    ):
        deployment.start_gateway(METRICS_PORT=str(ports[0]))
        for name, port in zip(("replies", "responder"), ports[1:], strict=True):
            deployment.start(name, METRICS_PORT=str(port))
        deployment.responders = 1
        deployment.wait_until_ready()
        yield Observed(deployment, server, *ports)


def send(observed: Observed, number: int = REQUESTS) -> None:
    for _ in range(number):  # each over a new connection, so that both workers get some
        assert observed.deployment.gateway.post("/echo", b"x").status == 200


def test_each_process_counts_each_request_once(observed: Observed) -> None:
    web, responder = Scrape(observed.web), Scrape(observed.responder)
    stored = Scrape(observed.replies)("rendezvous_reply_records_total", outcome="stored")
    send(observed)
    assert observed.deployment.gateway.post("/nowhere").status == 404
    found = Scrape(observed.web)

    def grown(name: str, **labels: str) -> float:
        return found(name, **labels) - web(name, **labels)

    assert grown("rendezvous_outcomes_total", route="/echo", outcome="reply") == REQUESTS
    assert grown("rendezvous_outcomes_total") == REQUESTS + 1
    assert grown("rendezvous_sent_total", sent="yes") == REQUESTS
    assert grown("rendezvous_sent_total") == REQUESTS
    assert grown("rendezvous_replies_received_total") == REQUESTS
    assert grown("rendezvous_publish_seconds_count") == REQUESTS
    assert grown("rendezvous_reply_wait_seconds_count") == REQUESTS
    duration = "http_server_request_duration_seconds_count"
    labels = {"http_request_method": "POST", "http_response_status_code": "200"}
    assert grown(duration, http_route="/echo", **labels) == REQUESTS
    assert grown(duration, http_route="unmatched", http_response_status_code="404") == 1
    answered = Scrape(observed.responder)("rendezvous_responder_outcomes_total", outcome="answered")
    assert answered - responder("rendezvous_responder_outcomes_total") == REQUESTS

    def is_stored() -> bool:
        records = Scrape(observed.replies)("rendezvous_reply_records_total", outcome="stored")
        return records - stored == REQUESTS

    assert wait_until(is_stored, LIMIT_S)


def test_gauges_add_up_the_workers(observed: Observed) -> None:
    threads = observed.deployment.settings.threads - 4

    assert wait_until(lambda: Scrape(observed.web)("rendezvous_workers") == 2, LIMIT_S)
    # Each worker sets its gauges within half a second.
    assert wait_until(
        lambda: Scrape(observed.web)("rendezvous_in_flight_limit_requests") == 2 * threads, LIMIT_S
    )
    assert Scrape(observed.web)("rendezvous_build_info") == 1
    # The arbiter, which imports the metrics too, has no say.
    assert wait_until(lambda: Scrape(observed.web)("rendezvous_reply_path_read") == 1, LIMIT_S)
    assert Scrape(observed.web)("rendezvous_check_fails") == 0


def test_the_others_have_probes_and_the_gateway_its_own(observed: Observed) -> None:
    for port in (observed.replies, observed.responder):
        assert wait_until(partial(is_ready, port), LIMIT_S)
        assert probe(port, "/livez")[0] == 200
    lags = Scrape(observed.replies).samples
    assert {s.labels["partition"] for s in lags if s.name == "rendezvous_reply_lag_seconds"} == set(
        map(str, range(observed.deployment.partitions))
    )
    status, body = get(observed.web, "/readyz")
    assert status == 404
    assert b"/metrics" in body


def has_metric(collector: Collector, service: str, name: str) -> bool:
    return name in collector.metrics_of(service)


def test_each_process_pushes_what_it_serves(observed: Observed) -> None:
    served = Scrape(observed.web)("rendezvous_outcomes_total", outcome="reply")

    def pushed() -> float:
        metrics = observed.collector.metrics_of("rendezvous-gateway")
        points = metrics["rendezvous_outcomes"].sum.data_points if metrics else ()
        labels = [{each.value.string_value for each in point.attributes} for point in points]
        return sum(
            float(point.as_double)
            for point, own in zip(points, labels, strict=True)
            if "reply" in own
        )

    assert wait_until(lambda: pushed() == served, LIMIT_S)
    for service, name in (
        ("rendezvous-replies", "rendezvous_reply_records"),
        ("rendezvous-responder", "rendezvous_handler"),
        ("rendezvous-gateway", "http.server.request.duration"),
    ):
        # Each process pushes at its own time.
        assert wait_until(partial(has_metric, observed.collector, service, name), LIMIT_S)


def test_counts_outlive_workers_and_the_process_that_serves_them(observed: Observed) -> None:
    gateway = observed.deployment.gateway

    def replies() -> float:
        return Scrape(observed.web)("rendezvous_outcomes_total", outcome="reply")

    send(observed)
    before = replies()
    workers = gateway.worker_pids()
    os.kill(workers[0], signal.SIGKILL)
    assert wait_until(lambda: not set(gateway.worker_pids()) <= set(workers), LIMIT_S)
    os.kill(observed.arbiter, signal.SIGHUP)
    assert wait_until(lambda: not set(gateway.worker_pids()) & set(workers), LIMIT_S)
    observed.deployment.responders = 0  # its probe would be counted
    observed.deployment.wait_until_ready()

    assert replies() == before
    assert wait_until(lambda: Scrape(observed.web)("rendezvous_workers") == 2, LIMIT_S)
    ((process, folder),) = observed.metrics_processes()
    owners = {file.stem.rpartition("_")[2] for file in folder.iterdir()}
    assert owners <= {"0", *map(str, gateway.worker_pids()), str(observed.arbiter)}

    os.kill(process, signal.SIGKILL)
    assert wait_until(
        lambda: bool(observed.metrics_processes()) and answers(observed.web), LIMIT_S
    ), gateway.logged()
    send(observed)
    assert replies() == before + REQUESTS


def test_nothing_is_left_after_a_stop(observed: Observed) -> None:
    ((_, folder),) = observed.metrics_processes()
    gateway = observed.deployment.gateway
    gateway.child.terminate()
    gateway.child.stop(20)

    assert not folder.exists()
    assert not answers(observed.web)


def test_nothing_is_left_after_the_arbiter_was_killed(observed: Observed) -> None:
    env = {"PORT": str(free_port()), "METRICS_PORT": str(observed.web), "OTEL_SDK_DISABLED": "true"}
    # Without a supervisor, which would kill the process that is to remove the folder.
    arbiter = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        env=os.environ | observed.deployment.environment | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        assert wait_until(lambda: answers(observed.web), LIMIT_S)
        ((_, folder),) = metrics_processes(arbiter.pid)
    finally:
        arbiter.kill()
        arbiter.wait()

    assert wait_until(lambda: not folder.exists() and not answers(observed.web), 3 * LIMIT_S)
