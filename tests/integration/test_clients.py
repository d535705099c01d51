"""Slow, malformed and misbehaving clients do not delay other clients."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from settings import RESERVED_THREADS
from tests.integration.standin import StandIn, post, read_to_end, send, standin
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

THREADS = RESERVED_THREADS + 2
READ_LIMIT_S = 3.0
#: Maximum time of other clients' requests: far more than they take without slow clients.
PROMPT_S = 1.0
MAX_BODY_BYTES = 100_000
HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    env = {
        "WEB_CONCURRENCY": "1",
        "THREADS": str(THREADS),
        "REQUEST_READ_TIMEOUT_S": str(READ_LIMIT_S),
        "MAX_BODY_BYTES": str(MAX_BODY_BYTES),
    }
    with standin(tmp_path_factory.mktemp("clients"), **env) as found:
        yield found


def send_pieces(server: StandIn, *pieces: bytes, half_close: bool = False) -> list[int]:
    """Send *pieces* one by one; return the status of each response until the server closes."""
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return statuses(read_to_end(client))


def statuses(responses: bytes) -> list[int]:
    return [int(status) for status in STATUS.findall(responses)]


SLOW = {
    "a head": (HEAD, b"X"),
    "a body": (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a body after 100-continue": (HEAD + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n", b""),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_do_not_delay_others(server: StandIn, kind: str):
    start, piece = SLOW[kind]
    with ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(2 * THREADS)]
        for client in slow:
            client.sendall(start)
        # Long enough to hold each thread for a while, if slow clients could do that.
        give_up_s = time.monotonic() + READ_LIMIT_S / 2
        while time.monotonic() < give_up_s:
            for client in slow:
                client.sendall(piece)
            started_s = time.monotonic()
            assert send(server, LIVEZ) == "200"
            assert send(server, post("/echo")) == "200"
            assert time.monotonic() - started_s < PROMPT_S


@pytest.mark.parametrize("kind", ["a head", "a body", "chunks", "a body after 100-continue"])
def test_a_request_that_takes_too_long_is_answered_with_408(server: StandIn, kind: str):
    start, piece = SLOW[kind]
    with server.connect() as client:
        started_s = time.monotonic()
        client.sendall(start)
        client.settimeout(0.05)
        response = b""
        # Bytes keep coming: the limit is for the whole request, not for a pause.
        while b"HTTP/1.1 408 " not in response and time.monotonic() - started_s < 2 * READ_LIMIT_S:
            client.sendall(piece)
            try:
                response += client.recv(1000)
            except TimeoutError:
                continue
        took_s = time.monotonic() - started_s

        assert b"HTTP/1.1 408 Request Timeout\r\n" in response
        assert b"application/problem+json" in response
        assert b'"sent": "no"' in response
        assert READ_LIMIT_S - 0.1 < took_s < READ_LIMIT_S + 1


def test_clients_that_do_not_close_do_not_delay_others(server: StandIn):
    with ExitStack() as stack:
        for _ in range(2 * THREADS):
            client = stack.enter_context(server.connect())
            # The response announces the close; the client does not close.
            client.sendall(post("/echo", b"x" * 1000))
        started_s = time.monotonic()
        outcomes = [send(server, LIVEZ) for _ in range(5)]

        assert outcomes == ["200"] * 5
        assert time.monotonic() - started_s < PROMPT_S


def test_pipelined_requests_are_answered_in_order(server: StandIn):
    request = HEAD + b"Content-Length: %d\r\n\r\n%s"
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n"
    with server.connect() as client:
        client.sendall(
            request % (3, b"one") + request % (3, b"two") + chunked + post("/echo", b"last")
        )
        responses = read_to_end(client)

    assert statuses(responses) == [200] * 4
    bodies = [response.partition(b"\r\n\r\n")[2] for response in responses.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b"one", b"two", b"three", b"last"]


def test_a_request_that_comes_byte_by_byte_is_answered(server: StandIn):
    chunked = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
    for request in (post("/echo", b"one"), chunked):
        assert send_pieces(server, *(request[at : at + 1] for at in range(len(request)))) == [200]


@pytest.mark.parametrize(
    ("over", "status"), [(-1, 200), (0, 200), (1, 413), (MAX_BODY_BYTES * 3, 413)]
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_maximum_body_size_is_exact(server: StandIn, framing: str, over: int, status: int):
    body = b"x" * (MAX_BODY_BYTES + over)
    if framing == "length":
        request = post("/echo", body)
    else:
        chunks = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
        framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        head = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        request = head + framed + b"0\r\n\r\n"

    # A client that sends everything before it reads gets the response, too.
    assert send(server, request) == str(status)


def test_a_client_that_expects_100_continue_gets_it_once(server: StandIn):
    head = HEAD + b"Content-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with server.connect() as client:
        client.sendall(head)
        interim = client.recv(1000)
        client.sendall(b"body")
        response = read_to_end(client)

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(response) == [200]
    assert response.endswith(b"\r\n\r\nbody")


def test_a_client_that_expects_100_continue_with_too_large_a_body_gets_a_413(server: StandIn):
    head = HEAD + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (MAX_BODY_BYTES + 1)

    assert send_pieces(server, head, half_close=True) == [413]


MALFORMED: dict[str, tuple[bytes, list[int]]] = {
    "both framings": (
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [400],
    ),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", [400]),
    "a space after the name": (HEAD + b"Content-Length : 5\r\n\r\nhello", [400]),
    "a folded header": (HEAD + b"X: 1\r\n Content-Length: 5\r\n\r\nhello", [400]),
    "an unknown coding": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [501]),
    "a chunk longer than its size": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
        [400],
    ),
    "chunks in HTTP/1.0": (
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [400],
    ),
    "bare line feeds": (b"GET /livez HTTP/1.1\nHost: x\n\n", [400]),
    "no HTTP": (b"hello\r\n\r\n", [400]),
    "a head without end": (HEAD + b"X: " + b"x" * 70_000, [431]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_data_after_a_malformed_request_is_not_read_as_a_request(server: StandIn, name: str):
    request, expected = MALFORMED[name]

    assert send_pieces(server, request + LIVEZ) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhel", [400]),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", [400]),
        (HEAD, []),
        (b"", []),
        (post("/echo"), [200]),
    ],
    ids=["in its body", "in a chunk", "in its head", "before it began", "after it"],
)
def test_a_client_may_half_close_anywhere(server: StandIn, request_: bytes, expected: list[int]):
    assert send_pieces(server, request_, half_close=True) == expected


def test_connections_do_not_leak(server: StandIn):
    (pid,) = server.worker_pids()
    before = sockets_of(pid)
    for _ in range(10):
        for request, _ in MALFORMED.values():
            send_pieces(server, request + LIVEZ)
        send_pieces(server, HEAD, half_close=True)
        with server.connect() as client:
            client.sendall(HEAD)

    assert wait_until(lambda: sockets_of(pid) <= before, 2 * READ_LIMIT_S)


def sockets_of(pid: int) -> int:
    """Return the number of open sockets of a process."""
    links = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links.append(os.readlink(link))
    return sum(link.startswith("socket:") for link in links)
