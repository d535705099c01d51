"""The gateway in a worker: bodies of clients with tokens, before and after the keys are known."""

import time

import pytest

from gateway.clients.tokens import key_source
from tests.fakes import eventually
from tests.support.token_issuer import AUDIENCE, NAME, TokenIssuer
from tests.unit.apps import new_gateway
from tests.unit.conftest import ECHO
from tests.unit.gateway.server.running_worker import read_to_end

BODY = b"x" * 1_000


@pytest.fixture
def issuer():
    with TokenIssuer().serving() as found:
        yield found


@pytest.fixture
def new(new_running, issuer, poller, publisher, redis, monkeypatch):
    monkeypatch.setattr(key_source, "MIN_INTERVAL_S", 0.1)
    started = []

    def build():
        settings = {"jwt_issuer": NAME, "jwt_audience": (AUDIENCE,), "jwt_jwks_url": issuer.url}
        gateway = new_gateway(ECHO, poller, publisher, redis, **settings)
        gateway.lifecycle.ensure_started()
        started.append(gateway)
        running = new_running(wsgi=gateway.app, max_body_bytes=len(BODY))
        running.worker.admits_body = gateway.lifecycle.admits_body
        running.worker.slot_rules = gateway.lifecycle.slot_rules
        return running

    yield build
    for gateway in started:
        gateway.lifecycle.close()


def head(token):
    return (
        b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\nAuthorization: Bearer %b\r\n\r\n" % (len(BODY), token.encode())
    )


def response_to(running, token):
    """Return the response; the body is sent when the worker asks for it."""
    with running.connect() as client:
        client.sendall(head(token))
        first = client.recv(10_000)
        if not first.startswith(b"HTTP/1.1 100 "):
            return first + read_to_end(client)
        client.sendall(BODY)
        return read_to_end(client)


def test_a_body_with_a_valid_token_is_read(new, issuer, publisher):
    running = new()

    assert response_to(running, issuer.token()).startswith(b"HTTP/1.1 200 ")
    assert publisher.published[0].body == BODY


def test_a_body_with_an_invalid_token_is_not_read(new, issuer, monkeypatch):
    monkeypatch.setattr(key_source, "MIN_INTERVAL_S", 60.0)
    running = new()
    eventually(lambda: response_to(running, issuer.token()).startswith(b"HTTP/1.1 200 "))

    for token in (issuer.token(aud="other"), issuer.token(headers={"kid": "x"}), "a.b.c"):
        with running.connect() as client:
            client.sendall(head(token))
            assert client.recv(100).startswith(b"HTTP/1.1 401 ")
    assert running.connections.held_bytes == 0


def test_a_body_with_a_new_key_is_read_as_soon_as_the_key_may_exist(new, issuer, publisher):
    running = new()
    assert response_to(running, issuer.token()).startswith(b"HTTP/1.1 200 ")
    time.sleep(0.1)

    issuer.replace_key("2")

    assert response_to(running, issuer.token("2")).startswith(b"HTTP/1.1 200 ")
    assert publisher.published[1].body == BODY


def test_a_body_is_not_read_while_there_are_no_keys(new, issuer):
    issuer.status = 500
    running = new()
    eventually(lambda: issuer.requests)
    time.sleep(0.05)

    response = response_to(running, issuer.token())

    assert response.startswith(b"HTTP/1.1 503 ")
    assert b"/problems/token-keys-unavailable" in response
    assert running.connections.held_bytes == 0


def test_a_client_that_became_known_after_its_head_is_asked_to_send_again(new, issuer, publisher):
    running = new()
    assert response_to(running, issuer.token()).startswith(b"HTTP/1.1 200 ")
    running.worker.admits_body = lambda authorization: False  # as if the key came meanwhile

    response = response_to(running, issuer.token())

    assert response.startswith(b"HTTP/1.1 503 ")
    assert b'"retryable": true' in response or b'"retryable":true' in response
    assert len(publisher.published) == 1
