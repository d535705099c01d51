"""Requests are parsed as gunicorn does; a response is sent in one write."""

import socket
import threading
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidResponseHeader, InvalidSchemeHeaders

from gateway.server import http
from gateway.server.http import MAX_PEERS, CachedConfig, HttpParser, HttpResponse
from tests.fakes import record_calls

HEAD = b"POST /echo?a=b HTTP/1.1\r\nHost: here\r\nX-Forwarded-Proto: https\r\n%b\r\n"
PROXY, UNTRUSTED = ("10.0.0.1", 1234), ("10.0.0.2", 1234)


class CountingConfig(Config):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's settings, and the names of those that were read."""

    def __init__(self):
        super().__init__()
        self.__dict__["names_read"] = []

    def __getattr__(self, name):
        self.__dict__["names_read"].append(name)
        return super().__getattr__(name)


@pytest.fixture
def cfg():
    config = CountingConfig()
    config.set("forwarded_allow_ips", PROXY[0])
    return CachedConfig(config)


def parsed(cfg, peer, further=b""):
    return next(HttpParser(cfg, [HEAD % further], peer))


def test_a_setting_is_read_once(cfg):
    parsed(cfg, UNTRUSTED)
    names_read = list(cfg._cfg.names_read)
    parsed(cfg, UNTRUSTED)

    assert names_read == cfg._cfg.names_read
    assert len(names_read) > 3


def test_an_unknown_setting_is_an_attribute_error(cfg):
    with pytest.raises(AttributeError):
        _ = cfg.no_such_setting


@pytest.mark.parametrize("times", [1, 2])
def test_only_a_trusted_proxy_sets_the_scheme(cfg, times):
    for _ in range(times):
        assert parsed(cfg, PROXY).scheme == "https"
        assert parsed(cfg, UNTRUSTED).scheme == "http"


def test_a_unix_socket_is_trusted(cfg):
    assert [parsed(cfg, "") for _ in range(2)][1].scheme == "https"


def test_whether_a_peer_is_trusted_is_computed_once(cfg, monkeypatch):
    computed = record_calls(monkeypatch, cfg, "forwarded_allow_networks")
    for _ in range(3):
        parsed(cfg, UNTRUSTED)

    assert len(computed) == 1


def test_the_number_of_cached_peers_is_limited(cfg):
    for number in range(2 * MAX_PEERS + 1):
        parsed(cfg, (f"10.1.{number // 256}.{number % 256}", 1))
        assert len(cfg.trusted_peers) <= MAX_PEERS


def test_conflicting_scheme_headers_are_refused(cfg):
    with pytest.raises(InvalidSchemeHeaders):
        parsed(cfg, PROXY, b"X-Forwarded-Ssl: off\r\n")


LARGE = 5_000_000


class CountingSocket(socket.socket):
    """A socket that counts how often it is written to."""

    writes = 0

    def sendmsg(self, *args):
        self.writes += 1
        return super().sendmsg(*args)

    def sendall(self, *args):
        self.writes += 1
        return super().sendall(*args)


@pytest.fixture
def pair():
    server, client = socket.socketpair()
    with CountingSocket(fileno=server.detach()) as found, client:
        found.setblocking(False)
        client.settimeout(10)
        yield found, client


@pytest.fixture
def new_response(pair):
    def make(method="POST", version=(1, 1), closes=False):
        request = SimpleNamespace(method=method, version=version, should_close=lambda: closes)
        return HttpResponse(request, pair[0], Config())

    return make


def received(pair):
    pair[0].shutdown(socket.SHUT_WR)
    head, _, body = b"".join(iter(lambda: pair[1].recv(65_536), b"")).partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n"), body


def test_head_and_body_are_sent_in_one_write(pair, new_response):
    response = new_response()
    response.start_response("200 OK", [("Content-Length", "5"), ("X-A", "b")])
    response.write(b"hello")
    response.close()
    head, body = received(pair)

    assert pair[0].writes == 1
    assert (head[0], body) == ("HTTP/1.1 200 OK", b"hello")
    assert {"Connection: keep-alive", "Content-Length: 5", "X-A: b"} < set(head)
    assert [line.partition(": ")[0] for line in head[1:4]] == ["Server", "Date", "Connection"]


def test_a_response_without_body_is_sent(pair, new_response):
    response = new_response()
    response.start_response("204 No Content", [])
    response.close()

    assert received(pair)[0][0] == "HTTP/1.1 204 No Content"


def test_a_response_to_head_has_no_body(pair, new_response):
    response = new_response("HEAD")
    response.start_response("200 OK", [("Content-Length", "5")])
    response.write(b"")
    response.close()
    head, body = received(pair)

    assert "Content-Length: 5" in head
    assert body == b""


def test_without_a_length_the_body_is_chunked(pair, new_response):
    response = new_response()
    response.start_response("200 OK", [])
    response.write(b"hello")
    response.write(b"")
    response.write(b"you")
    response.close()
    head, body = received(pair)

    assert "Transfer-Encoding: chunked" in head
    assert body == b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"


def test_data_beyond_the_socket_buffer_is_sent_later(pair, new_response):
    response, got = new_response(), []
    reader = threading.Thread(target=lambda: got.append(read_exactly(pair[1], LARGE)))
    reader.start()
    response.start_response("200 OK", [("Content-Length", str(LARGE))])
    response.write(b"x" * LARGE)
    response.close()
    reader.join(10)

    assert got[0].partition(b"\r\n\r\n")[2] == b"x" * LARGE
    assert pair[0].getblocking() is False


def read_exactly(sock, body_bytes):
    data = b""
    while len(data.partition(b"\r\n\r\n")[2]) < body_bytes:
        data += sock.recv(1_000_000)
    return data


def test_writing_to_a_client_that_does_not_read_times_out(new_response, monkeypatch):
    monkeypatch.setattr(http, "WRITE_TIMEOUT_S", 0.05)
    response = new_response()
    response.start_response("200 OK", [("Content-Length", str(LARGE))])

    with pytest.raises(TimeoutError):
        response.write(b"x" * LARGE)


def test_writing_to_a_closed_connection_raises(pair, new_response):
    response = new_response()
    response.start_response("200 OK", [("Content-Length", "1")])
    pair[1].close()

    with pytest.raises(BrokenPipeError):
        response.write(b"x")


def test_a_response_before_a_close_announces_it(pair, new_response):
    response = new_response(closes=True)
    response.start_response("200 OK", [("Content-Length", "0")])
    response.close()

    assert "Connection: close" in received(pair)[0]


def test_no_header_can_split_the_response(new_response):
    with pytest.raises(InvalidResponseHeader):
        new_response().start_response("200 OK", [("X-A", "b\r\nX-C: d")])
