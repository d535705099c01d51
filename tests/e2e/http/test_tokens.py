"""Tokens: each outcome with real processes, and keys that come, change and fail meanwhile."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import altered, eventually
from tests.support.api_clients import ApiClient, keys_table
from tests.support.deployment import Deployment
from tests.support.records import records_of
from tests.support.token_issuer import AUDIENCE, NAME, TokenIssuer, part
from tools.devstack.process.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

BLUE = ApiClient("blue")
ROUTES = """
[[route]]
path = "/echo"
topic = "echo"

[[route]]
path = "/scoped"
topic = "echo"
scopes = ["orders:write"]
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[TokenIssuer]:
    with TokenIssuer().serving() as found:
        yield found


@pytest.fixture(scope="module")
def deployment(
    kafka: Server,
    redis_server: Server,
    issuer: TokenIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("tokens")
    (folder / "routes.toml").write_text(ROUTES)
    env = {
        "API_KEYS": keys_table(BLUE),
        "JWT_ISSUER": NAME,
        "JWT_AUDIENCE": AUDIENCE,
        "JWT_JWKS_URL": issuer.url,
        "ROUTES_FILE": str(folder / "routes.toml"),
        "REPLY_TIMEOUT_S": "10",
    }
    with Deployment(kafka, redis_server, folder, env=env, key=BLUE.key) as deployment:
        yield deployment


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}", "Client": "forged"}


def test_each_token_has_its_outcome_and_a_valid_one_names_the_client(
    deployment: Deployment, issuer: TokenIssuer
):
    gateway = deployment.all_gateways[0]
    good = issuer.token(scope="orders:write orders:read")
    head, claims, signature = good.split(".")
    invalid = {
        "wrong signature": ".".join((head, claims, altered(signature))),
        "another's key": TokenIssuer().token(),
        "no signature": f"{part({'alg': 'none', 'kid': '1'})}.{claims}.",
        "expired": issuer.token(exp=int(time.time()) - 60),
        "wrong audience": issuer.token(aud="https://other.example"),
        "unknown key": issuer.token(headers={"kid": "forged"}),
    }

    response = gateway.request("POST", "/scoped", b"from alice", bearer(good))
    for text in invalid.values():
        found = gateway.request("POST", "/echo", b"x", bearer(text))
        assert (found.status, found.json["type"]) == (401, "/problems/unauthorized"), text
        expected = 'Bearer realm="rendezvous", error="invalid_token"'
        assert found.headers["WWW-Authenticate"] == expected
    lacking = gateway.request("POST", "/scoped", b"x", bearer(issuer.token()))
    by_key = gateway.request("POST", "/echo", b"from blue", bearer(BLUE.key))

    assert (response.status, response.body) == (200, b"from alice")
    assert (by_key.status, by_key.body) == (200, b"from blue")
    assert (lacking.status, lacking.json["type"]) == (403, "/problems/insufficient-scope")
    assert lacking.headers["WWW-Authenticate"].endswith(
        'error="insufficient_scope", scope="orders:write"'
    )
    clients = {
        bytes(record.value): [value for name, value in record.headers if name.lower() == "client"]
        for record in records_of(deployment, "echo")
    }
    assert clients[b"from alice"] == [b"jwt:alice"]
    assert clients[b"from blue"] == [b"blue"]
    assert b"x" not in clients
    logs = "\n".join(process.logged() for process in deployment.processes)
    assert "client=jwt:alice" in logs
    assert claims not in logs


def test_without_keys_a_token_is_a_503_and_rotated_keys_are_learned(
    deployment: Deployment, issuer: TokenIssuer
):
    running, old = deployment.all_gateways[0], issuer.token()
    issuer.status = 500
    new = deployment.start_gateway()

    def status_of(gateway, token):
        return gateway.request("POST", "/echo", b"x", bearer(token)).status

    eventually(lambda: "HTTP 500; no token is accepted yet" in new.logged(), within_s=30)
    response = new.request("POST", "/echo", b"x", bearer(old))
    assert (response.status, response.json["type"]) == (503, "/problems/token-keys-unavailable")
    assert new.get("/readyz").status == 503
    assert status_of(running, old) == 200

    issuer.replace_key("2")
    issuer.status = 200

    def have_rotated():
        """Return whether all workers know the new key only; each response is one worker's."""
        statuses = [
            (status_of(gateway, issuer.token("2")), status_of(gateway, old))
            for gateway in [new, running] * 5
        ]
        return set(statuses) == {(200, 401)}

    eventually(have_rotated, within_s=30)
