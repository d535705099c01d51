"""A cluster of three brokers, of which one or two are killed."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from tests.support.deployment import NO_REDIS_ENV, NO_REPLIES, Deployment
from tests.support.load import Load, expired_count, missing_replies, post_echo
from tests.support.report import RecordProperty
from tools.devstack.kafka.cluster import ApacheCluster
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 60.0
SLACK_S = 0.2
#: Maximum duration of a leader change: broker session (2 s), election, metadata refresh, and group
#: sessions (6 s).
LEADER_CHANGE_S = 15.0


@pytest.fixture(scope="module")
def cluster(needs_apache: None) -> Iterator[ApacheCluster]:
    with ApacheCluster() as cluster:
        yield cluster


@pytest.fixture(params=[True, False], ids=["redis", "no-redis"])
def deployment(
    request: pytest.FixtureRequest, cluster: ApacheCluster, redis_server: Server, tmp_path: Path
) -> Iterator[Deployment]:
    # One partition per topic, and so one leader.
    options: dict[str, Any] = {"gateways": 2, "partitions": 1}
    env = {"KAFKA_URL": cluster.url, "REPLY_RETENTION_S": "120"}
    if not request.param:
        env |= NO_REDIS_ENV
        options["replies"] = NO_REPLIES
    with Deployment(cluster.nodes[0], redis_server, tmp_path, env=env, **options) as deployment:
        yield deployment


def leaders(deployment: Deployment) -> dict[str, int]:
    """Return the leader of each topic, which has one partition."""
    admin = KafkaAdminClient(**deployment.settings.kafka_connection())
    names = [deployment.prefix + topic for topic in ("echo", "replies")]
    found = {
        topic["name"]: topic["partitions"][0]["leader_id"] for topic in admin.describe_topics(names)
    }
    admin.close()
    return found


def test_no_acknowledged_request_is_lost_when_the_leaders_are_killed(
    deployment: Deployment, cluster: ApacheCluster, record_property: RecordProperty
):
    killed_nodes = set(leaders(deployment).values())
    kills_s: list[float] = []
    with Load(deployment.all_gateways, clients=32, rate=100, keep_alive=False) as load:
        assert wait_until(lambda: sum(a.is_own for a in list(load.attempts)) > 200, LIMIT_S)
        # One after the other.
        for node_id in killed_nodes:
            kills_s.append(time.monotonic())
            cluster.node(node_id).kill()
            time.sleep(5)
            cluster.node(node_id).restart()
            time.sleep(5)
        back_s = time.monotonic()
        assert wait_until(lambda: sum(a.is_own for a in load.since(back_s)) > 300, LIMIT_S), (
            deployment.logs()
        )
    errors = [a for a in load.attempts if a.status != 200]
    timed_out = [a for a in errors if a.sent == "yes"]
    missing = []
    if deployment.settings.redis_url:
        missing = missing_replies(timed_out, deployment.gateway, LIMIT_S)
    (responder,) = deployment.named("responder")
    record_property("requests", len(load.attempts))
    record_property("killed leaders", len(killed_nodes))
    record_property("errors", len(errors))
    record_property("errors by sent", str(sorted(a.sent for a in errors)))
    for number, kill_s in enumerate(kills_s):
        until_s = kills_s[number + 1] if number + 1 < len(kills_s) else math.inf
        delays_s = sorted(e.started_s - kill_s for e in errors if kill_s <= e.ended_s < until_s)
        record_property(
            f"errors by seconds after kill {number + 1}",
            str(sorted(Counter(math.floor(one) for one in delays_s).items())),
        )
    after = [e for e in errors if not any(k <= e.ended_s < k + LEADER_CHANGE_S for k in kills_s)]

    assert [str(a) for a in load.attempts if a.status == 200 and not a.has_own_body] == []
    assert [str(a) for a in errors if a.status != 503] == []
    # Requests that reach the responder after their deadline are counted as expired.
    assert len(missing) <= expired_count(responder), [str(a) for a in missing]
    assert [str(a) for a in after] == []


def test_requests_fail_in_time_while_two_of_three_brokers_are_down(
    deployment: Deployment, cluster: ApacheCluster
):
    timeout_s = deployment.settings.reply_timeout_s
    for node in cluster.nodes[:2]:
        node.kill()
    try:
        attempts = [post_echo(deployment.gateway, b"%d" % n) for n in range(3)]
    finally:
        # Together: one alone has no majority of the controllers.
        cluster.start()
    assert wait_until(
        lambda: all(post_echo(gateway, b"again").is_own for gateway in deployment.all_gateways),
        LIMIT_S,
    ), deployment.logs()

    for attempt in attempts:
        assert attempt.response is not None
        assert attempt.status == 503
        assert attempt.sent in ("no", "unknown")
        assert attempt.response.elapsed_s < timeout_s + SLACK_S
