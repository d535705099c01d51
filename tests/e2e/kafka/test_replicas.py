"""Each client gets its own reply, whichever replica reads it from Kafka."""

import re
from collections import Counter

import pytest

from tests.support.deployment import NO_REDIS_ENV, NO_REPLIES, Deploy, Process
from tests.support.load import OWN, Load
from tests.support.records import records_of
from tests.support.report import RecordProperty

pytestmark = pytest.mark.e2e

CLIENTS = 48
REQUESTS = 4_000
#: Requests that may time out: under load the embedded broker sometimes skips a record.
MAX_SKIPPED = {"embedded": 10, "apache": 0}
STORED = re.compile(r"replies so far: .*stored (\d+)")


@pytest.mark.parametrize("redis", [True, False], ids=["redis", "no-redis"])
def test_each_reply_goes_straight_to_the_process_that_waits(
    deploy: Deploy, record_property: RecordProperty, redis: bool
):
    env = {"REPLY_TIMEOUT_S": "20", "LOG_FORMAT": "json"} | ({} if redis else NO_REDIS_ENV)
    replies = 2 if redis else NO_REPLIES
    with deploy(gateways=2, replies=replies, responders=2, env=env) as deployment:
        with Load(deployment.all_gateways, CLIENTS) as load:
            load.wait_for(REQUESTS, within_s=120)
        for gateway in deployment.all_gateways:
            gateway.child.stop(10)
        ways = [gateway.replies_by_way() for gateway in deployment.all_gateways]

    straight, through_redis = map(sum, zip(*ways, strict=True))
    record_property("replies straight", straight)
    record_property("replies through Redis", through_redis)
    assert set(load.outcomes) == {OWN}
    assert min(count for count, _ in ways) > REQUESTS / 10
    assert straight >= 0.99 * len(load.attempts)


def test_each_response_is_own_whichever_replica_stores_the_reply(
    request: pytest.FixtureRequest, deploy: Deploy, record_property: RecordProperty
):
    # Above the default, so that a slow machine does not time out.
    env = {"REPLY_TIMEOUT_S": "20", "REPLY_DELIVERY": "store"}
    with deploy(gateways=2, replies=2, responders=2, env=env) as deployment:
        loads = [Load([gateway], CLIENTS // 2) for gateway in deployment.all_gateways]
        with loads[0], loads[1]:
            for load in loads:
                load.wait_for(REQUESTS // 2, within_s=120)
        replies = Counter(
            (record.partition, dict(record.headers)["correlation-id"].decode().partition(".")[0])
            for record in records_of(deployment, "replies")
        )
        stored = [_stored_until_stop(process) for process in deployment.named("replies")]

    outcomes = sum((load.outcomes for load in loads), Counter[str]())
    skipped = outcomes["/problems/reply-timeout"]
    record_property("records skipped by the broker", skipped)
    assert set(outcomes) <= {OWN, "/problems/reply-timeout"}
    assert skipped <= MAX_SKIPPED[request.node.callspec.params["kafka"]]
    nodes = [
        {a.response.correlation_id.partition(".")[0] for a in load.attempts if a.response}
        for load in loads
    ]
    # Each replies process reads some partitions. Whichever these are, at least the smaller share
    # of a partition was stored by the other replica.
    crossed = sum(
        min(sum(replies[partition, node] for node in of_gateway) for of_gateway in nodes)
        for partition in {partition for partition, _ in replies}
    )
    record_property("replies stored by the other replica, at least", crossed)
    assert min(stored) > 0
    assert crossed > REQUESTS / 10


def _stored_until_stop(process: Process) -> int:
    """Stop *process* and return how many replies it has stored."""
    assert process.child.stop(10) == 0
    counts = STORED.findall(process.logged())
    assert counts, process.logged()
    return int(counts[-1])
