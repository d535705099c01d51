"""Each client gets its own reply, whichever replica reads it from Kafka."""

import re

import pytest

from tests.support.deployment import Deploy, Process
from tests.support.load import OWN, Load
from tests.support.report import RecordProperty

pytestmark = pytest.mark.e2e

CLIENTS = 48
REQUESTS = 10_000
STORED = re.compile(r"stored for nodes: (.*)")


def test_each_response_is_own_whichever_replica_stores_the_reply(
    deploy: Deploy, record_property: RecordProperty
):
    # Above the default, so that a slow machine does not time out.
    env = {"REPLY_TIMEOUT_S": "20"}
    with deploy(gateways=2, replies=2, responders=2, env=env) as deployment:
        loads = [Load([gateway], CLIENTS // 2) for gateway in deployment.all_gateways]
        with loads[0], loads[1]:
            for load in loads:
                load.wait_for(REQUESTS // 2, within_s=120)
        stored_by_node = [_stored_by_node(process) for process in deployment.named("replies")]

    assert [set(load.outcomes) for load in loads] == [{OWN}, {OWN}]
    nodes = [
        {a.response.correlation_id.partition(".")[0] for a in load.attempts if a.response}
        for load in loads
    ]
    # Replies process i belongs to the same replica as gateway i.
    crossed = sum(
        count
        for replica, counts in enumerate(stored_by_node)
        for node, count in counts.items()
        if node in nodes[1 - replica]
    )
    record_property("replies stored by the other replica", crossed)
    assert crossed > REQUESTS / 10


def _stored_by_node(process: Process) -> dict[str, int]:
    """Stop *process* and return how many replies it has stored for each node."""
    assert process.child.stop(10) == 0
    found = STORED.search(process.logged())
    assert found is not None, process.logged()
    pairs = (pair.split() for pair in found[1].split(", "))
    return {node: int(count) for node, count in pairs}
