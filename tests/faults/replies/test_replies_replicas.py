"""Replies processes that are killed, hang, come and go under load: each client gets its own."""

import time
from collections.abc import Callable

import pytest

from tests.support.deployment import Deploy, Deployment, Process
from tests.support.load import OWN, Load
from tests.support.reply_topic import ReplyTopic
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

KILLS = 8
STORMS = 3
HANG_S = 15.0
#: Later than the end of a dead member's session (6 s) and the rebalance that follows.
PATIENT = {"REPLY_TIMEOUT_S": "20"}
BROADCAST = {"REPLIES_MODE": "broadcast"}

Report = Callable[[str, object], None]


def report(record_property: Report, load: Load, what: str) -> None:
    record_property(what, load.summary())


def carries(process: Process) -> bool:
    return "carrying replies" in process.logged()


def kill_one_after_the_other(deployment: Deployment, load: Load) -> None:
    for _ in range(KILLS):
        load.wait_for()
        oldest = next(p for p in deployment.named("replies") if p.child.returncode is None)
        oldest.child.kill()
        successor = deployment.start("replies")
        assert wait_until(lambda: carries(successor), 30)  # noqa: B023
    load.wait_for()


def test_in_a_group_the_death_of_a_replica_delays_replies_and_loses_none(
    deploy: Deploy, record_property: Report
):
    with deploy(replies=2, env=PATIENT) as deployment:
        with Load([deployment.gateway]) as load:
            kill_one_after_the_other(deployment, load)
        report(record_property, load, "group, 8 kills")

        assert set(load.outcomes) == {OWN}


def test_in_broadcast_mode_the_death_of_a_replica_is_hardly_noticed(
    deploy: Deploy, record_property: Report
):
    with deploy(replies=2, env=BROADCAST) as deployment:
        with Load([deployment.gateway]) as load:
            kill_one_after_the_other(deployment, load)
        report(record_property, load, "broadcast, 8 kills")

        assert set(load.outcomes) == {OWN}
        assert load.slowest_s < 2.0


def test_replicas_that_come_and_go_delay_replies_and_lose_none(
    deploy: Deploy, record_property: Report
):
    with deploy(replies=1, env=PATIENT) as deployment:
        with Load([deployment.gateway]) as load:
            for _ in range(STORMS):
                load.wait_for()
                more = [deployment.start("replies") for _ in range(3)]
                assert wait_until(lambda: all(map(carries, more)), 60)  # noqa: B023
                load.wait_for()
                for process in more:
                    process.child.terminate()
                assert [process.child.wait(20) for process in more] == [0, 0, 0]
            load.wait_for()
        report(record_property, load, "rebalances 1-4-1")

        assert set(load.outcomes) == {OWN}


def test_the_partitions_of_a_replica_that_hangs_pass_to_its_peer_and_its_return_does_no_harm(
    deploy: Deploy, record_property: Report
):
    with deploy(replies=2, env=PATIENT) as deployment, ReplyTopic(deployment) as topic:
        with Load([deployment.gateway]) as load:
            load.wait_for()
            hung = deployment.named("replies")[0]
            hung.child.pause()
            paused_s = time.monotonic()
            load.wait_for(200)
            assert time.monotonic() < paused_s + HANG_S, "nobody took over in time"
            time.sleep(paused_s + HANG_S - time.monotonic())
            before = topic.committed()
            hung.child.resume()
            load.wait_for(200)
            # An older offset of the one who was away would bring records again.
            assert not wait_until(lambda: topic.committed() < before, 3)
            load.wait_for()
        report(record_property, load, "one hung for 15 s")

        assert set(load.outcomes) == {OWN}
        # What its peer has read meanwhile is no gap. The embedded broker has some of its own.
        if isinstance(deployment.kafka, ApacheKafka):
            assert "was left out" not in hung.logged()
        assert hung.child.returncode is None
