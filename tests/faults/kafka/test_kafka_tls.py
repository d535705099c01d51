"""Apache Kafka with TLS: a round trip, and each misconfiguration with its report."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rendezvous.kafka_client.producer import BOOTSTRAP_TIMEOUT_MS
from tests.support.certificates import Authority, require_openssl
from tests.support.deployment import Deployment, Process
from tests.support.report import RecordProperty
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 30.0
#: Maximum time until the cause is reported, from the first response of the gateway, in seconds.
REPORT_S = 5.0


@dataclass(frozen=True)
class Secured:
    """A broker with a TLS listener, the authority that signed it, and another authority."""

    broker: ApacheKafka
    port: int
    authority: Authority
    other: Authority

    @property
    def url(self) -> str:
        return f"kafka+ssl://{LOOPBACK}:{self.port}"


@pytest.fixture(scope="module")
def secured(needs_apache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require_openssl()
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority.make(folder, "authority")
    keystore = authority.issue("broker", f"IP:{LOOPBACK}")
    options = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(keystore)}
    port = free_port()
    with ApacheKafka(listeners=[Listener("TLS", port, protocol="SSL")], options=options) as broker:
        yield Secured(broker, port, authority, Authority.make(folder, "other"))


def test_requests_and_replies_are_sent_over_tls(
    secured: Secured, redis_server: Server, tmp_path: Path
):
    env = {"KAFKA_URL": secured.url, "KAFKA_TRUSTED_CERT": secured.authority.pem}
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        response = deployment.gateway.post("/echo", b"through TLS")
        ready = deployment.gateway.get("/readyz")

    assert (response.status, response.body) == (200, b"through TLS")
    assert ready.status == 200


def test_host_names_are_not_checked_if_the_authority_is_configured(
    secured: Secured, redis_server: Server, tmp_path: Path
):
    # Certificates of Heroku's brokers do not contain their host names.
    env = {
        "KAFKA_URL": f"kafka+ssl://localhost:{secured.port}",
        "KAFKA_TRUSTED_CERT": secured.authority.pem,
    }
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        response = deployment.gateway.post("/echo", b"other name")

    assert (response.status, response.body) == (200, b"other name")


@pytest.mark.parametrize(
    ("fault", "cause", "setting"),
    [
        ("unknown authority", "its certificate is not trusted", "correct KAFKA_TRUSTED_CERT"),
        ("wrong host name", "its certificate is for another host", "correct the host"),
        ("plaintext port", "TLS failed", "is this a plaintext port"),
        ("TLS port", "not answer", "is it a TLS port (then use kafka+ssl://)"),
    ],
)
def test_a_tls_misconfiguration_is_reported_in_one_line_that_names_the_setting(
    secured: Secured, redis_server: Server, tmp_path: Path, fault: str, cause: str, setting: str,
    record_property: RecordProperty,
):  # fmt: skip
    trusted = {"KAFKA_TRUSTED_CERT": secured.authority.pem}
    env = {
        "unknown authority": {"KAFKA_URL": secured.url, "KAFKA_TRUSTED_CERT": secured.other.pem},
        # Host names are checked if the authority is one of the system's.
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

        def is_logged_by(process: Process) -> bool:
            return any(cause in line and setting in line for line in process.logged().splitlines())

        def is_reported() -> bool:
            try:
                problems = gateway.get("/readyz").json["problems"]
            except OSError:  # it is starting
                return False
            return any(cause in problem and setting in problem for problem in problems)

        assert wait_until(gateway.responds, LIMIT_S), deployment.logs()
        up_s = time.monotonic()
        assert wait_until(is_reported, REPORT_S), gateway.get("/readyz").body
        assert wait_until(lambda: is_logged_by(gateway), REPORT_S), gateway.logged()
        # A TLS port accepts connections: the error is known only after the bootstrap timeout.
        limit_s = REPORT_S + (BOOTSTRAP_TIMEOUT_MS / 1000 if fault == "TLS port" else 0)
        assert wait_until(
            lambda: all(map(is_logged_by, others)), max(up_s + limit_s - time.monotonic(), 0)
        ), deployment.logs()
        record_property(
            f"{fault}: reported, s after the start", round(time.monotonic() - started_s, 1)
        )
        rejected = gateway.post("/echo", b"x")
        assert [p.log.name for p in deployment.processes if p.child.returncode is not None] == []
    finally:
        deployment.__exit__()

    logs = deployment.logs()
    assert (rejected.status, rejected.json["sent"]) == (503, "no")
    assert "Traceback" not in logs
    for secret in (deployment.secret_key, "PRIVATE KEY", "BEGIN CERTIFICATE"):
        assert secret not in logs
