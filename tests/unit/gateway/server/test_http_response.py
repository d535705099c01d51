"""A response leaves in one write, whole, however much the socket takes at once."""

import socket
import threading
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidResponseHeader

from gateway.server.http_response import HttpResponse

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
    ours, theirs = socket.socketpair()
    with CountingSocket(fileno=ours.detach()) as found, theirs:
        found.setblocking(False)
        theirs.settimeout(10)
        yield found, theirs


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


def test_head_and_body_leave_in_one_write(pair, new_response):
    response = new_response()
    response.start_response("200 OK", [("Content-Length", "5"), ("X-A", "b")])
    response.write(b"hello")
    response.close()
    head, body = received(pair)

    assert pair[0].writes == 1
    assert (head[0], body) == ("HTTP/1.1 200 OK", b"hello")
    assert {"Connection: keep-alive", "Content-Length: 5", "X-A: b"} < set(head)
    assert [line.partition(": ")[0] for line in head[1:4]] == ["Server", "Date", "Connection"]


def test_a_response_without_a_body_is_sent_too(pair, new_response):
    response = new_response()
    response.start_response("204 No Content", [])
    response.close()

    assert received(pair)[0][0] == "HTTP/1.1 204 No Content"


def test_head_has_no_body(pair, new_response):
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


def test_what_the_socket_does_not_take_at_once_follows(pair, new_response):
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


def test_who_does_not_read_is_given_up(pair, new_response):
    response = new_response()
    response.limit_s = 0.05
    response.start_response("200 OK", [("Content-Length", str(LARGE))])

    with pytest.raises(TimeoutError):
        response.write(b"x" * LARGE)


def test_who_has_gone_is_told_by_the_system(pair, new_response):
    response = new_response()
    response.start_response("200 OK", [("Content-Length", "1")])
    pair[1].close()

    with pytest.raises(BrokenPipeError):
        response.write(b"x")


def test_a_connection_that_ends_says_so(pair, new_response):
    response = new_response(closes=True)
    response.start_response("200 OK", [("Content-Length", "0")])
    response.close()

    assert "Connection: close" in received(pair)[0]


def test_no_header_can_split_the_response(new_response):
    with pytest.raises(InvalidResponseHeader):
        new_response().start_response("200 OK", [("X-A", "b\r\nX-C: d")])
