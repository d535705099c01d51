"""A stream through the gateway's channel and parser, without a network or threads."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from gateway.server.connection_counts import ConnectionCounts, FairShare
from gateway.server.http.channel import Channel
from gateway.server.http.connections import Connections
from gateway.server.http.parser import RequestParser
from gateway.server.http.refusals import Limits
from tests.framing.oracles import Found

MAX_BODY_BYTES = 10_000
STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2}) ")
LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)")
LAST_CHUNK = b"0\r\n\r\n"
#: In the target of a request to which the application answers without a length.
WITHOUT_LENGTH = "?a=b"


@dataclass
class Outcome:
    """What became of a stream."""

    #: Requests that reached the application; the size of each counts from the stream's start.
    served: list[Found] = field(default_factory=list)
    #: Status codes of the responses.
    statuses: list[int] = field(default_factory=list)
    #: Whether requests reached the application after one was refused or asked to close.
    served_behind: bool = False
    closed: bool = False
    #: Sent bytes that no response explains.
    stray: bytes = b""

    @property
    def refused(self) -> int:
        """Status of the request that was refused, or 0."""
        return next((status for status in self.statuses if status != 200), 0)


class FakeSocket:
    """Gives what a client sent and keeps what it is sent."""

    def __init__(self) -> None:
        self.incoming = b""
        self.outgoing = b""
        self.closed = False

    def recv(self, size: int) -> bytes:
        """Return received bytes."""
        if not self.incoming:
            raise BlockingIOError
        data, self.incoming = self.incoming[:size], self.incoming[size:]
        return data

    def send(self, data: bytes) -> int:
        """Keep sent bytes."""
        self.outgoing += bytes(data)
        return len(data)

    def shutdown(self, how: int) -> None:
        """Note that nothing more is sent."""
        self.closed = True

    def close(self) -> None:
        """Note that the connection is closed."""
        self.closed = True

    def setblocking(self, flag: bool) -> None:
        """Do nothing."""

    def getsockopt(self, *args: int) -> int:
        """Return the size of a send buffer."""
        return 1 << 16

    def getpeername(self) -> tuple[str, int]:
        """Return an address."""
        return "127.0.0.1", 1

    def fileno(self) -> int:
        """Return a file descriptor that nothing uses."""
        return 1_000_000


def _ignore(*args: Any, **options: Any) -> None:
    """Take what is logged or counted."""


def _fail(message: str, *args: Any) -> None:
    raise AssertionError(message % args)


class Connection:
    """One client connection of the gateway, driven step by step."""

    def __init__(self, parser_class: type[HTTPRequestParser]) -> None:
        self.outcome = Outcome()
        self._consumed = 0
        self._tasks: list[Any] = []
        self._socket = FakeSocket()
        adj = Adjustments(
            max_request_header_size=65_536,
            max_request_body_size=MAX_BODY_BYTES,
            inbuf_overflow=MAX_BODY_BYTES + 1,
        )
        server: Any = SimpleNamespace(
            adj=adj,
            active_channels={},
            add_task=self._tasks.append,
            application=self._serve,
            effective_port=80,
            server_name="x",
            pull_trigger=lambda: None,
            sockets=SimpleNamespace(note=_ignore),
            connections=Connections(
                Limits(MAX_BODY_BYTES),
                threads=4,
                max_connections=10,
                keepalive_s=60.0,
                log=SimpleNamespace(
                    access=_ignore,
                    exception=_fail,
                    error_log=SimpleNamespace(log=_ignore, warning=_ignore, error=_ignore),
                ),
                share=FairShare(ConnectionCounts(1), 0),
                count_request=_ignore,
                reads_body=lambda headers: True,
            ),
            trigger=SimpleNamespace(pull_trigger=lambda call=None: call and call()),
        )
        self._channel = Channel(server, cast(Any, self._socket), ("127.0.0.1", 1), adj, map={})
        self._channel.parser_class = self._counting(parser_class)

    def receive(self, piece: bytes) -> None:
        """Deliver *piece* and let the gateway do everything that it can."""
        self._socket.incoming += piece
        for _ in range(1_000):
            if not self._step():
                return
        raise AssertionError("the channel never comes to rest")

    def end(self) -> Outcome:
        """Return the outcome."""
        outcome = self.outcome
        outcome.closed = self._socket.closed or not self._channel.connected
        outcome.statuses = list(self._responses())
        return outcome

    def _step(self) -> bool:
        """Do one thing; return whether there was one to do."""
        if self._tasks:
            self._tasks.pop(0).service()
        elif self._channel.connected and self._channel.writable():
            self._channel.handle_write()
        elif self._channel.connected and self._socket.incoming and self._channel.readable():
            self._channel.handle_read()
        else:
            return False
        return True

    def _responses(self) -> Iterator[int]:
        """Yield the status of each response; what is left of the sent bytes is stray."""
        sent = self._socket.outgoing
        served = iter(self.outcome.served)
        while found := STATUS.match(sent):
            head, _, sent = sent.partition(b"\r\n\r\n")
            if found[1].startswith(b"1"):
                continue
            yield int(found[1])
            request, length = next(served, None), LENGTH.search(head)
            if request and request.method == b"HEAD":
                continue
            # HTTP/1.0 has no chunks: such a body ends with the connection.
            sent = sent[int(length[1]) :] if length else sent.partition(LAST_CHUNK)[2]
        self.outcome.stray = sent

    def _counting(self, parser_class: type[HTTPRequestParser]) -> type[HTTPRequestParser]:
        """Return a *parser_class* that notes where its request ends."""
        connection = self

        class CountingParser(parser_class):  # type: ignore[misc]
            on_answered = staticmethod(_ignore)

            def received(self, data: bytes) -> int:
                consumed: int = super().received(data)
                connection._consumed += consumed
                if self.completed:
                    self.end = connection._consumed
                return consumed

        return CountingParser

    def _serve(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        outcome = self.outcome
        if self._socket.closed or set(self._responses()) - {200}:
            outcome.served_behind = True
        request = self._channel.requests[0]
        body = environ["wsgi.input"].read()
        assert len(body) == int(environ.get("CONTENT_LENGTH", 0))
        method, target = environ["REQUEST_METHOD"], environ["REQUEST_URI"]
        found = Found(method.encode("latin-1"), target.encode("latin-1"), body, request.end)
        outcome.served.append(found)
        # Without a length the server closes the connection; what follows is then not served.
        has_length = WITHOUT_LENGTH not in target
        start_response("200 OK", [("Content-Length", "4")] if has_length else [])
        return [b"an", b"sw"]


def through_the_gateway(
    pieces: list[bytes], parser_class: type[HTTPRequestParser] = RequestParser
) -> Outcome:
    """Return the outcome of a connection that sends *pieces*."""
    connection = Connection(parser_class)
    for piece in pieces:
        connection.receive(piece)
    return connection.end()
