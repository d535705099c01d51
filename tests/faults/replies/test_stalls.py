"""A consumer that is a member of its group and reads nothing is named and opened again."""

import pytest

from tests.faults.replies.silent_consumer import REOPEN_S
from tests.support.deployment import Deploy, Deployment
from tests.support.load import OWN, Load
from tests.support.report import RecordProperty
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

#: Heartbeats of the silent partitions expire, and the group gives them out again, in seconds.
LIMIT_S = REOPEN_S + 40


def is_ready(deployment: Deployment) -> bool:
    return deployment.gateway.get("/readyz").status == 200


def reports_unread_partition(deployment: Deployment) -> bool:
    ready = deployment.gateway.get("/readyz")  # of any worker: each finds out by itself
    return ready.status == 503 and "no replies process reads partition" in ready.json["problems"][0]


@pytest.mark.parametrize("name", ["replies", "responder"])
def test_a_consumer_that_falls_silent_is_named_and_opened_again(
    deploy: Deploy, name: str, record_property: RecordProperty
):
    with deploy(env={"REPLY_DELIVERY": "store"}) as deployment:
        command = f"python -m tests.faults.replies.silent_consumer {name}"
        silent = deployment.start(name, command)
        with Load([deployment.gateway]) as load:
            assert wait_until(lambda: "nothing read of" in silent.logged(), LIMIT_S), (
                silent.logged()
            )
            if name == "replies":
                assert wait_until(lambda: reports_unread_partition(deployment), REOPEN_S)
            assert wait_until(lambda: "was opened again" in silent.logged(), LIMIT_S)
            assert wait_until(lambda: is_ready(deployment), LIMIT_S)
        with Load([deployment.gateway]) as after:
            after.wait_for()
        record_property(f"silent {name}", load.summary())

        # Without a reply in time while the consumer was silent, never with another's.
        assert "another's" not in load.outcomes
        assert set(after.outcomes) == {OWN}
        assert silent.child.returncode is None


def test_a_spare_member_says_that_it_has_no_partition(deploy: Deploy):
    with deploy(gateways=0, replies=5, responders=0) as deployment:
        spare = "has no partition; 5 members for 4 partitions"

        def spares() -> int:
            return sum(spare in process.logged() for process in deployment.named("replies"))

        assert wait_until(lambda: spares() == 1, LIMIT_S), deployment.logs()
