"""Verified tokens are remembered: no longer than they are valid, and only so many."""

import json

import pytest

from gateway.clients.client import Client, Rate
from gateway.clients.tokens import verifier
from gateway.clients.tokens.errors import TokenRefused
from gateway.clients.tokens.key_source import KeySource
from gateway.clients.tokens.verifier import MAX_TOKEN_BYTES, TokenRules, TokenVerifier
from tests.fakes import FakeClock
from tests.support.token_issuer import AUDIENCE, NAME, TokenIssuer

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
