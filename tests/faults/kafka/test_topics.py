"""Topics are created late, or deleted and recreated, while the processes run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from tests.support.deployment import NO_REDIS_ENV, NO_REPLIES, Deploy, Deployment, Gateway, Process
from tests.support.load import Attempt, Load, post_echo
from tests.support.records import correlation_ids
from tests.support.report import RecordProperty
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.topics import create_topics
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 60.0
#: Time until a missing topic is created, and until a deleted one is recreated, in seconds.
MISSING_S = 10.0
DELETED_S = 5.0
#: Maximum time until requests succeed again, in seconds: consumers refresh their topics every
#: 10 s, and then rejoin their group.
RECOVERY_S = 20.0


@pytest.fixture(scope="module")
def broker(needs_apache: None) -> Iterator[ApacheKafka]:
    with ApacheKafka() as broker:
        yield broker


@pytest.fixture
def new_deployment(broker: ApacheKafka, redis_server: Server, tmp_path: Path) -> Deploy:
    def make(**options) -> Deployment:
        return Deployment(broker, redis_server, tmp_path, **options)

    return make


def delete(deployment: Deployment, topic: str) -> None:
    """Delete *topic*; return once the broker no longer lists it."""
    name = deployment.prefix + topic
    admin = KafkaAdminClient(**deployment.settings.kafka_connection())
    try:
        admin.delete_topics([name])
        assert wait_until(lambda: name not in admin.list_topics(), LIMIT_S)
    finally:
        admin.close()


def create(deployment: Deployment, topic: str) -> None:
    names = [deployment.prefix + topic]
    create_topics(deployment.settings.kafka_connection(), names, deployment.partitions)


def reports_missing(gateway: Gateway, topic: str) -> bool:
    try:
        response = gateway.get("/readyz")
    except OSError:  # it is starting
        return False
    return (
        response.status == 503 and f"topic missing: {topic}; create it" in response.json["problems"]
    )


def runs_without_traceback(process: Process) -> bool:
    return process.child.returncode is None and "Traceback" not in process.logged()


def responds_again(load: Load, since_s: float) -> bool:
    """Return whether the last twenty requests since *since_s* succeeded."""
    last = load.since(since_s)[-20:]
    return len(last) == 20 and all(a.is_own for a in last)


def recovery_s(attempts: list[Attempt], since_s: float) -> float:
    """Return the seconds from *since_s* to the start of the last failed request."""
    failed = [a.started_s for a in attempts if a.started_s >= since_s and not a.is_own]
    return max(failed, default=since_s) - since_s


def test_a_missing_request_topic_is_reported_until_it_is_created(
    new_deployment: Deploy, record_property: RecordProperty
):
    with new_deployment(gateways=0, responders=0) as deployment:
        topic = deployment.prefix + "echo"
        delete(deployment, "echo")
        responder = deployment.start("responder")
        gateway = deployment.start_gateway()
        assert wait_until(lambda: reports_missing(gateway, topic), LIMIT_S), deployment.logs()
        missing_s = time.monotonic()
        assert wait_until(lambda: f"topic missing: {topic}" in responder.logged(), LIMIT_S)
        rejected = gateway.post("/echo", b"too early")
        before = deployment.pids()
        time.sleep(max(missing_s + MISSING_S - time.monotonic(), 0))
        create(deployment, "echo")
        created_s = time.monotonic()
        assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
        took_s = time.monotonic() - created_s
        record_property("seconds until a request was answered", round(took_s, 1))
        assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)

        assert deployment.pids() == before
        assert [p.log.name for p in deployment.processes if not runs_without_traceback(p)] == []
    assert (rejected.status, rejected.json["type"]) == (503, "/problems/not-sent")
    assert rejected.json["sent"] == "no"
    assert topic in rejected.json["detail"]
    assert took_s < RECOVERY_S


def test_a_request_topic_that_is_deleted_and_recreated_is_reported_and_used_again(
    new_deployment: Deploy, record_property: RecordProperty
):
    with new_deployment(gateways=2) as deployment:
        topic = deployment.prefix + "echo"
        gateways = deployment.all_gateways
        before = deployment.pids()
        with Load(gateways, clients=8, rate=40, keep_alive=False) as load:
            assert wait_until(lambda: sum(a.is_own for a in load.since(0)) > 100, LIMIT_S)
            delete(deployment, "echo")
            deleted_s = time.monotonic()
            for gateway in gateways:
                assert wait_until(lambda g=gateway: reports_missing(g, topic), LIMIT_S)  # type: ignore[misc]
            record_property("seconds until reported", round(time.monotonic() - deleted_s, 1))
            time.sleep(DELETED_S)
            recreated_s = time.monotonic()
            create(deployment, "echo")
            assert wait_until(lambda: responds_again(load, recreated_s), LIMIT_S), deployment.logs()
        for gateway in gateways:
            assert wait_until(lambda g=gateway: g.get("/readyz").status == 200, LIMIT_S)  # type: ignore[misc]
        appended = set(correlation_ids(deployment, "echo"))

        assert deployment.pids() == before
        assert [p.log.name for p in deployment.processes if not runs_without_traceback(p)] == []
    timeout_s = deployment.settings.reply_timeout_s
    during = [a for a in load.attempts if deleted_s <= a.started_s < recreated_s - timeout_s]
    took_s = recovery_s(load.attempts, recreated_s)
    record_property("last failure, s after it was recreated", round(took_s, 1))
    outcomes = sorted({f"{a.status} {a.sent}" for a in during})
    record_property("outcomes while it was deleted", outcomes)

    assert during
    assert {a.status for a in during} == {503}
    assert {a.sent for a in during} <= {"no", "unknown"}
    assert [str(a) for a in load.attempts if a.status not in (200, 503)] == []
    for attempt in load.attempts:
        assert attempt.response is not None, attempt.error
        if attempt.sent == "no":
            assert attempt.response.correlation_id not in appended, str(attempt)
        if attempt.sent == "yes" and attempt.started_s > recreated_s:
            assert attempt.response.correlation_id in appended, str(attempt)
    assert took_s < RECOVERY_S


@pytest.mark.parametrize("mode", ["group", "broadcast", "no-redis"])
def test_a_reply_topic_that_is_deleted_and_recreated_is_reported_and_read_again(
    new_deployment: Deploy, record_property: RecordProperty, mode: str
):
    env = {"REPLIES_MODE": mode, "REPLY_RETENTION_S": "120"}
    replies = 2
    if mode == "no-redis":
        env, replies = NO_REDIS_ENV, NO_REPLIES
    with new_deployment(replies=replies, env=env) as deployment:
        topic = deployment.prefix + "replies"
        gateway = deployment.gateway
        before = deployment.pids()
        with Load([gateway], clients=4, rate=20, keep_alive=False) as load:
            assert wait_until(lambda: sum(a.is_own for a in load.since(0)) > 50, LIMIT_S)
            delete(deployment, "replies")
            deleted_s = time.monotonic()
            assert wait_until(lambda: reports_missing(gateway, topic), LIMIT_S)
            record_property(
                f"{mode}: seconds until reported", round(time.monotonic() - deleted_s, 1)
            )
            time.sleep(DELETED_S)
            recreated_s = time.monotonic()
            create(deployment, "replies")
            assert wait_until(lambda: responds_again(load, recreated_s), LIMIT_S), deployment.logs()
        assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
        timeout_s = deployment.settings.reply_timeout_s
        during = [a for a in load.attempts if deleted_s <= a.started_s < recreated_s - timeout_s]
        timed_out = [a for a in during if a.sent == "yes" and mode != "no-redis"]
        missing = [a for a in timed_out if not a.reply_arrives(gateway, LIMIT_S)]

        assert deployment.pids() == before
        assert [p.log.name for p in deployment.processes if not runs_without_traceback(p)] == []
    took_s = recovery_s(load.attempts, recreated_s)
    record_property(f"{mode}: last failure, s after it was recreated", round(took_s, 1))
    record_property(f"{mode}: outcomes", sorted({f"{a.status} {a.sent}" for a in during}))

    assert during
    assert {a.status for a in during} == {503}
    assert "yes" in {a.sent for a in during}
    assert [str(a) for a in load.attempts if a.status not in (200, 503)] == []
    assert [str(a) for a in missing] == []
    assert took_s < RECOVERY_S
