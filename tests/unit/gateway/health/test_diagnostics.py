"""Diagnostics: the findings of python -m gateway.check."""

import io
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from gateway import check
from gateway.clients.api_keys import hash_of, new_key
from gateway.health.diagnostics import (
    Finding,
    caller_warnings,
    is_identity,
    kafka_findings,
    redis_findings,
    route_finding,
    run_checks,
)
from gateway.routing.schema import BodySchema
from gateway.routing.table import Route
from rendezvous.kafka_client.topics import Topic
from settings import Settings, SettingsError
from tests.fakes import raising
from tests.support.token_issuer import TokenIssuer
from tests.unit.apps import SETTINGS


class FakePublisher:
    """Finds *topics*; without any it reaches no broker."""

    def __init__(self, **topics):
        self.topics = topics

    def look_up(self, names):
        if not self.topics:
            raise ConnectionError("connection refused; start the broker")
        return {name: self.topics[name] for name in names}


class FakeReplyPathHealth:
    topic = "replies"

    def __init__(self, problem=None, warning=None):
        self.problem, self.warning = lambda: problem, warning


def publisher(**topics) -> Any:
    return FakePublisher(**topics)


def health(*texts) -> Any:
    return FakeReplyPathHealth(*texts)


def shown(found):
    return [(finding.ok, finding.text) for finding in found]


def test_a_route_is_a_finding_with_its_topic_timeouts_and_schema():
    route = Route("/a", "team.a", ("POST", "PUT"), max_timeout_s=10.0, schema=BodySchema(True))

    assert shown([route_finding(route, 3.0), route_finding(Route("/b", "b"), 3.0)]) == [
        (
            True,
            "POST PUT /a publishes to topic team.a; reply timeout 3 s, up to 10 s with Prefer: "
            "wait; bodies must match a schema",
        ),
        (True, "POST /b publishes to topic b; reply timeout 3 s"),
    ]


@pytest.mark.parametrize(
    "header",
    [
        "X-User", "x-user-id", "X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-User",
        "X-Authenticated-Userid", "Remote-User", "X-Remote-User", "X-Tenant", "X-Tenant-ID",
        "X-WEBAUTH-USER", "X-Consumer-Username", "X-Amzn-Oidc-Identity", "X-Account",
        "X-Goog-Authenticated-User-Email", "X-MS-Client-Principal-Name", "X-Client-Id",
    ],
)  # fmt: skip
def test_a_header_of_a_user_or_tenant_is_an_identity(header):
    assert is_identity(header)


@pytest.mark.parametrize(
    "header",
    ["User-Agent", "Accept-Language", "X-Forwarded-For", "X-Client-Version", "X-Author", "X-Shop"],
)
def test_any_other_header_is_no_identity(header):
    assert not is_identity(header)


def test_a_route_that_forwards_an_identity_and_names_no_caller_is_a_warning():
    routes = [
        Route("/a", "a", headers=("Accept", "X-User", "X-Tenant")),
        Route("/b", "b", headers=("X-User",), caller="header:X-User"),
        Route("/c", "c", headers=("Accept",)),
        Route("/d", "d", ("PUT",), key="header:X-Tenant"),
    ]
    found = caller_warnings(routes)

    assert [(finding.ok, finding.is_warning) for finding in found] == [(True, True)] * 2
    assert [finding.text.partition(":")[0] for finding in found] == [
        "POST /a forwards X-User and does not name the caller",
        "PUT /d forwards X-Tenant and does not name the caller",
    ]
    assert found[0].text.endswith('; set caller = "header:X-User" if the proxy sets it')
    assert [found[0].line(encoding)[:6] for encoding in ("utf-8", "ascii")] == ["! POST", "[warn]"]


def test_each_topic_is_a_finding_with_its_partitions_or_what_to_do():
    found = publisher(a=Topic(1), b=Topic(), c=Topic(is_hidden=True), replies=Topic(4))

    assert shown(kafka_findings(found, "kafka://h:1", ["a", "b", "c"], "replies")) == [
        (True, "Kafka answers at kafka://h:1"),
        (True, "topic a has 1 partition"),
        (False, "topic b is missing; create it, or correct KAFKA_PREFIX, REPLY_TOPIC or the route"),
        (False, "topic c is denied; grant Describe and Write on it"),
        (True, "reply topic replies has 4 partitions"),
    ]


def test_unreachable_brokers_are_one_finding():
    assert shown(kafka_findings(publisher(), "kafka://h:1", ["a"], "replies")) == [
        (False, "Kafka is unreachable: connection refused; start the broker")
    ]


def test_a_healthy_redis_and_reply_path_give_three_passed_findings(redis):
    assert [ok for ok, _ in shown(redis_findings(redis, "redis://h", health()))] == [True] * 3


def test_an_evicting_redis_and_a_broken_reply_path_are_failures(redis, monkeypatch):
    monkeypatch.setattr("gateway.health.diagnostics.eviction_policy", lambda redis: "allkeys-lru")

    found = shown(redis_findings(redis, "redis://h", health("no reader", "the clocks differ")))

    assert found[1:] == [
        (False, "Redis has maxmemory-policy allkeys-lru, which drops unread replies; "
         "set noeviction"),
        (False, "no reader"),
        (False, "the clocks differ"),
    ]  # fmt: skip


def test_before_the_start_the_reply_path_is_not_checked(redis, redis_server):
    assert len(shown(redis_findings(redis, "redis://h", None))) == 2

    redis_server.connected = False
    (unreachable,) = redis_findings(redis, "redis://h", None)
    assert not unreachable.ok


def test_the_option_before_start_is_passed_on(monkeypatch):
    checked = []

    def findings(before_start):
        checked.append(before_start)
        return []

    monkeypatch.setattr(check, "_findings", findings)
    check.main([])
    check.main(["--before-start"])

    assert checked == [False, True]


def test_without_redis_the_state_of_the_reply_path_is_unknown(redis, redis_server):
    redis_server.connected = False

    unreachable, unknown = redis_findings(redis, "redis://***@h", health())

    assert not unreachable.ok
    assert unreachable.text.startswith("Redis is unreachable at redis://***@h: Redis cannot be")
    assert (unknown.ok, "fix Redis first" in unknown.text) == (False, True)


def test_a_check_that_hangs_is_a_failure_and_keeps_its_earlier_findings():
    resume = threading.Event()

    def hangs():
        yield Finding(True, "reachable")
        resume.wait(20)

    found = run_checks({"Kafka": hangs, "Redis": lambda: [Finding(True, "there")]}, 0.2)
    resume.set()

    assert [ok for ok, _ in shown(found)] == [True, False, True]
    assert found[1].text == "Kafka has not answered within 0.2 s; check whether it hangs"


def test_a_check_that_raises_is_a_failure_and_the_others_run():
    found = run_checks(
        {"Kafka": raising(OSError("unexpected")), "Redis": lambda: [Finding(True, "there")]}, 5
    )

    assert [ok for ok, _ in shown(found)] == [False, True]
    assert "unexpected" in found[0].text


@pytest.mark.parametrize(
    ("encoding", "marks"),
    [("utf-8", "✓✗"), ("ascii", ["[ok]  ", "[FAIL]"]), ("latin-1", ["[ok]  ", "[FAIL]"])],
)
def test_marks_are_ascii_where_the_encoding_has_no_others(encoding, marks):
    lines = [Finding(ok, "it").line(encoding) for ok in (True, False)]

    assert lines == [f"{mark} it" for mark in marks]


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_is_1_if_a_check_failed(monkeypatch, ok, code):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(check, "_findings", lambda **_: [Finding(True, "/ä"), Finding(ok, "it")])

    assert check.main([]) == code
    assert out.buffer.getvalue().startswith(b"[ok]   /\\xe4\n")


@pytest.fixture
def offline_findings(monkeypatch, tmp_path):
    """Return the findings for an environment, without those of Kafka and Redis."""
    monkeypatch.setattr(check, "_connections", lambda *_: [])
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\npath = "/a"\ntopic = "a"\n')

    def find(**more):
        env = {
            "KAFKA_URL": "kafka://h:1",
            "REDIS_URL": "redis://h",
            "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184",
            "ROUTES_FILE": str(routes),
        }
        settings = Settings.from_env(env | more)
        monkeypatch.setattr(Settings, "from_env", lambda: settings)
        return shown(check._findings())

    return find


def test_valid_settings_routes_and_keys_are_passed_findings(offline_findings):
    keys = f'[[client]]\nname = "shop"\nkeys = ["{hash_of(new_key())}"]\n'

    assert offline_findings(API_KEYS=keys) == [
        (True, "the settings are valid"),
        (True, "POST /a publishes to topic a; reply timeout 3 s"),
        (True, "clients need an API key"),
    ]


def test_tokens_are_a_finding_with_their_keys(offline_findings):
    with TokenIssuer().serving() as issuer:
        env = {"JWT_ISSUER": "https://i", "JWT_AUDIENCE": "a", "JWT_JWKS_URL": issuer.url}
        settings = replace(SETTINGS, jwt_issuer="https://i", jwt_jwks_url=issuer.url)

        assert offline_findings(**env)[-1] == (True, "clients need a token from https://i")
        assert shown(check.token_key_findings(settings)) == [
            (True, "JWT_JWKS_URL has 1 key for RS256, ES256")
        ]
        issuer.status = 404
        assert shown(check.token_key_findings(settings)) == [
            (False, "JWT_JWKS_URL: it answers HTTP 404; correct it, or check that server")
        ]


def test_keys_over_http_are_a_warning():
    private = ["https://issuer/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys"]

    assert [check.is_private(url) for url in private] == [True] * 3
    assert not check.is_private("http://issuer/keys")


@pytest.mark.parametrize("missing", ["jwt", "cryptography"])
def test_tokens_without_their_packages_are_a_failure(offline_findings, monkeypatch, missing):
    monkeypatch.setattr("gateway.config.find_spec", lambda name: None if name == missing else name)
    env = {"JWT_ISSUER": "i", "JWT_AUDIENCE": "a", "JWT_JWKS_URL": "https://i/keys"}

    assert offline_findings(**env)[-1] == (
        False,
        "JWT_ISSUER is set, but PyJWT and cryptography are not installed; "
        "pip install -r requirements-jwt.txt",
    )


def test_scopes_that_nobody_can_have_are_a_failure(offline_findings, tmp_path):
    (tmp_path / "scoped.toml").write_text(
        '[[route]]\npath = "/a"\ntopic = "a"\nscopes = ["orders:write"]\n'
    )
    found = offline_findings(ROUTES_FILE=str(tmp_path / "scoped.toml"))

    assert found[-1] == (
        False,
        "/a requires scopes, but everybody may call; set JWT_ISSUER or API_KEYS, "
        "or remove its scopes",
    )


def test_a_route_without_a_caller_is_a_warning(offline_findings, tmp_path):
    (tmp_path / "users.toml").write_text(
        '[[route]]\npath = "/a"\ntopic = "a"\nheaders = ["X-User"]\n'
    )
    found = offline_findings(ROUTES_FILE=str(tmp_path / "users.toml"))

    assert [ok for ok, _ in found] == [True] * 4
    assert "users behind one proxy share idempotency keys and replies" in found[2][1]


def test_wrong_keys_are_failures(offline_findings):
    *_, (ok, text) = offline_findings(API_KEYS="[[client]]\nname = 'shop'\n")

    assert not ok
    assert "client 1" in text


def test_keys_are_not_checked_while_the_routes_are_wrong(offline_findings, tmp_path):
    (tmp_path / "wrong.toml").write_text("")

    assert offline_findings(ROUTES_FILE=str(tmp_path / "wrong.toml"), API_KEYS="wrong too") == [
        (True, "the settings are valid"),
        (False, f"{tmp_path / 'wrong.toml'}: expected one or more [[route]] tables"),
    ]


def test_nothing_else_is_checked_while_the_settings_are_wrong(monkeypatch):
    monkeypatch.setattr(
        Settings,
        "from_env",
        raising(SettingsError(["PORT=x: expected a whole number", "REDIS_URL is not set"])),
    )

    assert shown(check._findings()) == [
        (False, "PORT=x: expected a whole number"),
        (False, "REDIS_URL is not set"),
        (False, "nothing else was checked; correct the settings, then check again"),
    ]
