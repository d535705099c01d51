"""Apache Kafka with TLS: a round trip, and each misconfiguration with its report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import EXPIRED, Authority, require_openssl
from tests.support.deployment import Deployment
from tests.support.misconfiguration import assert_reported
from tests.support.report import RecordProperty
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Secured:
    """
    A broker with TLS listeners, the authority that signed them, and another authority.

    MUTUAL requires a certificate of the client; that of EXPIRED is of the day before yesterday.
    """

    broker: ApacheKafka
    ports: dict[str, int]
    authority: Authority
    other: Authority

    @property
    def url(self) -> str:
        return self.url_of("TLS")

    def url_of(self, listener: str, host: str = LOOPBACK) -> str:
        return f"kafka+ssl://{host}:{self.ports[listener]}"

    def client(self, days: str = "2") -> dict[str, str]:
        """Return the settings of a client with a certificate of its own."""
        self.authority.issue("client", "DNS:client", days=days)
        files = (self.authority.folder / f"client.{kind}" for kind in ("crt", "key"))
        certificate, key = (file.read_text(encoding="ascii") for file in files)
        return {
            "KAFKA_URL": self.url_of("MUTUAL"),
            "KAFKA_TRUSTED_CERT": self.authority.pem,
            "KAFKA_CLIENT_CERT": certificate,
            "KAFKA_CLIENT_CERT_KEY": key,
        }


@pytest.fixture(scope="module")
def secured(needs_apache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require_openssl()
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority.make(folder, "authority")
    keystore = authority.issue("broker", f"IP:{LOOPBACK}")
    expired = authority.issue("expired", f"IP:{LOOPBACK}", days=EXPIRED)
    options = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.file),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.expired.ssl.keystore.type": "PEM",
        "listener.name.expired.ssl.keystore.location": str(expired),
    }
    ports = {name: free_port() for name in ("TLS", "MUTUAL", "EXPIRED")}
    listeners = [Listener(name, port, protocol="SSL") for name, port in ports.items()]
    with ApacheKafka(listeners=listeners, options=options) as broker:
        yield Secured(broker, ports, authority, Authority.make(folder, "other"))


def test_requests_and_replies_are_sent_over_tls(
    secured: Secured, redis_server: Server, tmp_path: Path
):
    env = {"KAFKA_URL": secured.url, "KAFKA_TRUSTED_CERT": secured.authority.pem}
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        response = deployment.gateway.post("/echo", b"through TLS")
        ready = deployment.gateway.get("/readyz")

    assert (response.status, response.body) == (200, b"through TLS")
    assert ready.status == 200


@pytest.mark.parametrize("given", ["ignore", "CA and client certificate"])
def test_host_names_are_not_checked_if_they_are_ignored(
    secured: Secured, redis_server: Server, tmp_path: Path, given: str
):
    # Certificates of Heroku's brokers do not contain their host names.
    env = {
        "ignore": {
            "KAFKA_URL": secured.url_of("TLS", "localhost"),
            "KAFKA_TRUSTED_CERT": secured.authority.pem,
            "KAFKA_TLS_HOSTNAMES": "ignore",
        },
        "CA and client certificate": secured.client()
        | {"KAFKA_URL": secured.url_of("MUTUAL", "localhost")},
    }[given]
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        response = deployment.gateway.post("/echo", b"other name")

    assert (response.status, response.body) == (200, b"other name")


@pytest.mark.parametrize(
    ("fault", "cause", "setting"),
    [
        ("unknown authority", "its certificate is not trusted", "correct KAFKA_TRUSTED_CERT"),
        ("wrong host name", "its certificate is for another host", "correct the host"),
        ("CA of another host", "its certificate is for another host", "KAFKA_TLS_HOSTNAMES=ignore"),
        ("expired certificate", "is out of date", "renew it at the broker"),
        ("expired client certificate", "KAFKA_CLIENT_CERT has expired", "renew it"),
        ("no client certificate", "TLS failed", "KAFKA_CLIENT_CERT missing"),
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
        "wrong host name": {
            "KAFKA_URL": secured.url_of("TLS", "localhost"),
            "SSL_CERT_FILE": str(secured.authority.file),
        },
        "CA of another host": {"KAFKA_URL": secured.url_of("TLS", "localhost"), **trusted},
        "expired certificate": {"KAFKA_URL": secured.url_of("EXPIRED"), **trusted},
        "expired client certificate": secured.client(days=EXPIRED),
        "no client certificate": {"KAFKA_URL": secured.url_of("MUTUAL"), **trusted},
        "plaintext port": {"KAFKA_URL": f"kafka+ssl://{secured.broker.address}", **trusted},
        "TLS port": {"KAFKA_URL": secured.url.replace("+ssl", "")},
    }[fault]
    deployment = Deployment(secured.broker, redis_server, tmp_path, env=env)
    took_s = assert_reported(deployment, cause, setting)
    record_property(f"{fault}: reported, s after the start", round(took_s, 1))

    logs = deployment.logs()
    for secret in (deployment.secret_key, "PRIVATE KEY", "BEGIN CERTIFICATE"):
        assert secret not in logs
