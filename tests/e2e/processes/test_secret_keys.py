"""A gateway whose SECRET_KEY the replies processes do not accept is not ready and says why."""

import os
import secrets
import subprocess
import sys

import pytest

from tests.support.deployment import Deploy, Gateway
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

#: Time to report or clear a problem: heartbeats last 10 s.
LIMIT_S = 25.0
#: Straight replies need no replies process: its key would be a warning.
STORE = {"REPLY_DELIVERY": "store"}
WORDS = "use another SECRET_KEY than this gateway"
ADVICE = "set the same SECRET_KEY for web and replies"


def problems_of(gateway: Gateway) -> str:
    """Return the problems in /readyz of *gateway*; empty when it is ready."""
    try:
        response = gateway.get("/readyz")
    except OSError as error:
        return str(error)
    return "" if response.status == 200 else "; ".join(response.json["problems"])


def stays_ready(gateway: Gateway, seconds: float) -> bool:
    return not wait_until(lambda: problems_of(gateway) != "", seconds)


def test_of_two_gateways_the_one_with_another_key_is_not_ready(deploy: Deploy):
    other = secrets.token_hex(32)
    with deploy(env={**STORE, "REPLY_TIMEOUT_S": "1", "WEB_CONCURRENCY": "1"}) as deployment:
        stray = deployment.start_gateway(SECRET_KEY=other)
        assert wait_until(lambda: WORDS in problems_of(stray), LIMIT_S), problems_of(stray)
        reported = problems_of(stray)
        lost = stray.post("/echo", b"x")
        found = subprocess.run(
            [sys.executable, "-m", "gateway.check"],
            env={**os.environ, **deployment.environment, "SECRET_KEY": other},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

        assert "partition 0, 1, 2, 3 of" in reported
        assert ADVICE in reported
        assert lost.json["type"] == "/problems/reply-timeout"
        assert found.returncode == 1
        assert WORDS in found.stdout
        # Gateways do not depend on each other's key.
        assert problems_of(deployment.gateway) == ""
        assert deployment.gateway.post("/echo", b"x").status == 200


def test_replies_processes_with_different_keys_are_named_by_their_partitions(deploy: Deploy):
    """Each reads half of the partitions, so that half of the replies are dropped."""
    other = secrets.token_hex(32)
    with deploy(env={**STORE, "REPLY_TIMEOUT_S": "1", "WEB_CONCURRENCY": "1"}) as deployment:
        stray = deployment.start_gateway(SECRET_KEY=other)
        wrong = deployment.start("replies", SECRET_KEY=other)
        gateways = [deployment.gateway, stray]

        def have_half_each() -> bool:
            found = [problems_of(gateway) for gateway in gateways]
            return all(WORDS in each and each.count(",") == 1 for each in found)

        assert wait_until(have_half_each, LIMIT_S), list(map(problems_of, gateways))
        statuses = {deployment.gateway.post("/echo", b"x").status for _ in range(20)}
        wrong.child.stop(10)
        assert wait_until(lambda: problems_of(deployment.gateway) == "", LIMIT_S)
        assert wait_until(lambda: "0, 1, 2, 3" in problems_of(stray), LIMIT_S)

        assert statuses == {200, 503}
        assert {deployment.gateway.post("/echo", b"x").status for _ in range(20)} == {200}


def test_in_broadcast_mode_one_replies_process_with_the_key_is_enough(deploy: Deploy):
    other = secrets.token_hex(32)
    env = {
        **STORE,
        "REPLY_TIMEOUT_S": "2",
        "WEB_CONCURRENCY": "1",
        "REPLIES_MODE": "broadcast",
    }
    with deploy(env=env) as deployment:
        stray = deployment.start_gateway(SECRET_KEY=other)
        assert wait_until(lambda: WORDS in problems_of(stray), LIMIT_S), problems_of(stray)
        deployment.start("replies", SECRET_KEY=other)

        assert wait_until(lambda: problems_of(stray) == "", LIMIT_S), problems_of(stray)
        for gateway in deployment.all_gateways:
            # The heartbeats of both processes alternate.
            assert stays_ready(gateway, 5.0)
            assert {gateway.post("/echo", b"x").status for _ in range(20)} == {200}
