"""Apache Kafka behind TLS: the whole way through it, and each way to get it wrong, told at once."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rendezvous.kafka_client.producer import BOOTSTRAP_TIMEOUT_MS
from tests.support.certificates import Authority, require_openssl
from tests.support.deployment import Deployment, Process
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 30.0
#: How soon the cause is told, counted from the first answer of the process.
TOLD_S = 5.0
PROCESSES = ("web", "replies", "responder")


@dataclass(frozen=True)
class Secured:
    """A broker with a listener for TLS, and who vouches for it; *stranger* does not."""

    broker: ApacheKafka
    port: int
    authority: Authority
    stranger: Authority

    @property
    def url(self) -> str:
        return f"kafka+ssl://{LOOPBACK}:{self.port}"


@pytest.fixture(scope="module")
def secured(needs_apache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require_openssl()
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority.make(folder, "authority")
    keystore = authority.issue("broker", f"IP:{LOOPBACK}")
    options = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
    }
    port = free_port()
    with ApacheKafka(listeners=[Listener("TLS", port, protocol="SSL")], options=options) as broker:
        yield Secured(broker, port, authority, Authority.make(folder, "stranger"))


def test_a_request_and_its_reply_travel_through_tls(
    secured: Secured, redis_server: Server, tmp_path: Path
):
    env = {"KAFKA_URL": secured.url, "KAFKA_TRUSTED_CERT": secured.authority.pem}
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        response = deployment.gateway.post("/echo", b"through TLS")
        ready = deployment.gateway.get("/readyz")

    assert (response.status, response.body) == (200, b"through TLS")
    assert ready.status == 200


def test_a_name_that_is_not_the_brokers_does_no_harm_where_its_authority_is_named(
    secured: Secured, redis_server: Server, tmp_path: Path
):
    # Heroku's brokers have no names that their certificates know.
    env = {
        "KAFKA_URL": f"kafka+ssl://localhost:{secured.port}",
        "KAFKA_TRUSTED_CERT": secured.authority.pem,
    }
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        response = deployment.gateway.post("/echo", b"by another name")

    assert (response.status, response.body) == (200, b"by another name")


@pytest.mark.parametrize(
    ("fault", "said", "setting"),
    [
        ("unknown authority", "its certificate is not trusted", "correct KAFKA_TRUSTED_CERT"),
        ("wrong host name", "its certificate is for another host", "correct the host"),
        ("plaintext port", "TLS failed", "is this a plaintext port"),
        ("TLS port", "not answer", "is it a TLS port (then use kafka+ssl://)"),
    ],
)
def test_what_is_wrong_with_tls_is_told_in_one_line_that_names_the_setting(
    secured: Secured, redis_server: Server, tmp_path: Path, fault: str, said: str, setting: str,
    record_property,
):  # fmt: skip
    trusted = {"KAFKA_TRUSTED_CERT": secured.authority.pem}
    env = {
        "unknown authority": {
            "KAFKA_URL": secured.url,
            "KAFKA_TRUSTED_CERT": secured.stranger.pem,
        },
        # Names are checked where the authority is one of the system's.
        "wrong host name": {
            "KAFKA_URL": f"kafka+ssl://localhost:{secured.port}",
            "SSL_CERT_FILE": str(secured.authority.file),
        },
        "plaintext port": {"KAFKA_URL": f"kafka+ssl://{secured.broker.address}", **trusted},
        "TLS port": {"KAFKA_URL": f"kafka://{LOOPBACK}:{secured.port}"},
    }[fault]
    deployment = Deployment(secured.broker, redis_server, tmp_path, env=env)
    try:
        started_s = time.monotonic()
        others = [deployment.start("replies"), deployment.start("responder")]
        gateway = deployment.start_gateway()

        def is_told_by(process: Process) -> bool:
            return any(said in line and setting in line for line in process.logged().splitlines())

        def is_told() -> bool:
            try:
                problems = gateway.get("/readyz").json["problems"]
            except OSError:  # it is starting
                return False
            return any(said in problem and setting in problem for problem in problems)

        def is_up() -> bool:
            try:
                return gateway.get("/livez").status == 200
            except OSError:
                return False

        assert wait_until(is_up, LIMIT_S), deployment.logs()
        up_s = time.monotonic()
        assert wait_until(is_told, TOLD_S), gateway.get("/readyz").body
        assert wait_until(lambda: is_told_by(gateway), TOLD_S), gateway.logged()
        # The port accepts: only a client that has tried for as long as it may knows better.
        limit_s = TOLD_S + (BOOTSTRAP_TIMEOUT_MS / 1000 if fault == "TLS port" else 0)
        assert wait_until(
            lambda: all(map(is_told_by, others)), max(up_s + limit_s - time.monotonic(), 0)
        ), deployment.logs()
        record_property(f"{fault}: told, s after the start", round(time.monotonic() - started_s, 1))
        refused = gateway.post("/echo", b"x")
        assert [p.log.name for p in deployment.processes if p.child.returncode is not None] == []
    finally:
        deployment.__exit__()

    logs = deployment.logs()
    assert (refused.status, refused.json["sent"]) == (503, "no")
    assert "Traceback" not in logs
    for secret in (deployment.secret_key, "PRIVATE KEY", "BEGIN CERTIFICATE"):
        assert secret not in logs
