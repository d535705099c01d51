"""Probes and grace periods of the chart fit the gateway that it runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.server.shutdown import LATE_CONNECTIONS_S
from rendezvous.process.watchdog import Watchdog
from responder.worker import FINISH_S
from tests.support.chart import (
    LEAST,
    ROOT,
    Object,
    container,
    environment,
    merged,
    of_kind,
    pod,
    render,
)

#: Prints what gunicorn.conf.py sets, in a process with the environment of the pod.
READ = "import runpy; c = runpy.run_path('gunicorn.conf.py'); print(*(c[n] for n in {names!r}))"
ROUTES = {
    "one timeout for all": '[[route]]\npath = "/a"\ntopic = "a"\n',
    "a route with another": '[[route]]\npath = "/a"\ntopic = "a"\n[[route]]\npath = "/b"\n'
    'topic = "b"\ntimeout_s = 7.5\n',
    "clients that may ask for more": '[[route]]\npath = "/a"\ntopic = "a"\ntimeout_s = 0.2\n'
    "max_timeout_s = 20\n",
}


def gunicorn_reads(found: list[Object], folder: Path, *names: str) -> list[str]:
    """Return settings of gunicorn in a pod of web, whose routes are put into *folder*."""
    file = folder / "routes.toml"
    file.write_text(of_kind(found, "ConfigMap")["shop-routes"]["data"]["routes.toml"])
    env = environment(found, "web") | {"ROUTES_FILE": str(file), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", READ.format(names=names)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def grace_s(found: list[Object], process: str) -> int:
    return int(pod(found, process)["spec"]["terminationGracePeriodSeconds"])


@pytest.mark.parametrize("routes", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize(("reply_timeout_s", "drain_delay_s"), [(0.5, 0), (3, 2.5), (28, 5)])
def test_web_is_killed_only_after_it_has_stopped(tmp_path, routes, reply_timeout_s, drain_delay_s):
    timing = {"REPLY_TIMEOUT_S": reply_timeout_s, "DRAIN_DELAY_S": drain_delay_s}
    found = render({**merged(LEAST, settings=timing), "routes": routes})
    (graceful_timeout,) = gunicorn_reads(found, tmp_path, "graceful_timeout")
    stopped_s = drain_delay_s + int(graceful_timeout) + LATE_CONNECTIONS_S

    assert stopped_s < grace_s(found, "web") <= stopped_s + 2


@pytest.mark.parametrize(("reply_timeout_s", "longest_s"), [(0.5, 10), (3, 10), (28, 28)])
def test_the_default_routes_set_the_grace_periods(reply_timeout_s, longest_s):
    found = render(merged(LEAST, settings={"REPLY_TIMEOUT_S": reply_timeout_s}))

    assert grace_s(found, "web") == 5 + longest_s + 2 + 3
    assert grace_s(found, "responder") == longest_s + 15 > longest_s + FINISH_S
    assert grace_s(found, "replies") == 30


def test_handlers_may_take_longer():
    found = render({**LEAST, "responder": {"terminationGracePeriodSeconds": 300}})

    assert grace_s(found, "responder") == 300


@pytest.mark.parametrize("port", [8000, 9000])
def test_probes_ask_the_port_that_the_gateway_serves(tmp_path, port):
    found = render(merged(LEAST, settings={"PORT": port}))
    web = container(found, "web")
    (bound,) = gunicorn_reads(found, tmp_path, "bind")
    (service,) = of_kind(found, "Service").values()

    assert bound.endswith(f":{port}")
    assert {"name": "http", "containerPort": port} in web["ports"]
    assert {probe["httpGet"]["port"] for probe in probes(web).values()} == {"http"}
    assert service["spec"]["ports"][0]["targetPort"] == "http"


def probes(own: Object) -> dict[str, Any]:
    return {name: own[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")}


def test_an_outage_takes_no_pod_out_of_the_service_and_restarts_none():
    asked = {
        name: probe["httpGet"]["path"] for name, probe in probes(container(render(), "web")).items()
    }

    assert asked == {
        "startupProbe": "/readyz",
        "readinessProbe": "/readyz?local",
        "livenessProbe": "/livez",
    }


def test_gunicorn_replaces_a_worker_before_kubernetes_restarts_the_pod(tmp_path):
    found = render()
    (timeout,) = gunicorn_reads(found, tmp_path, "timeout")
    liveness = container(found, "web")["livenessProbe"]

    assert liveness["periodSeconds"] * liveness["failureThreshold"] > int(timeout) + 10


@pytest.mark.parametrize("process", ["replies", "responder"])
def test_a_process_that_hangs_ends_itself_before_kubernetes_restarts_the_pod(process):
    liveness = container(render(), process)["livenessProbe"]

    assert liveness["periodSeconds"] * liveness["failureThreshold"] > Watchdog("").limit_s + 10
