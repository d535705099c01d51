"""Three brokers: the loss of one costs a moment, the loss of two is told, and nothing is lost."""

import math
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from tests.support.deployment import Deployment, Gateway
from tests.support.load import Load, expired_count, missing_replies, post_echo
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.cluster import ApacheCluster
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 60.0
SLACK_S = 0.2
#: What the change of a leader takes: its session (2 s), an election, the clients' new metadata and
#: the sessions of its groups (6 s).
CHANGE_S = 15.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[ApacheCluster]:
    reason = ApacheKafka.unavailable_reason()
    if reason is not None and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    with ApacheCluster() as cluster:
        yield cluster


@pytest.fixture
def deployment(
    cluster: ApacheCluster, redis_server: Server, tmp_path: Path
) -> Iterator[Deployment]:
    # One partition each, so that both topics have one leader.
    options: dict[str, Any] = {"gateways": 2, "partitions": 1}
    env = {"KAFKA_URL": cluster.url, "REPLY_RETENTION_S": "120"}
    with Deployment(cluster.nodes[0], redis_server, tmp_path, env=env, **options) as deployment:
        yield deployment


def gateways(deployment: Deployment) -> list[Gateway]:
    return deployment.all_gateways


def leaders(deployment: Deployment) -> dict[str, int]:
    """Return the leader of each topic of *deployment*, which has one partition."""
    admin = KafkaAdminClient(**deployment.settings.kafka_connection())
    names = [deployment.prefix + topic for topic in ("echo", "replies")]
    found = {
        topic["name"]: topic["partitions"][0]["leader_id"] for topic in admin.describe_topics(names)
    }
    admin.close()
    return found


def test_no_acknowledged_request_is_lost_with_the_leader_of_both_topics(
    deployment: Deployment, cluster: ApacheCluster, record_property
):
    victims = set(leaders(deployment).values())
    kills_s: list[float] = []
    with Load(gateways(deployment), clients=32, rate=100, keep_alive=False) as load:
        assert wait_until(lambda: sum(a.is_own for a in list(load.attempts)) > 200, LIMIT_S)
        # One after the other, never two at once.
        for victim in victims:
            kills_s.append(time.monotonic())
            cluster.node(victim).kill()
            time.sleep(5)
            cluster.node(victim).restart()
            time.sleep(5)
        back_s = time.monotonic()
        assert wait_until(lambda: sum(a.is_own for a in load.since(back_s)) > 300, LIMIT_S), (
            deployment.logs()
        )
    errors = [a for a in load.attempts if a.status != 200]
    timed_out = [a for a in errors if a.sent == "yes"]
    missing = missing_replies(timed_out, deployment.gateway, LIMIT_S)
    (responder,) = deployment.named("responder")
    record_property("requests", len(load.attempts))
    record_property("killed leaders", len(victims))
    record_property("errors", len(errors))
    record_property("errors by sent", str(sorted(a.sent for a in errors)))
    for number, kill_s in enumerate(kills_s):
        until_s = kills_s[number + 1] if number + 1 < len(kills_s) else math.inf
        began_s = sorted(e.started_s - kill_s for e in errors if kill_s <= e.ended_s < until_s)
        record_property(
            f"errors of kill {number + 1}, began so many s after it",
            str(sorted(Counter(math.floor(one) for one in began_s).items())),
        )
    after = [e for e in errors if not any(k <= e.ended_s < k + CHANGE_S for k in kills_s)]

    assert [str(a) for a in load.attempts if a.status == 200 and not a.has_own_body] == []
    assert [str(a) for a in errors if a.status != 503] == []
    # A request that reaches the responder long after its deadline is not begun, and counted.
    assert len(missing) <= expired_count(responder), [str(a) for a in missing]
    assert [str(a) for a in after] == []


def test_two_of_three_down_is_told_and_passes(deployment: Deployment, cluster: ApacheCluster):
    timeout_s = deployment.settings.reply_timeout_s
    for node in cluster.nodes[:2]:
        node.kill()
    try:
        endings = [post_echo(deployment.gateway, b"%d" % n) for n in range(3)]
    finally:
        # Together, for one alone is no majority of the controllers.
        cluster.start_again()
    assert wait_until(
        lambda: all(post_echo(gateway, b"again").is_own for gateway in gateways(deployment)),
        LIMIT_S,
    ), deployment.logs()

    for attempt in endings:
        assert attempt.response is not None
        assert attempt.status == 503
        assert attempt.sent in ("no", "unknown")
        assert attempt.response.elapsed_s < timeout_s + SLACK_S
