"""REPLIES_MODE=broadcast: every process reads all replies, the first copy is stored."""

import re
import time

import pytest

from settings import MAX_REPLY_TIMEOUT_S
from tests.support.brokers import on_apache_kafka
from tests.support.deployment import Deploy, Process
from tests.support.reply_topic import ReplyTopic, stored
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 30.0
PARTITIONS = 4
TIMEOUT_S, RETENTION_S = 1.0, 9.0
#: How far back a replies process reads: routes, unknown to it, may wait up to the maximum.
LOOKBACK_S = MAX_REPLY_TIMEOUT_S + RETENTION_S
ENV = {
    "REPLIES_MODE": "broadcast",
    "REPLY_TIMEOUT_S": str(TIMEOUT_S),
    "REPLY_RETENTION_S": str(RETENTION_S),
}
SUMMARY = re.compile(r"replies so far: (.*)")


def put_in_partitions(topic: ReplyTopic, partitions: range) -> dict[str, bytes]:
    replies = {}
    for n in range(20):
        correlation_id = topic.new_id()
        replies[correlation_id] = b"reply %d" % n
        topic.put(correlation_id, replies[correlation_id], partitions[n % len(partitions)])
    topic.flush()
    return replies


def read_by(process: Process) -> dict[str, int]:
    """Return the counts by outcome from the last summary of *process*."""
    found = SUMMARY.findall(process.logged())
    pairs = (pair.split() for pair in found[-1].split(", ")) if found else ()
    return {name: int(count) for name, count in pairs}


def test_each_process_reads_the_replies_since_the_lookback_and_each_is_stored_once(deploy: Deploy):
    with (
        deploy(gateways=0, replies=0, responders=0, env=ENV) as deployment,
        ReplyTopic(deployment) as topic,
    ):
        old = put_in_partitions(topic, range(PARTITIONS))
        time.sleep(LOOKBACK_S + 1)
        young = put_in_partitions(topic, range(PARTITIONS))
        processes = [deployment.start("replies") for _ in range(2)]
        assert wait_until(lambda: stored(deployment, young) == young, LIMIT_S)
        new = put_in_partitions(topic, range(PARTITIONS))
        assert wait_until(lambda: stored(deployment, new) == new, LIMIT_S)
        all_read = len(young) + len(new)
        assert wait_until(
            lambda: all(sum(read_by(p).values()) == all_read for p in processes), LIMIT_S
        ), deployment.logs()

    counts = [read_by(process) for process in processes]
    assert sum(count.get("stored", 0) for count in counts) == all_read
    assert sum(count.get("duplicate", 0) for count in counts) == all_read
    assert stored(deployment, old) == {}


@on_apache_kafka  # the embedded broker adds no partitions
def test_an_added_partition_is_read(deploy: Deploy):
    with deploy(gateways=0, replies=1, responders=0, env=ENV) as deployment:
        (process,) = deployment.named("replies")
        assert wait_until(lambda: "storing replies" in process.logged(), LIMIT_S)
        with ReplyTopic(deployment) as topic:
            replies = put_in_partitions(topic, range(PARTITIONS))
            assert wait_until(lambda: stored(deployment, replies) == replies, LIMIT_S)
            topic.add_partitions(PARTITIONS + 2)
        # A new producer: the first one has cached the number of partitions.
        with ReplyTopic(deployment) as topic:
            replies = put_in_partitions(topic, range(PARTITIONS, PARTITIONS + 2))
            assert wait_until(lambda: stored(deployment, replies) == replies, LIMIT_S)
            replies = put_in_partitions(topic, range(PARTITIONS + 2))
            assert wait_until(lambda: stored(deployment, replies) == replies, LIMIT_S)

        assert process.child.returncode is None
