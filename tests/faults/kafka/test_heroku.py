"""The walk-through for Heroku, from nothing to a first answer, under a Procfile runner (honcho)."""

import json
import re
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)

from tests.support.certificates import Authority, require_openssl
from tests.support.deployment import Gateway
from tests.support.tls_proxy import TlsProxy
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, can_listen, free_port
from tools.devstack.process.procfile import start_process
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

GUIDE = Path("docs/guides/deploy.md").read_text(encoding="utf-8")
APP = json.loads(Path("app.json").read_text(encoding="utf-8"))
AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
#: As the add-on of a basic plan sets it.
PREFIX = "river-1234."
PRINCIPAL = "User:CN=client"
LIMIT_S = 90.0


def commands(beginning: str) -> list[str]:
    """Return the commands of the walk-through that begin with *beginning*, without it."""
    section = GUIDE.partition("## On Heroku")[2].partition("\n## ")[0]
    block = section.partition("```sh\n")[2].partition("```")[0]
    found = re.findall(rf"^{re.escape(beginning)}(.*)$", block, re.MULTILINE)
    assert found, beginning
    return list(found)


def names(loop: str) -> list[str]:
    """Return what a loop of the walk-through creates: topics or groups."""
    return commands(f"for {loop} in ")[0].partition(";")[0].split()


def configuration() -> dict[str, str]:
    """Return what app.json and the walk-through set."""
    given = {name: one["value"] for name, one in APP["env"].items() if "value" in one}
    (line,) = commands("heroku config:set ")
    line = line.replace("$(openssl rand -hex 32)", secrets.token_hex(32))
    return given | dict(word.split("=", 1) for word in shlex.split(line))


def formation() -> dict[str, int]:
    (line,) = commands("heroku ps:scale ")
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}


@dataclass(frozen=True)
class Heroku:
    """An app with the add-ons of Kafka and Redis, without topics and groups."""

    broker: ApacheKafka
    env: dict[str, str]
    folder: Path

    def create_topics(self) -> None:
        """As heroku kafka:topics:create, which also lets the app use them."""
        created = [PREFIX + topic for topic in names("topic")]
        create_topics({"bootstrap_servers": [self.broker.address]}, created)
        operations = (ACLOperation.DESCRIBE, ACLOperation.READ, ACLOperation.WRITE)
        self._allow(ResourceType.TOPIC, created, *operations)

    def create_groups(self) -> None:
        """As heroku kafka:consumer-groups:create."""
        created = [PREFIX + group for group in names("group")]
        self._allow(ResourceType.GROUP, created, ACLOperation.READ)

    def _allow(self, kind: ResourceType, resources: list[str], *operations: ACLOperation) -> None:
        admin = KafkaAdminClient(bootstrap_servers=[self.broker.address])
        acls = [
            ACL(
                PRINCIPAL, "*", operation, ACLPermissionType.ALLOW,
                ResourcePattern(kind, resource, ACLResourcePatternType.LITERAL),
            )
            for resource in resources
            for operation in operations
        ]  # fmt: skip
        try:
            assert admin.create_acls(acls)["failed"] == []
        finally:
            admin.close()

    def release(self) -> tuple[int, str]:
        """Run the release phase; return its exit code and its log."""
        log = self.folder / "release.log"
        log.unlink(missing_ok=True)
        child = start_process("honcho start --no-colour release", self.env, log)
        try:
            return child.wait(LIMIT_S), log.read_text(encoding="utf-8")
        finally:
            child.kill()


@pytest.fixture
def heroku(needs_apache: None, redis_server: Server, tmp_path: Path) -> Iterator[Heroku]:
    require_openssl()
    authority = Authority.make(tmp_path, "authority")
    keystore = authority.issue("broker", f"IP:{LOOPBACK}")
    authority.issue("client", "DNS:client")
    certificate, key = (
        (tmp_path / f"client.{kind}").read_text(encoding="ascii") for kind in ("crt", "key")
    )
    options = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "ssl.client.auth": "required",
        "authorizer.class.name": AUTHORIZER,
        # The broker itself, and what the command line of Heroku does.
        "super.users": "User:ANONYMOUS",
    }
    tls = Listener("TLS", free_port(), protocol="SSL")
    self_signed = Authority.make(tmp_path, "other").issue("redis", "DNS:redis")
    with (
        ApacheKafka(listeners=[tls], options=options) as broker,
        TlsProxy(redis_server.port, self_signed) as proxy,
    ):
        add_ons = {
            # Certificates of Heroku's brokers do not contain their host names.
            "KAFKA_URL": f"kafka+ssl://localhost:{tls.port}",
            "KAFKA_PREFIX": PREFIX,
            "KAFKA_TRUSTED_CERT": authority.pem,
            "KAFKA_CLIENT_CERT": certificate,
            "KAFKA_CLIENT_CERT_KEY": key,
            "REDIS_URL": f"rediss://{LOOPBACK}:{proxy.port}/0",
        }
        buildpack = {"FORWARDED_ALLOW_IPS": "*", "GUNICORN_CMD_ARGS": "--access-logfile -"}
        yield Heroku(broker, configuration() | add_ons | buildpack, tmp_path)


def two_free_ports() -> int:
    """Return a free port whose successor is free too; honcho counts up."""
    while not can_listen(LOOPBACK, (port := free_port()) + 1):
        pass
    return port


def test_the_walk_through_leads_from_nothing_to_a_first_answer(heroku: Heroku):
    failed, reason = heroku.release()
    heroku.create_topics()
    released, found = heroku.release()
    scale = formation()
    port, log = two_free_ports(), heroku.folder / "app.log"
    counts = ",".join(f"{name}={count}" for name, count in scale.items())
    run = f"honcho start --no-colour --port {port} --concurrency {counts} {' '.join(scale)}"
    child = start_process(run, heroku.env, log)
    gateways = [Gateway("web", child, log, port + n) for n in range(scale["web"])]
    (body,) = re.findall(r"/echo -d '(.*)'", commands("curl -i ")[0])

    def advises(group: str) -> bool:
        return f"grant Read on group '{PREFIX}{group}'" in gateways[0].logged()

    def first_answers() -> bool:
        try:
            return all(one.post("/echo", body.encode()).status == 200 for one in gateways)
        except OSError:  # it is starting
            return False

    try:
        assert wait_until(lambda: all(map(advises, names("group"))), LIMIT_S), log.read_text()
        heroku.create_groups()
        assert wait_until(first_answers, LIMIT_S), log.read_text()
        # As Heroku's router adds them.
        forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        answer = gateways[0].request("POST", "/echo", body.encode(), forwarded)
        ready = wait_until(lambda: all(one.responds("/readyz") for one in gateways), LIMIT_S)
        problems = [one.get("/readyz").body for one in gateways]
    finally:
        child.stop(20)
    logged = log.read_text(encoding="utf-8")

    assert failed != 0
    assert all(f"{PREFIX}{topic}" in reason for topic in names("topic")), reason
    assert released == 0, found
    assert (answer.status, answer.body) == (200, body.encode())
    assert ready, problems
    assert '203.0.113.9 "POST /echo' in logged
    assert "Traceback" not in logged
    for secret in ("SECRET_KEY", "KAFKA_CLIENT_CERT_KEY"):
        assert heroku.env[secret] not in logged
