"""Clocks that differ by an hour are reported with process and amount."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Deploy, Deployment, Gateway
from tools.devstack.readiness import ECHO, GatewayProbe
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

HOUR_S = 3_600
SHIFTED = str(Path(__file__).with_name("shifted_clock"))
LIMIT_S = 30.0
#: All replies pass the clock of a replies process; with straight replies this would be a warning.
STORE = {"REPLY_DELIVERY": "store"}


def shifted(ahead_s: int) -> dict[str, str]:
    """Return the environment of a process whose clock is ahead."""
    return {"PYTHONPATH": SHIFTED, "CLOCK_AHEAD_S": str(ahead_s)}


def is_not_ready(gateway: Gateway, cause: str) -> bool:
    """Return whether /readyz is 503 with *cause* among its problems."""
    try:
        response = gateway.get("/readyz")
    except OSError:
        return False
    return response.status == 503 and cause in str(response.json["problems"])


def test_a_responder_an_hour_ahead_is_logged_and_requests_fail_at_once(deploy: Deploy):
    with deploy(responders=0, env={"REPLY_TIMEOUT_S": "1"}) as deployment:
        responder = deployment.start("responder", **shifted(HOUR_S))

        def is_rejected() -> bool:
            return bool(deployment.gateway.post("/echo", b"x").json.get("title") == "Clocks Differ")

        # Until the difference is detected, requests time out or are shed.
        assert wait_until(is_rejected, 2 * LIMIT_S)
        again = deployment.gateway.post("/echo", b"x")

    assert "this clock is 3599 s or more" in responder.logged()
    assert "ahead of the gateways': requests that have just been published" in responder.logged()
    assert again.status == 503
    assert "ahead of the gateway's" in again.json["detail"]
    assert again.elapsed_s < 1


def test_a_responder_an_hour_behind_replies_and_logs_it(deploy: Deploy):
    with deploy(responders=0) as deployment:
        responder = deployment.start("responder", **shifted(-HOUR_S))
        assert wait_until(lambda: deployment.gateway.post("/echo", b"x").status == 200, LIMIT_S)

    assert "this clock is behind the gateways'; set it (NTP)" in responder.logged()


def test_a_replies_process_an_hour_ahead_makes_gateways_not_ready(deploy: Deploy):
    with deploy(gateways=0, replies=0, responders=0, env=STORE) as deployment:
        deployment.start("replies", **shifted(HOUR_S))
        gateway = deployment.start_gateway()

        assert wait_until(lambda: is_not_ready(gateway, "3600 s ahead of this gateway's"), LIMIT_S)


@pytest.fixture(scope="module")
def deployment(deploy_for_module: Deploy) -> Iterator[Deployment]:
    with deploy_for_module(env=STORE) as deployment:
        yield deployment


def test_a_gateway_an_hour_behind_is_not_ready(deployment: Deployment):
    gateway = deployment.start_gateway(**shifted(-HOUR_S))

    assert wait_until(lambda: is_not_ready(gateway, "3600 s ahead of this gateway's"), LIMIT_S)
    # The other gateway is ready.
    assert deployment.gateway.get("/readyz").status == 200


def test_a_gateway_an_hour_ahead_serves_and_reports_a_warning(deployment: Deployment):
    gateway = deployment.start_gateway(**shifted(HOUR_S))
    probe = GatewayProbe(gateway.port, ECHO, 2, 3)
    assert wait_until(probe.is_ready, LIMIT_S), probe.problem
    response = gateway.post("/echo", b"x")
    warnings = gateway.get("/readyz").json["warnings"]
    responder = deployment.named("responder")[0]

    assert (response.status, response.body) == (200, b"x")
    assert "3600 s behind this gateway's" in str(warnings)
    assert "this clock is behind the gateways'" in responder.logged()


def test_a_difference_of_a_second_is_not_reported(deploy: Deploy):
    with deploy(gateways=0, replies=0, responders=0) as deployment:
        responder = deployment.start("responder", **shifted(1))
        replies = deployment.start("replies", **shifted(1))
        deployment.start_gateway()
        assert wait_until(lambda: deployment.gateway.responds("/readyz"), LIMIT_S)
        assert wait_until(lambda: deployment.gateway.post("/echo", b"x").status == 200, LIMIT_S)
        started_s = time.monotonic()
        while time.monotonic() - started_s < 3:  # a difference is detected within this time
            assert deployment.gateway.post("/echo", b"x").status == 200
        warnings = deployment.gateway.get("/readyz").json["warnings"]

    assert warnings == []
    assert "clock" not in responder.logged() + replies.logged()
