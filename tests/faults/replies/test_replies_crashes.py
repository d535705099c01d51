"""A replies process is killed at random moments, and no reply is lost."""

import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from tests.support.brokers import on_embedded_broker
from tests.support.deployment import Deployment, Process
from tests.support.reply_topic import ReplyTopic, stored
from tests.support.report import RecordProperty
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

SEEDS = 20
#: Concurrent rounds: after each kill the broker waits for the session timeout.
AT_ONCE = 5
REPLIES = 400
PUBLISH_S = 1.0
DUPLICATE = re.compile(r"replies so far: .*duplicate (\d+)")


def test_a_kill_at_any_moment_loses_no_reply_and_changes_none(
    kafka: Server, redis_server: Server, tmp_path: Path, record_property: RecordProperty
):
    def crashed(seed: int) -> int:
        folder = tmp_path / str(seed)
        folder.mkdir()
        return crash(Deployment(kafka, redis_server, folder, gateways=0, responders=0), seed)

    rounds = [range(first, first + AT_ONCE) for first in range(0, SEEDS, AT_ONCE)]
    redelivered = 0
    for seeds in rounds:
        with ThreadPoolExecutor(AT_ONCE) as crashes:
            redelivered += sum(crashes.map(crashed, seeds))

    record_property("redelivered replies", redelivered)
    # At least one kill was between storing and committing.
    assert redelivered > 0


def crash(deployment: Deployment, seed: int) -> int:
    """Kill a process while it stores replies; return how many its successor read again."""
    moment_s = random.Random(seed).uniform(0, PUBLISH_S)
    with deployment, ReplyTopic(deployment) as topic:
        (first,) = deployment.named("replies")
        topic.put(topic.new_id(), b"the first")
        topic.flush()
        assert wait_until(lambda: topic.committed() == 1, 30), f"seed {seed}: {first.logged()}"
        started_s = time.monotonic()
        replies = {}
        killed = False
        for n in range(REPLIES):
            correlation_id = topic.new_id()
            replies[correlation_id] = b"reply %d" % n
            topic.put(correlation_id, replies[correlation_id])
            elapsed_s = time.monotonic() - started_s
            if not killed and elapsed_s > moment_s:
                first.child.kill()
                killed = True
            time.sleep(max(0.0, n * PUBLISH_S / REPLIES - elapsed_s))
        topic.flush()
        if not killed:
            first.child.kill()
        committed = topic.committed() - 1
        before = stored(deployment, replies)
        successor = deployment.start("replies")
        assert wait_until(lambda: topic.committed() == 1 + REPLIES, 40), f"seed {seed}"
        after = stored(deployment, replies)
        assert successor.child.stop(10) == 0

    assert after == replies, f"seed {seed}: lost"
    assert before.items() <= after.items(), f"seed {seed}: changed"
    assert committed <= len(before), f"seed {seed}: committed before stored"
    return counted(successor, DUPLICATE)


def counted(process: Process, what: re.Pattern[str]) -> int:
    found = what.findall(process.logged())
    return int(found[-1]) if found else 0


@on_embedded_broker
def test_replies_of_a_process_killed_while_redis_rejects_writes_are_stored_by_its_successor(
    kafka: Server, tmp_path: Path
):
    with (
        EmbeddedRedis() as redis_server,
        Redis.from_url(redis_server.url) as redis,
        Deployment(kafka, redis_server, tmp_path, gateways=0, responders=0) as deployment,
        ReplyTopic(deployment) as topic,
    ):
        (first,) = deployment.named("replies")
        redis.config_set("maxmemory", "1")
        replies = topic.put_many(REPLIES)
        assert wait_until(lambda: f"{REPLIES} replies are kept and retried" in first.logged(), 30)
        first.child.kill()
        redis.config_set("maxmemory", "0")
        assert stored(deployment, replies) == {}
        deployment.start("replies")

        assert wait_until(lambda: topic.committed() == REPLIES, 30)
        assert stored(deployment, replies) == replies
