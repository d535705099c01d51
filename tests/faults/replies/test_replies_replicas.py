"""Replicas of the replies process are killed, added, stopped and suspended under load."""

import time

import pytest

from tests.support.deployment import Deploy, Deployment, Process
from tests.support.load import OWN, Load
from tests.support.reply_topic import ReplyTopic
from tests.support.report import RecordProperty
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

KILLS = 8
REBALANCES = 3
HANG_S = 15.0
#: Above the session timeout (6 s) and the rebalance after it.
LONG_TIMEOUT = {"REPLY_TIMEOUT_S": "20", "REPLY_DELIVERY": "store"}
BROADCAST = {"REPLIES_MODE": "broadcast", "REPLY_DELIVERY": "store"}


def stores_replies(process: Process) -> bool:
    return "storing replies" in process.logged()


def kill_one_after_the_other(deployment: Deployment, load: Load) -> None:
    for _ in range(KILLS):
        load.wait_for()
        oldest = next(p for p in deployment.named("replies") if p.child.returncode is None)
        oldest.child.kill()
        successor = deployment.start("replies")
        assert wait_until(lambda: stores_replies(successor), 30)  # noqa: B023
    load.wait_for()


def test_in_a_group_killed_replicas_delay_replies_and_lose_none(
    deploy: Deploy, record_property: RecordProperty
):
    with deploy(replies=2, env=LONG_TIMEOUT) as deployment:
        with Load([deployment.gateway]) as load:
            kill_one_after_the_other(deployment, load)
        record_property("group, 8 kills", load.summary())

        assert set(load.outcomes) == {OWN}


def test_in_broadcast_mode_killed_replicas_hardly_delay_replies(
    deploy: Deploy, record_property: RecordProperty
):
    with deploy(replies=2, env=BROADCAST) as deployment:
        with Load([deployment.gateway]) as load:
            kill_one_after_the_other(deployment, load)
        record_property("broadcast, 8 kills", load.summary())

        assert set(load.outcomes) == {OWN}
        assert load.slowest_s < 2.0


def test_rebalances_delay_replies_and_lose_none(deploy: Deploy, record_property: RecordProperty):
    with deploy(replies=1, env=LONG_TIMEOUT) as deployment:
        with Load([deployment.gateway]) as load:
            for _ in range(REBALANCES):
                load.wait_for()
                more = [deployment.start("replies") for _ in range(3)]
                assert wait_until(lambda: all(map(stores_replies, more)), 60)  # noqa: B023
                load.wait_for()
                for process in more:
                    process.child.terminate()
                assert [process.child.wait(20) for process in more] == [0, 0, 0]
            load.wait_for()
        record_property("rebalances 1-4-1", load.summary())

        assert set(load.outcomes) == {OWN}


def test_another_replica_takes_over_from_a_suspended_one_which_then_resumes(
    deploy: Deploy, record_property: RecordProperty
):
    with deploy(replies=2, env=LONG_TIMEOUT) as deployment, ReplyTopic(deployment) as topic:
        with Load([deployment.gateway]) as load:
            load.wait_for()
            hung = deployment.named("replies")[0]
            hung.child.pause()
            paused_s = time.monotonic()
            load.wait_for(200)
            assert time.monotonic() < paused_s + HANG_S, "no other replica took over in time"
            time.sleep(paused_s + HANG_S - time.monotonic())
            before = topic.committed()
            hung.child.resume()
            load.wait_for(200)
            # A commit of older offsets by the suspended replica would redeliver records.
            assert not wait_until(lambda: topic.committed() < before, 3)
            load.wait_for()
        record_property("one hung for 15 s", load.summary())

        assert set(load.outcomes) == {OWN}
        assert hung.child.returncode is None
