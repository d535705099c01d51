"""A gateway with the settings of deploy/kubernetes, probed and stopped as Kubernetes does it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.chart import MANIFESTS, container, environment, objects, of_kind, pod
from tests.support.deployment import Deploy
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

FOUND = objects(MANIFESTS.read_text(encoding="utf-8"))
PROBES = {
    name: container(FOUND, "web")[name]["httpGet"]["path"]
    for name in ("startupProbe", "readinessProbe", "livenessProbe")
}
GRACE_S = pod(FOUND, "web")["spec"]["terminationGracePeriodSeconds"]
#: Longest wait of the routes, and time before the end of the drain delay at which it begins.
WAIT_S, MARGIN_S = 10, 0.5
SLOW_ORDER = json.dumps({"item": "tea", "quantity": 1, "delay_s": WAIT_S - 0.5}).encode()
#: Given by the test.
OWN = {"KAFKA_URL", "REDIS_URL", "PORT", "ROUTES_FILE"}


def test_the_last_client_of_a_pod_is_answered_before_the_pod_is_killed(
    deploy: Deploy, tmp_path: Path
):
    routes = tmp_path / "routes.toml"
    routes.write_text(of_kind(FOUND, "ConfigMap")["rendezvous-routes"]["data"]["routes.toml"])
    env = {name: value for name, value in environment(FOUND, "web").items() if name not in OWN}
    drain_delay_s = float(env["DRAIN_DELAY_S"])

    with (
        deploy(env=env | {"ROUTES_FILE": str(routes)}) as deployment,
        ThreadPoolExecutor(1) as client,
    ):
        gateway = deployment.gateway
        before = {name: gateway.get(path).status for name, path in PROBES.items()}
        stopped_s = time.monotonic()
        gateway.child.terminate()
        assert wait_until(lambda: gateway.get(PROBES["readinessProbe"]).status == 503, 1)
        alive = gateway.get(PROBES["livenessProbe"])
        time.sleep(stopped_s + drain_delay_s - MARGIN_S - time.monotonic())
        last = client.submit(gateway.post, "/orders", SLOW_ORDER, Prefer=f"wait={WAIT_S}")
        code = gateway.child.wait(GRACE_S)
        took_s = time.monotonic() - stopped_s

    assert set(before.values()) == {200}
    assert alive.status == 200
    assert last.result().status == 201
    assert code == 0
    assert drain_delay_s + WAIT_S - 1 < took_s < GRACE_S
