"""A clock that is an hour off is reported, by name and amount, and not a silent timeout."""

import time
from pathlib import Path

import pytest

from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deploy, Deployment, Process, Response
from tools.devstack.readiness import ECHO, GatewayProbe
from tools.devstack.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    # What is at stake is ours alone, whichever broker carries it.
    on_embedded_broker,
]

HOUR_S = 3_600
SHIFTED = str(Path(__file__).with_name("shifted_clock"))
LIMIT_S = 30.0


def shifted(ahead_s: int) -> dict[str, str]:
    """Return the environment of a process whose clock is ahead."""
    return {"PYTHONPATH": SHIFTED, "CLOCK_AHEAD_S": str(ahead_s)}


def replace(deployment: Deployment, name: str, ahead_s: int) -> Process:
    """Put a process whose clock is ahead in the place of the one there is."""
    (old,) = deployment.named(name)
    assert old.child.stop(10) == 0
    deployment.processes.remove(old)
    return deployment.start(name, **shifted(ahead_s))


def ready(deployment: Deployment) -> Response:
    return deployment.gateway.get("/readyz")


def test_a_responder_an_hour_ahead_says_so_instead_of_silence(deploy: Deploy):
    with deploy(env={"REPLY_TIMEOUT_S": "1"}) as deployment:
        responder = replace(deployment, "responder", HOUR_S)
        responses: list[Response] = []

        def refused() -> bool:
            responses.append(deployment.gateway.post("/echo", b"x"))
            return bool(responses[-1].json.get("title") == "Clocks Differ")

        # Once it knows; until then they time out, or are found to be many at once.
        assert wait_until(refused, 2 * LIMIT_S)
        again = deployment.gateway.post("/echo", b"x")

    assert "this clock is 3599 s or more" in responder.logged()
    assert "ahead of the gateways': requests that have just been published" in responder.logged()
    assert again.status == 503
    assert "ahead of the gateway's" in again.json["detail"]
    assert again.elapsed_s < 1


def test_a_responder_an_hour_behind_answers_and_says_so(deploy: Deploy):
    with deploy() as deployment:
        responder = replace(deployment, "responder", -HOUR_S)
        assert wait_until(lambda: deployment.gateway.post("/echo", b"x").status == 200, LIMIT_S)

    assert "this clock is behind the gateways'; set it (NTP)" in responder.logged()


def test_a_replies_process_an_hour_ahead_is_why_a_gateway_is_not_ready(
    deploy: Deploy,
):
    with deploy() as deployment:
        replace(deployment, "replies", HOUR_S)

        def told() -> bool:
            response = ready(deployment)
            said = str(response.json["problems"])
            return response.status == 503 and "3600 s ahead of this gateway's" in said

        assert wait_until(told, LIMIT_S)


def test_a_gateway_an_hour_behind_is_told_so_and_is_not_ready(deploy: Deploy):
    with deploy() as deployment:
        gateway = deployment.start_gateway(**shifted(-HOUR_S))

        def told() -> bool:
            try:
                response = gateway.get("/readyz")
            except OSError:
                return False
            said = str(response.json["problems"])
            return response.status == 503 and "3600 s ahead of this gateway's" in said

        assert wait_until(told, LIMIT_S)
        # The others are not concerned.
        assert ready(deployment).status == 200


def test_a_gateway_an_hour_ahead_answers_and_is_warned(deploy: Deploy):
    with deploy() as deployment:
        gateway = deployment.start_gateway(**shifted(HOUR_S))
        probe = GatewayProbe(gateway.port, ECHO, 2, 3)
        assert wait_until(probe.is_ready, LIMIT_S), probe.missing
        response = gateway.post("/echo", b"x")
        warnings = gateway.get("/readyz").json["warnings"]
        responder = deployment.named("responder")[0]

        assert (response.status, response.body) == (200, b"x")
        assert "3600 s behind this gateway's" in str(warnings)
        assert "this clock is behind the gateways'" in responder.logged()


def test_a_second_is_no_difference(deploy: Deploy):
    with deploy() as deployment:
        responder = replace(deployment, "responder", 1)
        replies = replace(deployment, "replies", 1)
        assert wait_until(lambda: ready(deployment).status == 200, LIMIT_S)
        assert wait_until(lambda: deployment.gateway.post("/echo", b"x").status == 200, LIMIT_S)
        started_s = time.monotonic()
        while time.monotonic() - started_s < 3:  # as long as a difference would take to be noticed
            assert deployment.gateway.post("/echo", b"x").status == 200
        warnings = ready(deployment).json["warnings"]

    assert warnings == []
    assert "clock" not in responder.logged() + replies.logged()
