"""Verified tokens are remembered: no longer than they are valid, and only so many."""

import json
from contextlib import suppress

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clients.client import Client, Rate
from gateway.clients.tokens import verifier
from gateway.clients.tokens.errors import TokenRefused
from gateway.clients.tokens.key_source import KeySource
from gateway.clients.tokens.verifier import MAX_TOKEN_BYTES, TokenRules, TokenVerifier
from tests.fakes import FakeClock
from tests.support.token_issuer import AUDIENCE, NAME, TokenIssuer, part

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from([NAME, AUDIENCE, "ES256", "JWT", "1", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)  # fmt: skip
CLAIMS = ("iss", "aud", "sub", "exp", "nbf", "iat", "jti", "scope", "scp")
RULES = TokenRules(NAME, (AUDIENCE,), ("RS256", "ES256"), rate=Rate(5, 1), in_flight_share=0.5)


@pytest.fixture
def issuer():
    return TokenIssuer()


@pytest.fixture
def clock(issuer):
    return FakeClock(float(issuer.claims()["iat"]))


@pytest.fixture
def tokens(issuer, clock):
    document = json.dumps({"keys": issuer.published}).encode()
    source = KeySource("unused", RULES.algorithms, 60, fetch=lambda url: document)
    assert source.fetch_now() == ""
    return TokenVerifier(RULES, source, clock)


def test_a_client_has_the_name_and_the_scopes_of_its_token_and_the_limits_of_the_rules(
    tokens, issuer
):
    token = issuer.token(scope="a b", scp=["c"])
    expected = Client(
        "jwt:alice", rate=Rate(5, 1), in_flight_share=0.5, scopes=frozenset({"a", "b", "c"})
    )

    assert tokens.client_of(token, may_wait=False) == expected


def test_a_remembered_token_is_verified_again_once_it_has_expired(
    tokens, issuer, clock, monkeypatch
):
    token = issuer.token()
    tokens.client_of(token, may_wait=False)
    monkeypatch.setattr("jwt.decode", lambda *_, **__: pytest.fail("verified again"))

    clock.now_s += 60 + RULES.leeway_s - 1
    assert tokens.client_of(token, may_wait=False).name == "jwt:alice"
    clock.now_s += 1

    with pytest.raises(pytest.fail.Exception, match="verified again"):
        tokens.client_of(token, may_wait=False)


def test_only_so_many_tokens_are_remembered(tokens, issuer, monkeypatch):
    monkeypatch.setattr(verifier, "MAX_REMEMBERED", 3)
    found = [issuer.token(sub=f"user-{number}") for number in range(8)]

    for token in found:
        tokens.client_of(token, may_wait=False)

    assert [one.client.name for one in tokens._remembered.values()] == [
        "jwt:user-5", "jwt:user-6", "jwt:user-7",
    ]  # fmt: skip


def test_a_token_that_is_too_large_is_refused_although_it_is_valid(tokens, issuer):
    large = issuer.token(groups="x" * MAX_TOKEN_BYTES)

    with pytest.raises(TokenRefused, match="the token exceeds 16384 bytes; get a smaller one"):
        tokens.client_of(large, may_wait=False)
    fits = issuer.token(groups="x" * (MAX_TOKEN_BYTES * 7 // 10))
    assert tokens.client_of(fits, may_wait=False).name == "jwt:alice"


@pytest.fixture(scope="module")
def shared():
    """The issuer and the verifier of all examples."""
    issuer = TokenIssuer()
    document = json.dumps({"keys": issuer.published}).encode()
    source = KeySource("unused", RULES.algorithms, 60, fetch=lambda url: document)
    source._note(source.fetch_now())
    source._begun_s = source._clock()
    return issuer, TokenVerifier(RULES, source)


def assert_accepted_or_refused(verifier, token):
    with suppress(TokenRefused):
        assert verifier.client_of(token, may_wait=False).name.startswith("jwt:")


@given(st.dictionaries(st.sampled_from(CLAIMS), ANY_JSON))
def test_any_claims_with_a_valid_signature_are_accepted_or_refused(shared, changes):
    issuer, verifier = shared
    claims = json.dumps(issuer.claims() | changes).encode()
    token = jwt.api_jws.encode(claims, issuer.keys["1"], "ES256", {"kid": "1"})

    assert_accepted_or_refused(verifier, token)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), ANY_JSON))
def test_any_header_is_accepted_or_refused(shared, header):
    issuer, verifier = shared
    token = f"{part(header)}.{issuer.token().partition('.')[2]}"

    assert_accepted_or_refused(verifier, token)


@given(st.text("aeyJ019_-.=+/~", max_size=60))
def test_any_text_is_refused(shared, text):
    _, verifier = shared
    with pytest.raises(TokenRefused):
        verifier.client_of(text, may_wait=False)
