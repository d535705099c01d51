"""One client connection, shared by the main loop and the threads."""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from gunicorn.workers.gthread import TConn

from gateway.server.framing import COMPLETE_VERDICTS, Intake, Verdict
from gateway.server.http import HttpParser

#: Size of one read from a socket.
RECEIVE_BYTES = 65_536
#: Time that a thread waits for the client's next request after a response, in milliseconds: a
#: request that goes through the main loop takes longer.
NEXT_REQUEST_WAIT_MS = 1


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A client connection; a thread gets it with a whole request only."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser: Any = None
        #: Called by the main loop when the socket is readable.
        self.on_readable: Callable[[socket.socket], None]
        self.intake: Intake
        #: When the request's first byte came (monotonic clock); 0 if it came whole.
        self.begun_s = 0.0
        #: Bytes of an incomplete request.
        self.held_bytes = 0
        self.request: list[bytes] = []
        #: The request's body, if it needs no decoding; it is not in *request* then.
        self.body: bytes | None = None
        #: Bytes that follow the request: the beginning of the next one.
        self.ahead = b""
        #: Whether the end of the request is uncertain, so that none may follow.
        self.is_last = False
        self.sent_continue = False
        #: Whether it is in the worker's keepalived_conns.
        self.is_idle = False
        #: How much is still read and discarded after a refusal.
        self.discard_bytes = 0
        self.answered_s = 0.0
        #: Whether its last request came within NEXT_REQUEST_WAIT_MS after the response before.
        self.is_quick = False

    @property
    def address(self) -> str:
        """The client's address, for the log."""
        return str(self.client[0]) if self.client else "a Unix socket"

    def init(self) -> None:
        """Let gunicorn parse the request; called in the thread."""
        self.parser = HttpParser(self.cfg, self.request, self.client)

    def begin_request(self) -> None:
        """Note that the first byte of a request has come."""
        self.begun_s = 0.0
        self.is_quick = time.monotonic() - self.answered_s < NEXT_REQUEST_WAIT_MS / 1000

    def take(self, verdict: Verdict) -> None:
        """Take the request out of the intake, whose *verdict* is complete."""
        self.request, self.ahead = self.intake.take()
        if self.intake.is_sized and len(self.request) > 1:
            self.body = self.request.pop()
        self.is_last = verdict is Verdict.AMBIGUOUS

    def release_request(self) -> None:
        """Free the request's memory: an idle connection need not keep a body."""
        self.request, self.body, self.parser = [], None, None

    def receive(self) -> bytes | None:
        """Return received bytes: b"" after the client's close, None if none came."""
        try:
            data: bytes = self.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return data

    def receive_soon(self, max_body_bytes: int) -> bytes | None:
        """Wait briefly for the next request; return None if complete, else its first bytes."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        self.is_quick = bool(poll.poll(NEXT_REQUEST_WAIT_MS))
        data = (self.is_quick and self.receive()) or b""
        if data:
            self.intake = Intake(max_body_bytes)
            verdict = self.intake.feed(data)
            if verdict in COMPLETE_VERDICTS:
                self.take(verdict)
                return None
        return data

    def send(self, data: bytes) -> None:
        """Send *data*, which fits into the socket's buffer if the client reads."""
        with contextlib.suppress(OSError):
            self.sock.send(data)

    def close_writing(self) -> bool:
        """Close our side; return False if the connection is broken."""
        try:
            self.sock.setblocking(False)
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True
