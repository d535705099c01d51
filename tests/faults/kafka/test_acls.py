"""ACLs of Apache Kafka: permissions are denied and granted while the processes run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from tests.support.deployment import Deployment, Gateway, Process
from tests.support.load import post_echo
from tests.support.records import correlation_ids, records_of
from tests.support.report import RecordProperty
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.kafka.topics import create_topics
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 60.0
SLACK_S = 0.2
#: Requests sent while the permission is denied.
REQUESTS = 5
#: Maximum time until requests succeed once it is granted again, in seconds.
RECOVERY_S = 15.0
PRINCIPAL = "User:ANONYMOUS"
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"


@pytest.fixture(scope="module")
def broker(needs_apache: None) -> Iterator[ApacheKafka]:
    """A broker that allows everything that no ACL denies."""
    options = {"authorizer.class.name": AUTHORIZER, "allow.everyone.if.no.acl.found": "true"}
    with ApacheKafka(options=options) as broker:
        yield broker


@pytest.fixture
def deployment(broker: ApacheKafka, redis_server: Server, tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(broker, redis_server, tmp_path, env={"WEB_CONCURRENCY": "1"}) as deployment:
        yield deployment


Rule = tuple[ACLOperation, ResourceType, str]


@contextmanager
def denied(deployment: Deployment, *rules: Rule) -> Iterator[None]:
    """Deny the operations; grant them again at the end of the block."""
    admin = KafkaAdminClient(**deployment.settings.kafka_connection())
    acls = []
    for operation, kind, name in rules:
        pattern = ResourcePattern(kind, name, ACLResourcePatternType.LITERAL)
        # A resource with an ACL allows nothing else by default.
        acls.append(ACL(PRINCIPAL, "*", ACLOperation.ALL, ACLPermissionType.ALLOW, pattern))
        acls.append(ACL(PRINCIPAL, "*", operation, ACLPermissionType.DENY, pattern))
    try:
        assert admin.create_acls(acls)["failed"] == []
        yield
    finally:
        everywhere = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        admin.delete_acls(
            [ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everywhere)]
        )
        admin.close()


def assert_nothing_broke(deployment: Deployment) -> None:
    logs = [process.logged() for process in deployment.processes]
    assert [p.name for p in deployment.processes if p.child.returncode is not None] == []
    assert [log for log in logs if "Traceback" in log] == []
    assert [log for log in logs if deployment.secret_key in log] == []


def is_rebuilt_after_a_request(gateway: Gateway) -> bool:
    gateway.post("/echo", b"x")
    return "rebuilding it" in gateway.logged()


@pytest.mark.parametrize("extent", ["this topic", "every topic"])
def test_without_write_permission_requests_fail_with_advice_until_it_is_granted(
    deployment: Deployment, record_property: RecordProperty, extent: str
):
    topic, gateway = deployment.prefix + "echo", deployment.gateway
    timeout_s = deployment.settings.reply_timeout_s
    before = deployment.pids()
    rules: list[Rule] = [(ACLOperation.WRITE, ResourceType.TOPIC, topic)]
    if extent == "every topic":
        # Without any write permission Kafka assigns no producer id.
        rules.append((ACLOperation.WRITE, ResourceType.TOPIC, "*"))
        rules.append((ACLOperation.IDEMPOTENT_WRITE, ResourceType.CLUSTER, "kafka-cluster"))
    with denied(deployment, *rules):
        assert wait_until(lambda: gateway.post("/echo", b"x").status == 503, LIMIT_S)
        if extent == "every topic":
            # Until the producer is rebuilt, its records may have been appended.
            assert wait_until(lambda: is_rebuilt_after_a_request(gateway), LIMIT_S)
        rejections = [gateway.post("/echo", b"%d" % n) for n in range(REQUESTS)]
        other = gateway.post("/orders", b'{"item": "tea", "quantity": 1}')
    granted_s = time.monotonic()
    assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
    took_s = time.monotonic() - granted_s
    record_property(f"{extent}: seconds until served again", round(took_s, 1))
    record_property(f"{extent}: detail", rejections[-1].json["detail"])
    attempts = [post_echo(gateway, b"%d" % n) for n in range(REQUESTS)]
    appended = set(correlation_ids(deployment, "echo"))

    for rejection in rejections:
        assert (rejection.status, rejection.json["type"]) == (503, "/problems/not-sent")
        assert rejection.json["sent"] == "no"
        assert rejection.elapsed_s < timeout_s + SLACK_S
        assert rejection.correlation_id not in appended
        assert f"grant Write on topic {topic!r}" in rejection.json["detail"]
    assert other.status == (201 if extent == "this topic" else 503)
    assert [str(a) for a in attempts if not a.is_own] == []
    assert f"grant Write on topic {topic!r}" in gateway.logged()
    assert deployment.pids() == before
    assert_nothing_broke(deployment)
    assert took_s < RECOVERY_S


def test_without_write_permission_dead_letters_wait_and_requests_are_answered(
    deployment: Deployment,
):
    gateway, topic = deployment.gateway, deployment.prefix + "dead"
    create_topics(deployment.settings.kafka_connection(), [topic])
    assert deployment.named("responder")[0].child.stop(10) == 0
    responder = deployment.start("responder", RESPONDER_DLQ_TOPIC="dead")
    bomb = b'{"item": "bomb", "quantity": 1}'
    assert wait_until(lambda: gateway.post("/orders", bomb).status == 500, LIMIT_S)
    before = len(records_of(deployment, "dead"))
    with denied(deployment, (ACLOperation.WRITE, ResourceType.TOPIC, topic)):
        refused = gateway.post("/orders", bomb)
        assert wait_until(lambda: "grant Describe and Write on it" in responder.logged(), LIMIT_S)
        other = post_echo(gateway, b"other")
        meanwhile = len(records_of(deployment, "dead"))
    assert wait_until(lambda: len(records_of(deployment, "dead")) == before + 1, LIMIT_S)

    assert (before, meanwhile) == (1, 1)
    assert (refused.status, other.is_own) == (500, True)
    assert refused.correlation_id in correlation_ids(deployment, "dead")
    assert f"RESPONDER_DLQ_TOPIC={topic} does not accept its dead letter" in responder.logged()
    assert responder.child.returncode is None


def reports_missing_replies_process(gateway: Gateway) -> bool:
    response = gateway.get("/readyz")
    return response.status == 503 and "no replies process reads" in str(response.json["problems"])


def test_a_replies_process_without_read_permission_logs_advice_and_recovers(
    deployment: Deployment, record_property: RecordProperty
):
    gateway, (replies,) = deployment.gateway, deployment.named("replies")
    before = deployment.pids()
    topic = deployment.prefix + "replies"
    with denied(deployment, (ACLOperation.READ, ResourceType.TOPIC, topic)):
        advice = f"grant Read on topic {topic!r}"
        assert wait_until(lambda: advice in replies.logged(), LIMIT_S), replies.logged()
        assert wait_until(lambda: reports_missing_replies_process(gateway), LIMIT_S)
        late = post_echo(gateway, b"late")
    granted_s = time.monotonic()
    assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
    took_s = time.monotonic() - granted_s
    record_property("seconds until served again", round(took_s, 1))
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)

    assert (late.status, late.sent) == (503, "yes")
    assert late.reply_arrives(gateway, LIMIT_S)
    assert deployment.pids() == before
    assert_nothing_broke(deployment)
    assert took_s < RECOVERY_S


def test_without_group_permission_a_member_reads_on_and_its_successor_waits(
    deployment: Deployment, record_property: RecordProperty
):
    gateway, (replies,) = deployment.gateway, deployment.named("replies")
    group = deployment.prefix + "replies"
    advice = f"grant Read on group {group!r}"

    def is_logged_by(process: Process) -> bool:
        # A reply, because only read records are committed.
        post_echo(gateway, b"advice")
        return advice in process.logged()

    with denied(deployment, (ACLOperation.READ, ResourceType.GROUP, group)):
        assert wait_until(lambda: is_logged_by(replies), LIMIT_S), replies.logged()
        # Fetching needs no group permission; only commits are rejected.
        meanwhile = post_echo(gateway, b"meanwhile")
        assert replies.child.stop(10) == 0
        successor = deployment.start("replies")
        assert wait_until(lambda: advice in successor.logged(), LIMIT_S), successor.logged()
        assert wait_until(lambda: reports_missing_replies_process(gateway), LIMIT_S)
    granted_s = time.monotonic()
    assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
    took_s = time.monotonic() - granted_s
    record_property("seconds until served again", round(took_s, 1))

    assert meanwhile.is_own
    assert successor.child.returncode is None
    assert "Traceback" not in replies.logged() + successor.logged()
    assert took_s < RECOVERY_S
