"""Apache Kafka with access control: what is denied while everything runs, and granted again."""

import time
from collections.abc import Callable, Iterator
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
from tests.support.records import correlation_ids
from tools.devstack.kafka.apache import ApacheKafka
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 60.0
SLACK_S = 0.2
#: How many requests are made while it is denied.
TRIES = 5
#: How soon requests are answered once it is granted again.
RESUMED_S = 15.0
WHO = "User:ANONYMOUS"
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def broker(needs_apache: None) -> Iterator[ApacheKafka]:
    """A broker on which everybody may do what no rule forbids."""
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
    """Deny each operation on the resource of its kind and name, and grant it again at the end."""
    admin = KafkaAdminClient(**deployment.settings.kafka_connection())
    acls = []
    for operation, kind, name in rules:
        pattern = ResourcePattern(kind, name, ACLResourcePatternType.LITERAL)
        # Where there is a rule, nobody may do what no rule allows.
        acls.append(ACL(WHO, "*", ACLOperation.ALL, ACLPermissionType.ALLOW, pattern))
        acls.append(ACL(WHO, "*", operation, ACLPermissionType.DENY, pattern))
    try:
        assert admin.create_acls(acls)["failed"] == []
        yield
    finally:
        everywhere = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        admin.delete_acls(
            [ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everywhere)]
        )
        admin.close()


def pids(deployment: Deployment) -> list[int]:
    processes = [process.child.pid for process in deployment.processes]
    return processes + deployment.gateway.worker_pids()


def assert_nothing_broke(deployment: Deployment) -> None:
    logs = [process.logged() for process in deployment.processes]
    assert [p.name for p in deployment.processes if p.child.returncode is not None] == []
    assert [log for log in logs if "Traceback" in log] == []
    assert [log for log in logs if deployment.secret_key in log] == []


def is_rebuilt_after_a_request(gateway: Gateway) -> bool:
    gateway.post("/echo", b"x")
    return "rebuilding it" in gateway.logged()


@pytest.mark.parametrize("extent", ["this topic", "every topic"])
def test_who_may_not_write_requests_is_told_so_and_served_when_it_may_again(
    deployment: Deployment, record_property: Record, extent: str
):
    topic, gateway = deployment.prefix + "echo", deployment.gateway
    timeout_s = deployment.settings.reply_timeout_s
    before = pids(deployment)
    rules: list[Rule] = [(ACLOperation.WRITE, ResourceType.TOPIC, topic)]
    if extent == "every topic":
        # Who may write nowhere is not given a producer id either.
        rules.append((ACLOperation.WRITE, ResourceType.TOPIC, "*"))
        rules.append((ACLOperation.IDEMPOTENT_WRITE, ResourceType.CLUSTER, "kafka-cluster"))
    with denied(deployment, *rules):
        assert wait_until(lambda: gateway.post("/echo", b"x").status == 503, LIMIT_S)
        if extent == "every topic":
            # What the producer with an id holds when it is lost may have been appended before.
            assert wait_until(lambda: is_rebuilt_after_a_request(gateway), LIMIT_S)
        refusals = [gateway.post("/echo", b"%d" % n) for n in range(TRIES)]
        other = gateway.post("/orders", b'{"item": "tea", "quantity": 1}')
    granted_s = time.monotonic()
    assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
    took_s = time.monotonic() - granted_s
    record_property(f"{extent}: seconds until served again", round(took_s, 1))
    record_property(f"{extent}: detail", refusals[-1].json["detail"])
    endings = [post_echo(gateway, b"%d" % n) for n in range(TRIES)]
    appended = set(correlation_ids(deployment, "echo"))

    for refused in refusals:
        assert (refused.status, refused.json["type"]) == (503, "/problems/not-sent")
        assert refused.json["sent"] == "no"
        assert refused.elapsed_s < timeout_s + SLACK_S
        assert refused.correlation_id not in appended
        assert f"grant Write on topic {topic!r}" in refused.json["detail"]
    assert other.status == (201 if extent == "this topic" else 503)
    assert [str(a) for a in endings if not a.is_own] == []
    assert f"grant Write on topic {topic!r}" in gateway.logged()
    assert pids(deployment) == before
    assert_nothing_broke(deployment)
    assert took_s < RESUMED_S


def is_told_that_nobody_reads(gateway: Gateway) -> bool:
    response = gateway.get("/readyz")
    return response.status == 503 and "no replies process reads" in str(response.json["problems"])


def test_a_replies_process_that_may_not_read_says_so_and_goes_on_when_it_may_again(
    deployment: Deployment, record_property: Record
):
    gateway, (replies,) = deployment.gateway, deployment.named("replies")
    before = pids(deployment)
    topic = deployment.prefix + "replies"
    with denied(deployment, (ACLOperation.READ, ResourceType.TOPIC, topic)):
        said = f"grant Read on topic {topic!r}"
        assert wait_until(lambda: said in replies.logged(), LIMIT_S), replies.logged()
        assert wait_until(lambda: is_told_that_nobody_reads(gateway), LIMIT_S)
        late = post_echo(gateway, b"late")
    granted_s = time.monotonic()
    assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
    took_s = time.monotonic() - granted_s
    record_property("seconds until served again", round(took_s, 1))
    assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)

    assert (late.status, late.sent) == (503, "yes")
    assert late.reply_arrives(gateway, LIMIT_S)
    assert pids(deployment) == before
    assert_nothing_broke(deployment)
    assert took_s < RESUMED_S


def test_a_replies_process_that_loses_its_group_reads_on_and_its_successor_waits_for_the_grant(
    deployment: Deployment, record_property: Record
):
    gateway, (replies,) = deployment.gateway, deployment.named("replies")
    group = deployment.prefix + "replies"
    said = f"grant Read on group {group!r}"

    def is_said_by(process: Process) -> bool:
        # A request, for only who has read something commits it.
        post_echo(gateway, b"said")
        return said in process.logged()

    with denied(deployment, (ACLOperation.READ, ResourceType.GROUP, group)):
        assert wait_until(lambda: is_said_by(replies), LIMIT_S), replies.logged()
        # Fetching asks for no group; only its commits are refused.
        meanwhile = post_echo(gateway, b"meanwhile")
        assert replies.child.stop(10) == 0
        successor = deployment.start("replies")
        assert wait_until(lambda: said in successor.logged(), LIMIT_S), successor.logged()
        assert wait_until(lambda: is_told_that_nobody_reads(gateway), LIMIT_S)
    granted_s = time.monotonic()
    assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
    took_s = time.monotonic() - granted_s
    record_property("seconds until served again", round(took_s, 1))

    assert meanwhile.is_own
    assert successor.child.returncode is None
    assert "Traceback" not in replies.logged() + successor.logged()
    assert took_s < RESUMED_S
