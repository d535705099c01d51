"""One client connection: waitress's channel with deadlines and a lingering close."""

import socket
import time
from typing import Any

from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.utilities import InternalServerError

from gateway.problems import BodyUnreadable, Problem, Sent
from gateway.server.http import refusals
from gateway.server.http.connections import Connections
from gateway.server.http.parser import RequestParser
from gateway.server.http.refusals import HEAD_TIMEOUT_S
from gateway.server.http.task import ApplicationTask, RefusalTask

#: Lingering close: how long, and how many bytes, to read and discard before closing.
LINGERING_CLOSE_S, LINGERING_CLOSE_BYTES = 2.0, 65_536
#: Bytes of a too large body that are read and discarded, as a multiple of the limit: a client that
#: sends everything before it reads gets the 413.
DISCARD_FACTOR = 4
#: Ages at which a connection without a byte, and one with an incomplete request, may be closed for
#: others, in seconds: its first request may be on its way.
SILENT_S, SLOW_S = 0.1, 1.0
#: Use of a connection that is closed for another only well above the limit.
IN_USE = 3
#: How much is received of the next request while one is answered.
EARLY_BYTES = 8_192
#: Maximum time without progress of a response that a client does not read, in seconds.
UNREAD_LIMIT_S = 10.0


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress ships no types
    """
    A client connection, read and closed by the main loop.

    A thread gets whole requests only, one at a time: the next one is parsed when the client has
    been sent the response before.
    """

    task_class = ApplicationTask
    error_task_class = RefusalTask
    parser_class = RequestParser
    request: RequestParser | None
    close_when_flushed: bool
    current_outbuf_count: int

    def __init__(self, server: Any, sock: socket.socket, addr: Any, adj: Any, map: Any) -> None:
        super().__init__(server, sock, addr, adj, map=map)
        self.connections: Connections = server.connections
        #: When it was opened, or began to be idle (monotonic clock).
        self.since_s = time.monotonic()
        #: When the first byte of the incomplete request came.
        self.begun_s = 0.0
        #: Bytes of the incomplete request.
        self.held_bytes = 0
        #: Number of requests that were answered.
        self.responses = 0
        #: When the client last read a part of its response, or there began to be one.
        self.progress_s = 0.0
        #: Head of a response whose body has not been written.
        self._head = b""
        #: Bytes that follow the request that is being answered.
        self._ahead = b""
        #: Whether to read nothing until the request is answered.
        self._is_paused = False
        #: When it is closed, read or not; 0 before our side is closed.
        self._linger_until_s = 0.0
        #: How much is still read and discarded before it is closed.
        self._discard_bytes = LINGERING_CLOSE_BYTES
        self._linger_s = LINGERING_CLOSE_S

    @property
    def peer(self) -> str:
        """The client's address."""
        return f"{self.addr[0]}:{self.addr[1]}"

    @property
    def is_answering(self) -> bool:
        """Whether a whole request has come whose response is not sent yet."""
        # In this order: a thread that is done takes off its request after it has written.
        return bool(self.requests or self.total_outbufs_len)

    @property
    def _has_begun(self) -> bool:
        """Whether a part of the next request has come; an empty line behind a body is none."""
        return self.request is not None and self.request.received_bytes > 0

    @property
    def is_lingering(self) -> bool:
        """Whether our side is closed and the client's is not yet."""
        return bool(self._linger_until_s)

    def use(self, now_s: float) -> int:
        """Return what a connection without a whole request is worth; the least goes first."""
        has_begun = self._has_begun
        age_s = now_s - (self.begun_s if has_begun else self.since_s)
        if self._linger_until_s:
            # Closed at once, its client might get a reset in place of its response.
            lingers_s = now_s - (self._linger_until_s - self._linger_s)
            return 1 if lingers_s > SLOW_S else IN_USE
        if has_begun:
            return 1 if age_s > SLOW_S else IN_USE
        if self.responses:
            return 2  # kept alive
        return 0 if age_s > SILENT_S else IN_USE

    def is_in_use(self, now_s: float) -> bool:
        """Return whether its client may be about to send, or to read its last response."""
        return self.use(now_s) == IN_USE

    def is_unread(self, now_s: float) -> bool:
        """Return whether its client has not read for a while what it was sent."""
        return now_s - self.progress_s > SLOW_S

    def readable(self) -> bool:
        """
        Return whether to wait for bytes.

        Also while a request is answered: then the main loop need not be told when that is done.
        """
        if self._linger_until_s:
            return True
        return not (self._is_paused or self.will_close or self.close_when_flushed)

    def _may_read(self) -> bool:
        return not (
            self.requests
            or self.total_outbufs_len
            or self.will_close
            or self.close_when_flushed
            or self._linger_until_s  # nothing behind the last response is served
        )

    def handle_read(self) -> None:
        """Receive bytes of a request; after a refusal discard them."""
        if self._linger_until_s:
            self._discard()
        elif self._ahead or self.is_answering:
            self._receive_early()
            return
        else:
            self._receive()
        self.server.sockets.note(self)

    def _receive(self) -> None:
        data = self._received_bytes(self.adj.recv_bytes)
        if data is None:
            return
        if data:
            self.received(data)
        elif self.request and self.request.head_complete:
            detail = "the connection was closed before the end of the body; send the whole body"
            self.refuse(BodyUnreadable(detail, sent=Sent.NO))
        else:
            self.handle_close()

    def _receive_early(self) -> None:
        """Receive a part of the next request; the rest, or the end, waits for the response."""
        data = None if self._ahead else self._received_bytes(EARLY_BYTES)
        if data:
            self.received(data)
            if self.request is not None:  # else it waits for the same as before
                self.server.sockets.note(self)
            return
        # In this order: a thread looks at _is_paused after it has taken off the request.
        self._is_paused = True
        if self.is_answering:
            self.server.sockets.note(self)
        else:
            self._go_on()

    def _discard(self) -> None:
        data = self._received_bytes(self.adj.recv_bytes)
        if data is not None:
            self._discard_bytes -= len(data)
            if not data or self._discard_bytes <= 0:
                self.handle_close()

    def _received_bytes(self, max_bytes: int) -> bytes | None:
        """Return received bytes: none at the end, None if they have not come yet."""
        try:
            data: bytes = self.socket.recv(max_bytes)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        return data

    def client_has_left(self) -> bool:
        """Return whether the client of a whole request has closed its side, or the connection."""
        if not self.connected:
            return True
        try:
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def received(self, data: bytes) -> None:
        """Add *data*, and hand a whole request to a thread."""
        self._ahead += data
        self._advance()

    def _advance(self) -> None:
        """Parse what has come, up to the end of one request."""
        while self._ahead and self.connected and self._may_read():
            if self.request is None:
                self.request = self.parser_class(self.adj, self.connections.reads_body)
            request = self.request
            if not request.received_bytes:
                self.begun_s = time.monotonic()
            consumed = request.received(self._ahead)
            self._ahead = self._ahead[consumed:]
            if request.completed:
                self._hand_over(request)
            else:
                self._send_continue_once(request)
                self.connections.hold(self, request.received_bytes)

    def _hand_over(self, request: RequestParser) -> None:
        self.connections.release(self)
        self.since_s = request.complete_s = time.monotonic()
        self.request = None
        self.sent_continue = False
        if request.empty:
            return
        if request.connection_close:
            self._ahead = b""  # nothing behind the last request is one
        with self.requests_lock:
            self.requests.append(request)
        self.server.add_task(self)

    def _send_continue_once(self, request: RequestParser) -> None:
        if request.expect_continue and request.head_complete and not self.sent_continue:
            self.progress_s = time.monotonic()
            self.send_continue()

    def service(self) -> None:
        """Answer the request, in a thread; the main loop then parses the next one."""
        request = self.requests[0]
        try:
            if self.connected:
                self._answer(request)
        except ClientDisconnected:
            self.logger.info("Client disconnected while serving %s", request.path)
        except BaseException:
            self.connections.log.exception("%s: a response failed; closing", self.peer)
        self.answered(request, closes=True)  # else it would hold its connection for good

    def _answer(self, request: RequestParser) -> None:
        task = (self.error_task_class if request.error else self.task_class)(self, request)
        try:
            task.service()
        except ClientDisconnected:
            raise
        except Exception:
            self.logger.exception("Exception while serving %s", request.path)
            if not task.wrote_header:
                request.error = InternalServerError("")
                request.was_queued = False  # its wait is counted already
                self.error_task_class(self, request).service()

    def answered(self, request: RequestParser, *, closes: bool) -> None:
        """
        Take off *request*, whose response is written, unless it is taken off already.

        Args:
            closes: whether to close the connection once the response is sent.
        """
        if request not in self.requests:
            return
        request.close()
        if self.current_outbuf_count:  # as in waitress: a new buffer for the next response
            self.current_outbuf_count = self.adj.outbuf_high_watermark
        self.responses += 1
        self.close_when_flushed = self.close_when_flushed or closes
        request.on_answered()
        with self.requests_lock:
            self.requests: list[RequestParser] = []  # from here on another thread may answer
        if self.total_outbufs_len:
            self.server.trigger.pull_trigger(self.connections.limit_unread_bytes)
        if self._ahead or self._is_paused or self.writable():
            self._wake_main_loop()

    def write_soon(self, data: Any) -> int:
        """Send *data*, or as much as can be sent; the main loop sends the rest."""
        if self._head:
            head, self._head = self._head, b""
            data = head + data
        if not self.total_outbufs_len:
            self.progress_s = time.monotonic()
        written: int = super().write_soon(data)
        if self.total_outbufs_len:
            self._wake_main_loop()
        return written

    def _wake_main_loop(self) -> None:
        """Let the main loop do what is left to do."""
        self.server.trigger.pull_trigger(self._go_on)

    def _go_on(self) -> None:
        """Read, parse and wait for what is due; called by the main loop."""
        self._is_paused = False
        self._advance()
        self.server.sockets.note(self)

    def write_with_next(self, head: bytes) -> None:
        """Send *head* in one packet with what is written next."""
        self._head = head

    def handle_write(self) -> None:
        """Send what can be sent; then parse the next request, if it has come already."""
        unsent_bytes = self.total_outbufs_len
        super().handle_write()
        if self.total_outbufs_len < unsent_bytes:
            self.progress_s = time.monotonic()
        self._go_on()

    def refuse(self, problem: Problem) -> None:
        """Answer an incomplete request with *problem*, and close."""
        request = self.request or self.parser_class(self.adj)
        request.refuse(problem)
        self._ahead = b""
        self._hand_over(request)

    def discard_body(self) -> None:
        """Read and discard a body that is too large, so that the client gets its response."""
        self._discard_bytes = DISCARD_FACTOR * self.connections.limits.max_body_bytes
        self._linger_s = self.connections.limits.request_timeout_s

    def enforce_deadline(self, now_s: float) -> None:
        """Refuse or close the connection if its client is too slow."""
        drain_until_s = self.connections.drain_until_s
        if self._linger_until_s:
            if now_s >= min(self._linger_until_s, drain_until_s + LINGERING_CLOSE_S):
                self.handle_close()
        elif self.is_answering:
            self.since_s = now_s  # idle from here on, if the client has the response meanwhile
            self._enforce_progress(now_s)
        elif self.request is not None and self._has_begun:
            self._enforce_receive_time(self.request, now_s)
        elif now_s >= min(self.since_s + self._max_idle_s(), drain_until_s):
            self.will_close = True

    def _max_idle_s(self) -> float:
        keepalive_s = self.connections.keepalive_s
        return keepalive_s if self.responses and keepalive_s else HEAD_TIMEOUT_S

    def _enforce_progress(self, now_s: float) -> None:
        if self.total_outbufs_len and now_s - self.progress_s >= UNREAD_LIMIT_S:
            self.connections.events.warning("%s: its response is not read; closing", self.peer)
            self.abort()

    def _enforce_receive_time(self, request: RequestParser, now_s: float) -> None:
        limits, in_body = self.connections.limits, request.head_complete
        draining = now_s >= self.connections.drain_until_s
        if draining or now_s >= self.begun_s + limits.timeout_s(in_body=in_body):
            self.refuse(refusals.too_slow(limits, not draining, in_body=in_body))

    def handle_close(self) -> None:
        """Close the connection; our side first, where the client's bytes may be unread."""
        if self.socket is None:  # closed already: a broken connection is found more than once
            return
        if self.will_close and not self._linger_until_s and self._close_writing():
            return
        self.connections.release(self)
        self.connections.remove(self)
        super().handle_close()

    def abort(self) -> None:
        """Close the connection without waiting for the client."""
        self.will_close = False
        self._linger_until_s = 1.0
        self.handle_close()

    def _close_writing(self) -> bool:
        """Close our side: unread bytes would cause a TCP reset; return False if it is broken."""
        self.will_close = False
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        self._linger_until_s = time.monotonic() + self._linger_s
        return True
