"""Tokens, as clients see them: each outcome, with the keys of a real HTTP server."""

import threading
import time
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from gateway.clients.api_keys import ApiKeys, hash_of, new_key
from gateway.clients.client import Client
from gateway.clients.tokens import key_source
from gateway.health.readiness import Readiness
from gateway.routing.table import Route
from tests.fakes import altered, eventually
from tests.support.token_issuer import AUDIENCE, NAME, TokenIssuer, part
from tests.unit.apps import new_gateway

SHOP, SCOPED = new_key(), new_key()
API_KEYS = ApiKeys(
    [
        (hash_of(SHOP), Client("shop")),
        (hash_of(SCOPED), Client("scoped", scopes=frozenset({"orders:write"}))),
    ]
)
ROUTES = (
    Route("/echo", "echo"),
    Route("/orders", "orders", scopes=("orders:write", "orders:read")),
    Route("/shipments", "shipments", scopes=("orders:write",)),
)


@pytest.fixture(scope="module")
def keys():
    """The keys of all tests, as making RSA keys takes long."""
    found = TokenIssuer()
    found.add_key("rsa", kind="RSA")
    return found


@pytest.fixture
def issuer(keys):
    found = TokenIssuer()
    found.keys, found.published = dict(keys.keys), list(keys.published)
    with found.serving():
        yield found


@pytest.fixture
def new(issuer, poller, publisher, redis, monkeypatch):
    """Return what builds gateways and sends requests to them."""
    monkeypatch.setattr(key_source, "MIN_INTERVAL_S", 0.1)
    monkeypatch.setattr(key_source, "RETRY_S", 0.05)
    monkeypatch.setattr(key_source, "WAIT_S", 1.0)
    started = []

    def build(api_keys=API_KEYS, **changes):
        defaults = {
            "jwt_issuer": NAME,
            "jwt_audience": (AUDIENCE, "another"),
            "jwt_jwks_url": issuer.url,
        }
        gateway = new_gateway(
            ROUTES, poller, publisher, redis, api_keys=api_keys, **defaults | changes
        )
        started.append(gateway)

        def send(token=None, path="/echo", method="POST", **arguments):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            headers |= arguments.pop("headers", {})
            return gateway.app.test_client().open(path, method=method, headers=headers, **arguments)

        return send

    yield build
    for gateway in started:
        gateway.lifecycle.close()


@pytest.fixture
def send(new):
    return new()


def assert_refused(response, status, kind, detail, error):
    assert (response.status_code, response.json["type"]) == (status, f"/problems/{kind}")
    assert response.json["sent"] == "no"
    assert detail in response.json["detail"]
    expected = None if error is None else f'Bearer realm="rendezvous", error="{error}"'
    assert response.headers.get("WWW-Authenticate") == expected


def assert_invalid(response, detail):
    assert_refused(response, 401, "unauthorized", detail, "invalid_token")


# Each outcome


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_valid_token_is_accepted_and_its_client_travels(send, issuer, publisher, algorithm):
    token = issuer.token("rsa" if algorithm == "RS256" else "1", algorithm=algorithm)

    assert send(token, data=b"x").status_code == 200
    (request,) = publisher.published
    assert request.client == "jwt:alice"
    assert token not in repr(request)


def test_a_wrong_signature_is_a_401(send, issuer, publisher):
    foreign = TokenIssuer()
    for token in (
        issuer.token(key=foreign.keys["1"]),
        ".".join([*issuer.token().split(".")[:2], altered(issuer.token().split(".")[2])]),
        ".".join([issuer.token().split(".")[0], part(issuer.claims(sub="bob")), "AAAA"]),
    ):
        response = send(token, data=b"x")
        assert_refused(response, 401, "unauthorized", "the token", "invalid_token")
    assert_invalid(send(issuer.token(key=foreign.keys["1"])), "the signature of the token is wrong")
    assert publisher.published == []


@pytest.mark.parametrize("algorithm", ["none", "NONE", "nOnE", "", "HS256", "RS1", None, 7])
def test_alg_none_and_other_algorithms_are_a_401(send, issuer, publisher, algorithm):
    token = f"{part({'alg': algorithm, 'kid': '1'})}.{part(issuer.claims())}"

    for signature in ("", "AAAA"):
        assert_invalid(send(f"{token}.{signature}"), "not signed with one of RS256, ES256")
    assert publisher.published == []


def test_an_expired_token_is_a_401(send, issuer, publisher):
    now_s = int(time.time())

    assert_invalid(send(issuer.token(exp=now_s - 11)), "the token has expired; get a new one")
    assert send(issuer.token(exp=now_s - 5)).status_code == 200  # within the leeway
    assert_invalid(send(issuer.token(exp=None)), "the token has no claim 'exp'")
    assert len(publisher.published) == 1


@pytest.mark.parametrize("audience", ["other", AUDIENCE + "/", ["other"], [], [7], {}, "", 7])
def test_another_audience_is_a_401(send, issuer, publisher, audience):
    assert_invalid(send(issuer.token(aud=audience)), "the token")
    assert publisher.published == []


def test_one_of_several_audiences_suffices_and_none_does_not(send, issuer):
    assert send(issuer.token(aud=["other", AUDIENCE])).status_code == 200
    assert send(issuer.token(aud="another")).status_code == 200
    assert_invalid(send(issuer.token(aud="other")), "for another audience; get one for this gatew")
    assert_invalid(send(issuer.token(aud=None)), "the token has no claim 'aud'")


def test_a_rotated_key_is_learned_and_the_old_one_is_forgotten(send, issuer):
    old = issuer.token()
    assert send(old).status_code == 200
    time.sleep(0.1)

    issuer.replace_key("2")

    assert send(issuer.token("2")).status_code == 200
    time.sleep(0.1)
    assert_invalid(send(old), "signed with an unknown key")  # although it was remembered


def test_while_the_keys_cannot_be_fetched_known_ones_go_on_and_others_are_a_503(send, issuer):
    assert send(issuer.token()).status_code == 200
    time.sleep(0.1)
    issuer.status = 500

    issuer.add_key("2")
    for _ in range(2):
        response = send(issuer.token("2"), data=b"x")
        assert_refused(response, 503, "token-keys-unavailable", "send again", None)
        assert response.json["retryable"]
        assert 1 <= int(response.headers["Retry-After"]) <= 3
    assert send(issuer.token()).status_code == 200

    issuer.status = 200
    eventually(lambda: send(issuer.token("2")).status_code == 200)


def test_without_any_keys_tokens_are_a_503_and_api_keys_go_on(new, issuer, publisher):
    issuer.status = 500
    send = new()

    for token in (issuer.token(), issuer.token(key=TokenIssuer().keys["1"])):
        response = send(token, data=b"x")
        assert_refused(response, 503, "token-keys-unavailable", "send again", None)
    assert publisher.published == []
    assert send(SHOP, data=b"x").status_code == 200
    issuer.status = 200
    eventually(lambda: send(issuer.token()).status_code == 200)


# What else may be wrong with a token


def test_another_issuer_is_a_401(send, issuer):
    for name in ("https://issuer.example", "other", ""):
        assert_invalid(send(issuer.token(iss=name)), "the token is from another issuer")
    assert_invalid(send(issuer.token(iss=None)), "the token has no claim 'iss'")


def test_a_token_of_the_future_is_a_401(send, issuer):
    later_s = int(time.time()) + 60
    for token in (issuer.token(nbf=later_s), issuer.token(iat=later_s)):
        assert_invalid(send(token), "the token is not valid yet")
    assert send(issuer.token(nbf=int(time.time()) + 5)).status_code == 200  # within the leeway


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt", "dpop+jwt", 7])
def test_a_token_for_something_else_is_a_401(send, issuer, kind):
    assert_invalid(send(issuer.token(headers={"typ": kind})), "the token is not for access")


@pytest.mark.parametrize("kind", ["at+jwt", "JWT", "jwt", "application/at+jwt"])
def test_the_types_of_access_tokens_are_accepted(send, issuer, kind):
    assert send(issuer.token(headers={"typ": kind})).status_code == 200


@pytest.mark.parametrize("name", [None, "", 7, "a\nb", "x" * 256, "\u202e"])
def test_a_token_without_a_usable_name_is_a_401(send, issuer, name):
    token = issuer.token(sub=None, user=name)

    assert_invalid(send(token), "the token's claim 'sub', which names the client")


def test_the_claim_that_names_the_client_can_be_chosen(new, issuer, publisher):
    send = new(jwt_client_claim="client_id")

    assert send(issuer.token(client_id="shop/é")).status_code == 200
    assert publisher.published[0].client == "jwt:shop/é"
    assert_invalid(send(issuer.token()), "the token's claim 'client_id'")


@pytest.mark.parametrize(
    "token",
    [
        ".", "..", "...", "a.b.c", "eyJ.eyJ.x", "e30.e30.e30", "W10.e30.AAAA", "bnVsbA.e30.AAAA",
        f"{part(b'[' * 1500)}.e30.AAAA", f"{part({'alg': 'ES256', 'kid': ['1']})}.e30.AAAA",
        f"{part({'alg': 'ES256', 'kid': {}})}.e30.AAAA", f"{part(b'x' * 3000)}.e30.AAAA",
        f"{part(b'9' * 1500)}.e30.AAAA", "a" * 16_000 + ".b.c", "a." + "b" * 60_000,
        "é.b.c".encode().decode("latin-1"), "a.b.c.d.e", "a~b.c+d/e.f",
    ],
)  # fmt: skip
def test_any_text_with_dots_is_a_401(send, token):
    response = send(headers={"Authorization": f"Bearer {token}"}, data=b"x")

    assert_refused(response, 401, "unauthorized", "", "invalid_token")
    assert token not in response.text or len(token) < 4


def test_a_valid_signature_over_something_malformed_is_a_401(send, issuer):
    nested: dict[str, Any] = {"deep": None}
    for _ in range(500):
        nested = {"deep": nested}
    malformed: list[dict[str, Any]] = [{"exp": "soon"}, {"exp": 1e400}, {"iat": "x"}, {"sub": 7}]
    for claims in (*malformed, {"nbf": []}, nested):
        response = send(issuer.token(**claims))
        assert response.status_code in (200, 401)
        assert response.status_code == 401 or claims is nested


@pytest.mark.parametrize("exp", [10**400, 1e308, 2**63])
def test_a_token_may_expire_at_any_time_in_the_future(send, issuer, exp):
    for _ in range(2):  # verified, then remembered
        assert send(issuer.token(exp=exp)).status_code == 200


def test_a_token_without_key_id_needs_the_only_key_for_its_algorithm(send, issuer):
    token = issuer.token(headers={"kid": None})
    assert send(token).status_code == 200
    time.sleep(0.1)

    issuer.add_key("2")
    send(issuer.token("2"))

    assert_invalid(send(token), "signed with an unknown key")


# Attacks by the header of a token


def test_a_token_cannot_bring_its_own_key(send, issuer):
    """RFC 8725, section 3.10."""
    own = TokenIssuer()
    with own.serving():
        for headers in (
            {"jku": own.url, "kid": "1"},
            {"jku": own.url, "kid": "own"},
            {"x5u": own.url},
            {"jwk": own.published[0]},
            {"jwk": own.published[0], "kid": None},
            {"x5c": ["MIIB"]},
        ):
            assert_invalid(send(own.token(headers=headers)), "the token")
        assert own.requests == 0


@pytest.mark.parametrize(
    "key_id", ["../1", "1' OR '1'='1", "/dev/null", "\x00", "1\x00", "x" * 500]
)
def test_a_strange_key_id_is_only_an_unknown_one(send, issuer, key_id):
    send(issuer.token())

    token = issuer.token(headers={"kid": key_id})

    assert_invalid(send(token), "signed with an unknown key")


def test_a_public_key_is_no_secret(send, issuer):
    """The key of RS256 as the secret of HS256, and for another algorithm than its own."""
    from cryptography.hazmat.primitives import hashes, hmac
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = issuer.keys["rsa"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(issuer.claims())}"
    mac = hmac.HMAC(pem, hashes.SHA256())
    mac.update(text.encode())

    assert_invalid(send(f"{text}.{part(mac.finalize())}"), "not signed with one of")
    assert_invalid(send(issuer.token("rsa", algorithm="RS512")), "not signed with one of")
    confused = f"{part({'alg': 'ES256', 'kid': 'rsa'})}.{issuer.token().partition('.')[2]}"
    assert_invalid(send(confused), "signed with an unknown key")


@pytest.mark.parametrize("headers", [{"crit": ["exp"], "exp": 1}, {"crit": ["b64"], "b64": False}])
def test_critical_extensions_are_refused(send, issuer, headers):
    claims = issuer.token().split(".")[1]
    token = f"{part({'alg': 'ES256', 'kid': '1'} | headers)}.{claims}.AAAA"

    assert_invalid(send(token), "the token is not for access")


def test_forged_key_ids_do_not_hammer_the_issuer(new, issuer, monkeypatch):
    monkeypatch.setattr(key_source, "MIN_INTERVAL_S", 60.0)
    send = new()
    assert send(issuer.token()).status_code == 200

    for number in range(50):
        assert_invalid(send(issuer.token(headers={"kid": f"forged-{number}"})), "unknown key")

    assert issuer.requests == 1
    assert send(issuer.token()).status_code == 200


def test_an_issuer_that_hangs_holds_few_threads(new, issuer, monkeypatch):
    monkeypatch.setattr(key_source, "MAX_WAITING", 2)
    send = new()
    assert send(issuer.token()).status_code == 200
    time.sleep(0.1)
    issuer.proceed.clear()
    forged = issuer.token(headers={"kid": "forged"})
    threads = [threading.Thread(target=send, args=(forged,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    eventually(lambda: issuer.requests == 2)
    time.sleep(0.05)

    begun_s = time.monotonic()
    response = send(forged)

    assert response.status_code == 503
    assert time.monotonic() - begun_s < 0.5
    assert send(issuer.token()).status_code == 200
    issuer.proceed.set()
    for thread in threads:
        thread.join()


# Beside API keys; permissions and limits


def test_api_keys_and_tokens_work_beside_each_other(send, issuer):
    assert send(SHOP).status_code == 200
    assert send(issuer.token()).status_code == 200
    assert_invalid(send(altered(SHOP)), "the API key is unknown")
    response = send()
    assert response.status_code == 401
    assert "the request has no API key or token; send" in response.json["detail"]
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="rendezvous"'


def test_without_api_keys_each_credential_is_a_token(new, issuer):
    send = new(api_keys=None)

    assert send(issuer.token()).status_code == 200
    assert_invalid(send(SHOP), "the token is malformed")
    assert "the request has no token" in send().json["detail"]


def test_a_token_is_never_the_client_of_an_api_key(send, issuer):
    """A user who is called as a client of ours may be anybody."""
    correlation_id = send(SHOP).headers["X-Correlation-ID"]
    path = f"/replies/{correlation_id}"

    assert send(SHOP, path, "GET").status_code == 200
    for name in ("shop", "/shop", "../shop", "jwt:shop"):
        assert send(issuer.token(sub=name), path, "GET").status_code == 404


def test_only_the_client_of_a_request_can_fetch_its_reply(send, issuer):
    correlation_id = send(issuer.token(sub="a/x-user=b")).headers["X-Correlation-ID"]
    path = f"/replies/{correlation_id}"

    assert send(issuer.token(sub="a/x-user=b", iat=1), path, "GET").status_code == 200
    assert send(issuer.token(sub="a"), path, "GET").status_code == 404
    assert send(None, path, "GET").status_code == 401


def test_a_caller_in_a_name_is_not_the_caller_of_another_client():
    named = Client("jwt:a/x-user=b")
    called = replace(Client("jwt:a"), caller="x-user=b")

    assert named.owner != called.owner
    assert Client("jwt:a%2Fb").owner != Client("jwt:a/b").owner
    assert Client("shop").owner == "shop"


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "orders:read orders:write"},
        {"scope": ["orders:read", "orders:write", 7]},
        {"scp": "orders:write orders:read other"},
        {"scp": ["orders:write"], "scope": "orders:read"},
    ],
)
def test_a_route_with_scopes_accepts_tokens_that_have_all(send, issuer, claims):
    assert send(issuer.token(**claims), "/orders").status_code == 200


@pytest.mark.parametrize(
    "claims", [{}, {"scope": "orders:read"}, {"scope": "orders:writer,orders:read"}, {"scope": 7}]
)
def test_a_route_with_scopes_refuses_tokens_that_lack_one(send, issuer, publisher, claims):
    response = send(issuer.token(**claims), "/orders")

    assert (response.status_code, response.json["type"]) == (403, "/problems/insufficient-scope")
    assert "client 'jwt:alice' lacks orders:write" in response.json["detail"]
    expected = 'error="insufficient_scope", scope="orders:write orders:read"'
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="rendezvous", {expected}'
    assert publisher.published == []


def test_clients_with_api_keys_need_the_scopes_too(send):
    assert send(SCOPED, "/shipments").status_code == 200
    assert send(SHOP, "/shipments").json["type"] == "/problems/insufficient-scope"
    assert send(SCOPED, "/orders").json["detail"].endswith("client 'scoped' lacks orders:read")


def test_clients_with_tokens_have_the_limits_of_the_settings(new, issuer):
    send = new(jwt_rate=(1, 60))

    assert send(issuer.token()).headers["RateLimit-Policy"] == '"default";q=1;w=60'
    assert send(issuer.token()).status_code == 429
    assert send(issuer.token(sub="bob")).status_code == 200


def test_metrics_have_one_name_for_all_clients_with_tokens():
    assert Client("jwt:alice").label == Client("jwt:bob").label == "jwt:*"
    assert Client("shop").label == "shop"


def test_no_log_has_the_token(send, issuer, caplog):
    caplog.set_level("DEBUG")
    token = issuer.token()
    for sent in (token, token[:-8] + "A" * 8, issuer.token("rsa", algorithm="RS256", aud="other")):
        send(sent)

    assert token.split(".")[1] not in caplog.text


def test_a_token_is_verified_once(send, issuer, monkeypatch):
    token = issuer.token()
    assert send(token).status_code == 200

    def fail(*_, **__):
        raise AssertionError("it was verified again")

    monkeypatch.setattr("gateway.clients.tokens.verifier.jwt.decode", fail)

    assert send(token).status_code == 200
    assert_invalid(send(issuer.token(sub="bob")), "malformed")


def test_readiness_waits_for_the_first_keys_and_warns_later(issuer):
    source = key_source.KeySource(issuer.url, ("ES256",), 60)
    readiness = Readiness.of(Mock(), [], lambda: False, None, token_keys=source)
    readiness.start()
    try:
        eventually(lambda: any("JWT_JWKS_URL: not fetched yet" in p for p in readiness.problems()))
        assert "JWT_JWKS_URL is not ready" in readiness.subjects()
        source.start()
        eventually(lambda: readiness.problems() == [], 3)
        issuer.status = 500
        source._due_s = 0
        with source._changed:
            source._changed.notify_all()
        eventually(lambda: bool(readiness.warnings()), 3)
        assert "HTTP 500; the last keys stay in use" in readiness.warnings()[0]
        assert readiness.problems() == []
    finally:
        readiness.close()
        source.close()
