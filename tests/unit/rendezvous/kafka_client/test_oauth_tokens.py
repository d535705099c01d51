"""Tokens by client credentials: one for all clients, renewed before it expires."""

import base64
import json
import threading
import time

import pytest

from rendezvous.kafka_client import oauth_tokens
from rendezvous.kafka_client.oauth_tokens import (
    ClientCredentials,
    Token,
    TokenError,
    TokenProvider,
    fetch_token,
)
from tests.fakes import raising
from tests.support.token_endpoint import token_endpoint
from tools.devstack.waiting import wait_until

SECRET = "s=cret:ü"
GOOD = {"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 300}


def endpoint(status=200, answer=GOOD, headers=()):
    content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return token_endpoint(lambda _: (status, content), headers)


def credentials(url="http://a/", scope=""):
    return ClientCredentials(url, "my id", SECRET, scope)


@pytest.mark.parametrize(
    ("scope", "form"),
    [
        ("", "grant_type=client_credentials"),
        ("kafka all", "grant_type=client_credentials&scope=kafka+all"),
    ],
)
def test_a_token_is_asked_for_as_rfc_6749_says(scope, form):
    with endpoint() as (url, requests):
        token = fetch_token(credentials(url, scope))

    assert token == Token("a.b.c", 300)
    pair = base64.b64encode(b"my%20id:s%3Dcret%3A%C3%BC").decode()
    assert requests == [(f"Basic {pair}", form)]


@pytest.mark.parametrize(
    ("status", "answer", "text"),
    [
        (
            401,
            {"error": "invalid_client"},
            "KAFKA_OAUTH_TOKEN_URL refuses KAFKA_OAUTH_CLIENT_ID and KAFKA_OAUTH_CLIENT_SECRET "
            "(HTTP 401 invalid_client); correct them",
        ),
        (
            400,
            {"error": "invalid_scope"},
            "KAFKA_OAUTH_TOKEN_URL refuses the scope (HTTP 400 invalid_scope); correct "
            "KAFKA_OAUTH_SCOPE",
        ),
        (
            404,
            b"\n<p>not found",
            "KAFKA_OAUTH_TOKEN_URL gives no token (HTTP 404); correct it, or see to that server",
        ),
        (
            200,
            b"<p>log in",
            "KAFKA_OAUTH_TOKEN_URL answers without a token; is it a token endpoint?",
        ),
        (
            200,
            GOOD | {"access_token": "a\x01b"},
            "KAFKA_OAUTH_TOKEN_URL answers without a token; is it a token endpoint?",
        ),
        (
            200,
            GOOD | {"expires_in": "soon"},
            "KAFKA_OAUTH_TOKEN_URL answers without a token; is it a token endpoint?",
        ),
    ],
)
def test_an_endpoint_without_a_token_is_told_in_one_line(status, answer, text):
    with endpoint(status, answer) as (url, _), pytest.raises(TokenError) as raised:
        fetch_token(credentials(url))

    assert raised.value.args[0] == text
    assert SECRET not in repr(raised.value)


def test_a_redirect_is_not_followed_with_the_secret():
    with (
        endpoint() as (elsewhere, requests),
        endpoint(302, b"", [("Location", elsewhere)]) as (url, _),
        pytest.raises(TokenError, match="HTTP 302"),
    ):
        fetch_token(credentials(url))

    assert requests == []


def test_an_endpoint_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "TIMEOUT_S", 0.1)
    with pytest.raises(TokenError, match="KAFKA_OAUTH_TOKEN_URL does not answer"):
        fetch_token(credentials("http://127.0.0.1:1/"))


def provider(*results):
    """Return a provider that gets *results* one by one, the last again and again."""
    left = list(results)
    calls = []

    def fetch(_):
        calls.append(time.monotonic())
        result = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(result, Exception):
            raise result
        return result

    return TokenProvider(credentials(), fetch), calls


def test_a_token_is_fetched_once_while_it_is_valid():
    tokens, calls = provider(Token("one", 60), Token("two", 60))

    assert [tokens.token() for _ in range(3)] == ["one"] * 3
    assert len(calls) == 1


def test_a_token_is_renewed_before_it_expires_without_being_asked_for(monkeypatch):
    monkeypatch.setattr(oauth_tokens, "RENEWAL", 0.001)
    tokens, _ = provider(Token("one", 60), Token("two", 60))
    assert tokens.token() == "one"

    assert wait_until(lambda: tokens.token() == "two", 5)


def test_a_renewal_that_fails_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(oauth_tokens, "RETRY_S", 0.02)
    monkeypatch.setattr(oauth_tokens, "RENEWAL", 0.001)
    tokens, _ = provider(
        Token("one", 60), TokenError("asleep"), TokenError("asleep"), Token("two", 60)
    )
    tokens.token()

    assert wait_until(lambda: tokens.token() == "two", 5)
    assert caplog.messages[0] == "the OAuth token is not renewed yet: asleep"


def test_a_token_is_returned_even_if_no_thread_can_be_started_to_renew_it(monkeypatch, caplog):
    monkeypatch.setattr(threading.Timer, "start", raising(RuntimeError("can't start new thread")))
    tokens, _ = provider(Token("one", 60))

    assert tokens.token() == "one"
    assert caplog.messages == [
        "the OAuth token is not renewed before it expires: can't start new thread"
    ]


def test_an_expired_token_is_never_returned():
    tokens, _ = provider(Token("one", 0.1), TokenError("asleep"))
    tokens.token()
    time.sleep(0.15)

    with pytest.raises(TokenError, match="asleep"):
        tokens.token()


def test_after_a_failure_the_endpoint_is_left_alone_for_a_while():
    tokens, calls = provider(TokenError("asleep"))
    for _ in range(3):
        with pytest.raises(TokenError, match="asleep"):
            tokens.token()

    assert len(calls) == 1
