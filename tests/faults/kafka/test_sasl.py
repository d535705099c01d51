"""SASL on Apache Kafka: each mechanism, re-authentication, rotated passwords, and mistakes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from tests.support.certificates import Authority, require_openssl
from tests.support.deployment import Deployment
from tests.support.load import Load, post_echo
from tests.support.misconfiguration import assert_reported
from tests.support.report import RecordProperty
from tests.support.token_endpoint import token_endpoint, tokens_for
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 60.0
REQUESTS = 1_000
RATE = 50.0
#: Lifetime of an authentication: each client authenticates again several times under load.
SESSION_MS = 3_000
#: Maximum time until requests succeed once a password is right again, in seconds.
RECOVERY_S = 15.0
USER, PASSWORD = "alice", "password-of-alice"
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
MODULES = {
    "PLAIN": f"org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'user_{USER}="{PASSWORD}";',
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
    'unsecuredLoginStringClaim_sub="broker";',
    **dict.fromkeys(SCRAM, "org.apache.kafka.common.security.scram.ScramLoginModule required;"),
}
MECHANISMS = tuple(MODULES)
#: Lifetime of an OAuth token, in seconds.
TOKEN_S = 5


@dataclass(frozen=True)
class Secured:
    """A broker with listeners that require SASL: plaintext, TLS, and plaintext with PLAIN only."""

    broker: ApacheKafka
    ports: dict[str, int]
    authority: Authority
    token_url: str

    def env(self, listener: str, mechanism: str) -> dict[str, str]:
        """Return the settings of a client of *listener*."""
        env = {
            "KAFKA_URL": f"kafka://{LOOPBACK}:{self.ports[listener]}",
            "KAFKA_SASL_MECHANISM": mechanism,
        }
        if mechanism == "OAUTHBEARER":
            env["KAFKA_OAUTH_TOKEN_URL"] = self.token_url
            env |= {"KAFKA_OAUTH_CLIENT_ID": USER, "KAFKA_OAUTH_CLIENT_SECRET": PASSWORD}
        else:
            env |= {"KAFKA_USERNAME": USER, "KAFKA_PASSWORD": PASSWORD}
        if listener == "TLS":
            env["KAFKA_URL"] = f"kafka+ssl://{LOOPBACK}:{self.ports[listener]}"
            env["KAFKA_TRUSTED_CERT"] = self.authority.pem
        return env


@pytest.fixture(scope="module")
def secured(needs_apache: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require_openssl()
    authority = Authority.make(tmp_path_factory.mktemp("certificates"), "authority")
    keystore = authority.issue("broker", f"IP:{LOOPBACK}")
    enabled = {"CLEAR": MECHANISMS, "TLS": MECHANISMS, "ONLYPLAIN": ("PLAIN",)}
    options = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "connections.max.reauth.ms": str(SESSION_MS),
    }
    for listener, mechanisms in enabled.items():
        prefix = f"listener.name.{listener.lower()}"
        options[f"{prefix}.sasl.enabled.mechanisms"] = ",".join(mechanisms)
        for name in mechanisms:
            options[f"{prefix}.{name.lower()}.sasl.jaas.config"] = MODULES[name]
    ports = {name: free_port() for name in enabled}
    listeners = [
        Listener(name, port, protocol="SASL_SSL" if name == "TLS" else "SASL_PLAINTEXT")
        for name, port in ports.items()
    ]
    users = [f"{name}=[name={USER},password={PASSWORD}]" for name in SCRAM]
    with (
        token_endpoint(tokens_for(USER, PASSWORD, TOKEN_S)) as (token_url, _),
        ApacheKafka(listeners=listeners, options=options, scram_users=users) as broker,
    ):
        yield Secured(broker, ports, authority, token_url)


def connections_to(port: int) -> set[str]:
    """Return the local addresses of the established connections to *port* of this machine."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"}


@pytest.mark.parametrize("listener", ["CLEAR", "TLS"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_requests_are_served_while_the_clients_authenticate_again(
    secured: Secured, redis_server: Server, tmp_path: Path, listener: str, mechanism: str,
    record_property: RecordProperty,
):  # fmt: skip
    env = {"WEB_CONCURRENCY": "1", **secured.env(listener, mechanism)}
    port = secured.ports[listener]
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        before = connections_to(port)
        with Load([deployment.gateway], clients=4, rate=RATE) as load:
            load.wait_for(REQUESTS, LIMIT_S)
        after = connections_to(port)
        ready = deployment.gateway.get("/readyz")
        deployment.__exit__()
        logs = deployment.logs()
    record_property(f"{mechanism} {listener}", load.summary())

    assert load.outcomes == {"own": len(load.attempts)}, logs
    assert load.elapsed_s * 1000 > 2 * SESSION_MS
    # The broker closes the connection of a client that does not authenticate again in time.
    assert before <= after
    assert ready.status == 200
    assert "Traceback" not in logs
    assert PASSWORD not in logs


@pytest.mark.parametrize(
    ("mistake", "cause", "setting"),
    [
        ("wrong password", "refuses KAFKA_USERNAME and KAFKA_PASSWORD", "correct them"),
        ("wrong SCRAM password", "refuses KAFKA_USERNAME and KAFKA_PASSWORD", "correct them"),
        ("other mechanism", "not enable SASL SCRAM-SHA-256, but PLAIN", "KAFKA_SASL_MECHANISM"),
        ("port without SASL", "it refuses SASL", "remove KAFKA_SASL_MECHANISM"),
        ("no SASL", "it closes connections without SASL", "set KAFKA_SASL_MECHANISM"),
        ("no TLS", "does not answer as a broker", "is it a TLS port (then use kafka+ssl://)"),
        ("wrong secret", "KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET", "correct them"),
        ("no token endpoint", "KAFKA_OAUTH_TOKEN_URL does not answer", "check the network"),
        ("plaintext port", "TLS failed", "is this a plaintext port"),
    ],
)
def test_a_mistake_is_reported_in_one_line_that_names_the_setting(
    secured: Secured, redis_server: Server, tmp_path: Path, mistake: str, cause: str, setting: str,
    record_property: RecordProperty,
):  # fmt: skip
    clear, tls = secured.env("CLEAR", "PLAIN"), secured.env("TLS", "PLAIN")
    oauth = secured.env("CLEAR", "OAUTHBEARER")
    env = {
        "wrong password": clear | {"KAFKA_PASSWORD": "wrong"},
        "wrong SCRAM password": secured.env("CLEAR", "SCRAM-SHA-512") | {"KAFKA_PASSWORD": "wrong"},
        "other mechanism": secured.env("ONLYPLAIN", "SCRAM-SHA-256"),
        "port without SASL": clear | {"KAFKA_URL": secured.broker.url},
        "no SASL": {"KAFKA_URL": clear["KAFKA_URL"]},
        "no TLS": clear | {"KAFKA_URL": tls["KAFKA_URL"].replace("+ssl", "")},
        "wrong secret": oauth | {"KAFKA_OAUTH_CLIENT_SECRET": "wrong"},
        "no token endpoint": oauth | {"KAFKA_OAUTH_TOKEN_URL": f"http://{LOOPBACK}:1/token"},
        "plaintext port": tls | {"KAFKA_URL": clear["KAFKA_URL"].replace("kafka", "kafka+ssl")},
    }[mistake]
    deployment = Deployment(secured.broker, redis_server, tmp_path, env=env)
    took_s = assert_reported(deployment, cause, setting)
    record_property(f"{mistake}: reported, s after the start", round(took_s, 1))
    record_property(
        mistake, next(row for row in deployment.gateway.logged().splitlines() if cause in row)
    )


def set_password(secured: Secured, password: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=[secured.broker.address])
    user = UserScramCredentialUpsertion(USER, ScramMechanism.SCRAM_SHA_256, password)
    try:
        assert admin.alter_user_scram_credentials([user]) == {USER: None}
    finally:
        admin.close()


def test_clients_recover_when_the_password_is_right_again_at_the_broker(
    secured: Secured, redis_server: Server, tmp_path: Path, record_property: RecordProperty
):
    env = {"WEB_CONCURRENCY": "1", **secured.env("CLEAR", "SCRAM-SHA-256")}
    with Deployment(secured.broker, redis_server, tmp_path, env=env) as deployment:
        gateway, before = deployment.gateway, deployment.pids()

        def is_reported() -> bool:
            problems = gateway.get("/readyz").json.get("problems", [])
            return any("refuses KAFKA_USERNAME and KAFKA_PASSWORD" in one for one in problems)

        set_password(secured, "another")
        try:
            # Sessions end, and authentications fail from then on.
            assert wait_until(is_reported, LIMIT_S), deployment.logs()
            time.sleep(SESSION_MS / 1000)
            rejections = [post_echo(gateway, b"%d" % n) for n in range(3)]
        finally:
            set_password(secured, PASSWORD)
        right_s = time.monotonic()
        assert wait_until(lambda: post_echo(gateway, b"again").is_own, LIMIT_S), deployment.logs()
        took_s = time.monotonic() - right_s
        assert wait_until(lambda: gateway.get("/readyz").status == 200, LIMIT_S)
        record_property("seconds until served again", round(took_s, 1))
        record_property("meanwhile", [str(rejection) for rejection in rejections])
        pids = deployment.pids()
        logs = "\n".join(process.logged() for process in deployment.processes)

    assert {rejection.status for rejection in rejections} == {503}
    assert pids == before
    assert took_s < RECOVERY_S
    assert "; correct KAFKA_USERNAME and KAFKA_PASSWORD" in logs
    assert "Traceback" not in logs
    assert PASSWORD not in logs
