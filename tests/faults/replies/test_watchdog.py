"""The watchdog ends a replies process whose poll() hangs."""

import pytest

from rendezvous.process.watchdog import EXIT_CODE
from tests.faults.replies.hanging_poll import RECORDS
from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deploy
from tests.support.load import OWN, Load
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.faults, on_embedded_broker]

#: The limit of the watchdog, the session timeout, and the rebalance, in seconds.
LIMIT_S = 20.0


def test_a_poll_that_never_returns_ends_the_process_and_another_takes_over(deploy: Deploy):
    env = {"REPLY_TIMEOUT_S": "20", "REPLY_DELIVERY": "store"}
    with deploy(env=env) as deployment:
        hanging = deployment.start("replies", "python -m tests.faults.replies.hanging_poll")
        assert wait_until(lambda: "storing replies" in hanging.logged(), LIMIT_S)
        with Load([deployment.gateway]) as load:
            assert wait_until(lambda: hanging.child.returncode is not None, LIMIT_S)
            load.wait_for(RECORDS)

        assert hanging.child.returncode == EXIT_CODE
        assert "the loop that stores replies has hung for" in hanging.logged()
        assert "ending this process" in hanging.logged()
        assert set(load.outcomes) == {OWN}
