"""The gateway in a worker: a body without a valid API key is not read, and its client is told."""

import pytest

from gateway.clients.api_keys import ApiKeys, hash_of
from gateway.clients.client import Client
from gateway.clients.credentials import Credentials
from tests.fakes import eventually
from tests.unit.apps import new_app
from tests.unit.conftest import ECHO
from tests.unit.gateway.server.running_worker import read_to_end

KEY = "gw_test"
ORIGIN = "https://app.example"
BODY_BYTES = 900_000
LENGTH = b"Content-Length: %d\r\n" % BODY_BYTES
FRAMINGS = {"length": LENGTH, "chunked": b"Transfer-Encoding: chunked\r\n"}


@pytest.fixture
def running(new_running, poller, publisher, redis):
    keys = ApiKeys([(hash_of(KEY), Client("tester"))])
    app = new_app(
        ECHO,
        poller,
        publisher,
        redis,
        api_keys=keys,
        cors_origins=(ORIGIN,),
        max_body_bytes=BODY_BYTES,
    )
    found = new_running(wsgi=app, max_body_bytes=BODY_BYTES)
    found.worker.admits_body = Credentials(keys).admits_body
    return found


def head(framing, *, path=b"/echo", key="", more=b""):
    authorization = f"Authorization: Bearer {key}\r\n".encode() if key else b""
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b%b%b\r\n" % (path, framing, authorization, more)


@pytest.mark.parametrize("key", ["", "gw_other"])
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_a_body_without_a_valid_key_gets_a_401_at_once_and_is_not_held(running, framing, key):
    more = f"Origin: {ORIGIN}\r\nExpect: 100-continue\r\n".encode()
    response = running.response_to(head(framing, key=key, more=more))

    assert response.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in response
    assert f"\r\nAccess-Control-Allow-Origin: {ORIGIN}\r\n".encode() in response
    assert running.connections.held_bytes == 0


def test_a_client_that_sends_its_whole_body_first_gets_the_401(running, publisher):
    with running.connect() as client:
        client.sendall(head(LENGTH))
        for _ in range(9):
            client.sendall(b"x" * (BODY_BYTES // 9))
            assert running.connections.held_bytes == 0
        assert read_to_end(client).startswith(b"HTTP/1.1 401 ")
    eventually(lambda: not running.connections.channels)

    assert publisher.published == []


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_a_path_without_a_route_is_a_404_also_without_a_key(running, framing):
    assert running.response_to(head(framing, path=b"/none")).startswith(b"HTTP/1.1 404 ")


def test_what_follows_an_unread_body_is_no_request(running):
    response = running.response_to(head(b"Content-Length: 3\r\n") + b"xxx" + head(LENGTH))

    assert response.count(b"HTTP/1.1 ") == 1


def test_a_body_with_a_valid_key_is_read(running, publisher):
    more = b"Expect: 100-continue\r\nConnection: close\r\n"
    with running.connect() as client:
        client.sendall(head(b"Content-Length: 3\r\n", key=KEY, more=more))
        assert client.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert read_to_end(client).startswith(b"HTTP/1.1 200 ")

    assert publisher.published[0].body == b"abc"
