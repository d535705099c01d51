"""Replies come straight from Kafka, with Redis and without, while processes and servers fail."""

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.brokers import on_apache_kafka
from tests.support.deployment import NO_REDIS_ENV, NO_REPLIES, Deploy, Deployment, Gateway
from tests.support.load import OWN, Load
from tests.support.reply_topic import ReplyTopic
from tests.support.report import RecordProperty
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.process.procfs import children_of
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.faults, on_apache_kafka]

LIMIT_S = 30.0
#: Above the default, so that a busy machine does not time out.
TIMEOUT_S = 10.0
CLIENTS, RATE = 12, 60
#: Time in which clients may lose the connections to a killed worker.
KILL_S = 2.0
#: Time until producers and gateways know added partitions: they refresh their topics every 10 s.
REFRESH_S = 12.0
FAULT_S = 5.0

with_and_without_redis = pytest.mark.parametrize("redis", [True, False], ids=["redis", "no-redis"])


def options(redis: bool) -> dict[str, Any]:
    """Return the options of a deployment of two gateways with two workers each."""
    env = {"REPLY_TIMEOUT_S": str(TIMEOUT_S), "LOG_FORMAT": "json"}
    if redis:
        return {"gateways": 2, "env": env}
    return {"gateways": 2, "env": env | NO_REDIS_ENV, "replies": NO_REPLIES}


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis for one test alone, which kills it."""
    with EmbeddedRedis() as server:
        yield server


def record_ways(deployment: Deployment, record_property: RecordProperty) -> None:
    """Stop the gateways and record how their replies came."""
    for gateway in deployment.all_gateways:
        gateway.child.stop(LIMIT_S)
    straight, redis = map(
        sum, zip(*(g.replies_by_way() for g in deployment.all_gateways), strict=True)
    )
    record_property("replies straight", straight)
    record_property("replies through Redis", redis)


@with_and_without_redis
def test_a_killed_worker_breaks_its_own_connections_only(
    deploy: Deploy, record_property: RecordProperty, redis: bool
):
    with deploy(**options(redis)) as deployment:
        gateways = deployment.all_gateways
        with Load(gateways, CLIENTS, RATE, keep_alive=False) as load:
            load.wait_for(100)
            victim = max(children_of(gateways[0].child.pid))
            killed_s = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            load.wait_for(300)
        broken = [a for a in load.attempts if not a.is_own]
        record_property("load", load.summary())
        record_ways(deployment, record_property)

    assert [str(a) for a in broken if a.response is not None] == []
    assert [
        str(a) for a in broken if not killed_s - TIMEOUT_S < a.started_s < killed_s + KILL_S
    ] == []


@with_and_without_redis
def test_partitions_that_are_added_under_load_lose_no_reply(
    deploy: Deploy, record_property: RecordProperty, redis: bool
):
    with deploy(**options(redis)) as deployment, ReplyTopic(deployment) as topic:
        with Load(deployment.all_gateways, CLIENTS, RATE, keep_alive=False) as load:
            load.wait_for(100)
            for total in (6, 9):
                topic.add_partitions(total)
                time.sleep(REFRESH_S)
            load.wait_for(100)
        record_property("load", load.summary())
        logged = [gateway.logged() for gateway in deployment.all_gateways]
        record_ways(deployment, record_property)

    assert [str(a) for a in load.attempts if not a.is_own] == []
    assert all("the reply topic has 9 partitions now" in log for log in logged)


def test_redis_that_is_killed_or_hangs_fails_no_request_without_a_key(
    kafka: Server, own_redis: EmbeddedRedis, tmp_path: Path, record_property: RecordProperty
):
    with Deployment(kafka, own_redis, tmp_path, **options(redis=True)) as deployment:
        with Load(deployment.all_gateways, CLIENTS, RATE, keep_alive=False) as load:
            load.wait_for(100)
            own_redis.kill()
            time.sleep(FAULT_S)
            ready = [gateway.get("/readyz") for gateway in deployment.all_gateways]
            own_redis.start()
            load.wait_for(100)
            own_redis.pause()
            time.sleep(FAULT_S)
            own_redis.resume()
            load.wait_for(100)
        record_property("load", load.summary())
        record_ways(deployment, record_property)

    assert [str(a) for a in load.attempts if not a.is_own] == []
    assert load.slowest_s < TIMEOUT_S
    assert [response.status for response in ready] == [200, 200]
    assert all("Redis cannot be reached" in str(r.json["warnings"]) for r in ready)


def warns_that_no_process_reads(gateway: Gateway) -> bool:
    ready = gateway.get("/readyz")  # of any worker: each finds out by itself
    return ready.status == 200 and "no replies process reads" in str(ready.json["warnings"])


def test_without_a_replies_process_all_requests_are_answered(
    deploy: Deploy, record_property: RecordProperty
):
    with deploy(**options(redis=True)) as deployment:
        gateway = deployment.gateway
        with Load(deployment.all_gateways, CLIENTS, RATE, keep_alive=False) as load:
            load.wait_for(100)
            deployment.named("replies")[0].child.kill()
            time.sleep(FAULT_S)
            keyed = [gateway.post("/echo", b"keyed", Idempotency_Key="key") for _ in range(2)]
            plain = gateway.post("/echo", b"plain")
            stored = gateway.get(f"/replies/{keyed[0].correlation_id}")
            load.wait_for(100)
        assert wait_until(lambda: warns_that_no_process_reads(gateway), LIMIT_S)
        deployment.start("replies")
        path = f"/replies/{plain.correlation_id}"
        assert wait_until(lambda: gateway.get(path).body == b"plain", LIMIT_S)
        assert wait_until(lambda: gateway.get("/readyz").json["warnings"] == [], LIMIT_S)
        record_property("load", load.summary())
        record_ways(deployment, record_property)

    assert Counter(a.outcome for a in load.attempts).keys() == {OWN}
    assert [(response.status, response.body) for response in keyed] == [(200, b"keyed")] * 2
    assert keyed[1].headers["Idempotent-Replayed"] == "true"
    assert (stored.status, stored.body) == (200, b"keyed")
