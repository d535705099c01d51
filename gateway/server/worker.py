"""gunicorn's gthread worker as the gateway needs it: no client can hold a thread."""

import errno
import select
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any

from gunicorn.http import wsgi
from gunicorn.workers.gthread import TConn, ThreadWorker

from gateway.problems import (
    BodyTooLarge,
    BodyUnreadable,
    HttpProblem,
    Overloaded,
    Problem,
    Sent,
    ShuttingDown,
)
from gateway.server.fork_signals import release_signals
from gateway.server.framing import MAX_HEAD_BYTES, Intake, Verdict
from gateway.server.http_request import HttpParser, SteadyConfig
from gateway.server.http_response import HttpResponse
from gateway.server.raw_response import raw_response
from gateway.server.selector import new_poller
from gateway.server.shutdown import ShutdownState
from gateway.server.threads import Pool

#: For so long a client may send on the head of a request.
HEAD_LIMIT_S = 10.0
#: For so long a worker that finishes waits for requests, or the rest of them.
FINISH_S = 1.0
#: For so long, and up to so many bytes, we listen to a client who was told that we close.
LINGERING_CLOSE_S, LINGERING_CLOSE_BYTES = 2.0, 65_536
#: Of a body that is too large, so many times the limit is read and thrown away, so that a client
#: which sends first and listens later gets to hear it.
DISCARD_FACTOR = 4
RECEIVE_BYTES = 65_536
SWEEP_S = 0.25
#: How often the arbiter hears of a worker that is alive: it waits 30 s for a word.
NOTICE_PAUSE_S = 0.5
#: Whose request came so soon after the last response is waited for that long by the thread that
#: answers: the way through the main loop takes longer.
SOON_MS = 1
#: So much longer than the server a worker serves on that was told to stop by somebody else.
AFTER_YOU_S = 1.0
#: How long nobody is accepted when the system has no file descriptor left.
OUT_OF_FILES_PAUSE_S = 0.05


@dataclass(frozen=True)
class Limits:
    """
    What a client may do.

    Args:
        max_body_bytes: the largest body that is read.
        request_s: for so long a client may send a request, from its first byte to its last.
    """

    max_body_bytes: int = 900_000
    request_s: float = 30.0


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A client, of whom a thread gets to see whole requests only."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser: Any = None
        #: What the main loop does when there is something to read.
        self.on_readable: Callable[[socket.socket], None]
        self.intake: Intake
        self.begun_s = 0.0
        self.held_bytes = 0
        self.request: list[bytes] = []
        #: Its body, where that needs no decoding; it is not in *request* then.
        self.body: bytes | None = None
        #: What has come of the next request already.
        self.ahead = b""
        #: Whether where this request ends is unknown, so that none may follow.
        self.last = False
        self.told_to_continue = False
        #: Whether it is among those whose next request is waited for.
        self.is_idle = False
        self.discard_bytes = 0
        self.answered_s = 0.0
        #: Whether its last request came soon after the response before.
        self.is_quick = False

    @property
    def address(self) -> str:
        """Who it is, for the log."""
        return str(self.client[0]) if self.client else "a Unix socket"

    def init(self) -> None:
        """Have gunicorn parse the request; called in the thread."""
        self.parser = HttpParser(self.cfg, self.request, self.client)

    def take(self, verdict: Verdict) -> None:
        """Take the request out of the intake, which has it as *verdict* says."""
        self.request, self.ahead = self.intake.take()
        if self.intake.is_sized and len(self.request) > 1:
            self.body = self.request.pop()
        self.last = verdict is Verdict.ODD

    def forget(self) -> None:
        """Let go of the request: who keeps a connection need not keep a body."""
        self.request, self.body, self.parser = [], None, None


class GatewayWorker(ThreadWorker):  # type: ignore[misc]
    """
    gthread, except for what its clients can do to it.

    The main loop reads requests, and gives a thread only those that are whole; it also waits for
    clients to hang up. A worker that finishes lets go of the listening sockets at once: others
    accept from them, or else the arbiter turns newcomers away and then has
    to be the last to close them.
    """

    limits = Limits()
    drain_delay_s = 0.0
    ending = ShutdownState()
    #: The processor core that it keeps to (see gateway.server.cpu_affinity).
    core: int | None = None
    poller: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cfg: Any = SteadyConfig(self.cfg)
        self._reading: set[Connection] = set()
        self._parting: set[Connection] = set()
        self._held_bytes = 0
        self._stop_at_s = float("inf")
        self._finish_by_s = float("inf")
        self._next_sweep_s = 0.0
        self._next_notice_s = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what this worker does not speak."""
        super().check_config(cfg, log)
        if cfg.is_ssl or cfg.proxy_protocol != "off":
            sys.exit("gunicorn's TLS and PROXY protocol are not supported: a proxy ends them")

    def init_signals(self) -> None:
        """Listen to signals, also to those that came while this process was forked."""
        super().init_signals()
        release_signals()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop; with a drain delay not before the server does, whoever else may ask for it."""
        if self.drain_delay_s and not self.ending.stopping.is_set():
            # Some supervisors signal every process, and the arbiter comes back to us.
            stop_at_s = time.monotonic() + self.drain_delay_s + AFTER_YOU_S
            self._stop_at_s = min(self._stop_at_s, stop_at_s)
            return
        super().handle_exit(sig, frame)

    def notify(self) -> None:
        """Tell the arbiter that we are alive, now and then: gunicorn does with each request."""
        now_s = time.monotonic()
        if now_s >= self._next_notice_s:
            self._next_notice_s = now_s + NOTICE_PAUSE_S
            super().notify()

    def is_parent_alive(self) -> bool:
        """Say whether the arbiter is there; without it this worker ends."""
        if super().is_parent_alive():
            return True
        self.alive = False
        return False

    def run(self) -> None:
        """Turn the main loop until the worker has finished."""
        self.poller.close()  # gunicorn's, just made, and watching nothing yet
        self.poller = new_poller()
        super().run()

    # Who comes and goes

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; for good when the worker is finishing."""
        super().set_accept_enabled(enabled)
        if not (enabled or self.alive):
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: Any) -> None:
        """Accept a connection and read what it brings."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self.log.error("no connection can be accepted: %s", error.strerror)
                time.sleep(OUT_OF_FILES_PAUSE_S)
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        conn.on_readable = partial(self._on_readable, conn)
        try:
            # Most bring their request along: no need to wait for them in the poller.
            data = sock.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        self._expect_request(conn, data)

    def _expect_request(self, conn: Connection, data: bytes) -> None:
        """Wait for the client's next request, of which *data* has come already."""
        conn.intake = Intake(self.limits.max_body_bytes)
        conn.told_to_continue = False
        if data:
            self._on_data(conn, data)
            return
        conn.timeout = self._in(self.cfg.keepalive)
        conn.is_idle = True
        self.keepalived_conns.append(conn)
        # Last: from here on the main loop may have it, whichever thread this is.
        self.poller.expect(conn.sock, conn.on_readable)

    def _end_idling(self, conn: Connection) -> None:
        if conn.is_idle:
            conn.is_idle = False
            self.keepalived_conns.remove(conn)

    def _part(self, conn: Connection, limit_s: float = LINGERING_CLOSE_S) -> None:
        """Say that we close, and wait for the client: closed with bytes unread, it is reset."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.discard_bytes = max(conn.discard_bytes, LINGERING_CLOSE_BYTES)
        conn.timeout = min(time.monotonic() + limit_s, self._finish_by_s + LINGERING_CLOSE_S)
        self._parting.add(conn)
        self.poller.expect(conn.sock, conn.on_readable)

    def _on_farewell(self, conn: Connection, data: bytes) -> None:
        conn.discard_bytes -= len(data)
        if not data or conn.discard_bytes <= 0:
            self._drop(conn)
        else:
            self.poller.expect(conn.sock, conn.on_readable)

    def _drop(self, conn: Connection) -> None:
        self.poller.forget(conn.sock)
        self._parting.discard(conn)
        self.nr_conns -= 1
        conn.close()

    # Reading

    def _on_readable(self, conn: Connection, sock: socket.socket) -> None:
        data = _received(sock)
        if data is None:
            self.poller.expect(sock, conn.on_readable)
        elif conn in self._parting:
            self._on_farewell(conn, data)
        elif data:
            self._on_data(conn, data)
        elif conn.intake.in_body:
            # gunicorn would hand what there is to the application, as if it were all.
            self._refuse(conn, BodyUnreadable("the body breaks off", sent=Sent.NO))
        else:
            self._end_idling(conn)
            self._stop_reading(conn)
            self._drop(conn)

    def _on_data(self, conn: Connection, data: bytes) -> None:
        if not conn.intake.begun:
            conn.begun_s = 0.0
            conn.is_quick = time.monotonic() - conn.answered_s < SOON_MS / 1000
            self._end_idling(conn)
        verdict = conn.intake.feed(data)
        if verdict is Verdict.PART:
            self._read_on(conn, len(data))
        elif verdict in (Verdict.WHOLE, Verdict.ODD):
            self._hand_over(conn, verdict)
        else:
            self._refuse(conn, self._too_large(verdict))

    def _hand_over(self, conn: Connection, verdict: Verdict) -> None:
        self._stop_reading(conn)
        conn.take(verdict)
        self.tpool.submit(conn)

    def _read_on(self, conn: Connection, received_bytes: int) -> None:
        now_s = time.monotonic()
        conn.begun_s = conn.begun_s or now_s
        self._reading.add(conn)
        self.poller.expect(conn.sock, conn.on_readable)
        conn.held_bytes += received_bytes
        self._held_bytes += received_bytes
        limit_s = self.limits.request_s
        if not conn.intake.in_body:
            limit_s = min(limit_s, HEAD_LIMIT_S)
        conn.timeout = min(conn.begun_s + limit_s, self._finish_by_s)
        if conn.intake.expects_continue and not conn.told_to_continue:
            conn.told_to_continue = True
            self._send(conn, b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._held_bytes > self.limits.max_body_bytes * self.cfg.threads:
            detail = "too many requests are being received by this gateway process already"
            self._refuse(conn, Overloaded(detail, sent=Sent.NO))

    def _stop_reading(self, conn: Connection) -> None:
        self._reading.discard(conn)
        self._held_bytes -= conn.held_bytes
        conn.held_bytes = 0

    # Refusing

    def _refuse(self, conn: Connection, problem: Problem) -> None:
        self.log.warning("%s: %s: %s", conn.address, problem.status, problem.detail)
        self._stop_reading(conn)
        self._send(conn, raw_response(problem))
        if problem.status == BodyTooLarge.status:
            conn.discard_bytes = DISCARD_FACTOR * self.limits.max_body_bytes
            self._part(conn, self.limits.request_s)
        else:
            self._part(conn)

    def _send(self, conn: Connection, data: bytes) -> None:
        # It fits into the socket's buffer; who has filled that up does not read anyway.
        try:
            conn.sock.send(data)
        except OSError as error:
            self.log.debug("nothing can be said to %s: %s", conn.address, error)

    def _too_large(self, verdict: Verdict) -> Problem:
        if verdict is Verdict.BODY_TOO_LARGE:
            detail = (
                f"the body exceeds the {self.limits.max_body_bytes} bytes of MAX_BODY_BYTES; "
                "send less"
            )
            return BodyTooLarge(detail, sent=Sent.NO)
        detail = f"the head of the request exceeds {MAX_HEAD_BYTES} bytes; send less"
        return HttpProblem(431, "Request Header Fields Too Large", detail, {}, Sent.NO)

    def _too_slow(self, conn: Connection) -> Problem:
        if not self.alive:
            detail = "this gateway is shutting down, and the request had not come whole"
            return ShuttingDown(detail, sent=Sent.NO)
        part, limit_s = "request", self.limits.request_s
        if not conn.intake.in_body:
            part, limit_s = "head of the request", min(limit_s, HEAD_LIMIT_S)
        detail = f"the {part} had not come whole after {limit_s:g} s; send faster"
        return HttpProblem(408, "Request Timeout", detail, {}, Sent.NO)

    # Time

    def _in(self, seconds: float) -> float:
        return min(time.monotonic() + seconds, self._finish_by_s)

    def _cap_keepalive(self, deadline: float) -> None:
        """Have all who have not sent their request do so soon: the worker finishes."""
        self._finish_by_s = time.monotonic() + FINISH_S
        # A copy: the threads may still add to them.
        for conn in [*self.keepalived_conns, *self._reading, *self._parting]:
            conn.timeout = min(conn.timeout, self._finish_by_s)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Look often enough to notice who is late."""
        if time.monotonic() >= self._stop_at_s:
            self.alive = False
        late = bool(self._reading or self._parting)
        super().wait_for_and_dispatch_events(min(timeout, SWEEP_S) if late else timeout)

    def murder_keepalived(self, force: bool = False) -> None:
        """Take leave of those who have sent nothing for long; at the end of all, at once."""
        now_s = time.monotonic()
        force_all = force or now_s >= self._finish_by_s
        while self.keepalived_conns and (force_all or self.keepalived_conns[0].timeout <= now_s):
            conn = self.keepalived_conns.popleft()
            conn.is_idle = False
            self._part(conn, FINISH_S)
        if force:
            for conn in self._reading | self._parting:
                self._drop(conn)

    def murder_pending(self) -> None:
        """Refuse requests that take too long, and hang up on those who do not."""
        now_s = time.monotonic()
        if now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + SWEEP_S
        for conn in [conn for conn in self._reading if conn.timeout <= now_s]:
            self._refuse(conn, self._too_slow(conn))
        for conn in [conn for conn in self._parting if conn.timeout <= now_s]:
            self._drop(conn)

    # In the threads

    def get_thread_pool(self) -> Pool[Connection]:
        """Return the threads that answer requests."""
        return Pool(self.cfg.threads, self._serve)

    def _serve(self, conn: Connection) -> None:
        """Answer a request that is whole, and those that follow soon; then leave it to the loop."""
        while True:
            keep = self.handle(conn) and not conn.last
            conn.forget()
            data, conn.ahead = conn.ahead, b""
            if not keep:
                self.method_queue.defer(self._part, conn)
                return
            if conn.is_quick and not data and self.alive and self.tpool.has_room():
                soon = self._next_soon(conn)
                if soon is None:
                    continue
                data = soon
            break
        if data or not self.alive:
            self.method_queue.defer(self._expect_request, conn, data)
        else:
            # Here, and not in the main loop, which would have to be woken for it.
            conn.answered_s = time.monotonic()
            self._expect_request(conn, b"")

    def _next_soon(self, conn: Connection) -> bytes | None:
        """Return None when *conn* has its next request, or else what has come of it in a moment."""
        waiting = select.poll()
        waiting.register(conn.sock, select.POLLIN)
        conn.is_quick = bool(waiting.poll(SOON_MS))
        data = (conn.is_quick and _received(conn.sock)) or b""
        if data:
            conn.intake = Intake(self.limits.max_body_bytes)
            verdict = conn.intake.feed(data)
            if verdict in (Verdict.WHOLE, Verdict.ODD):
                conn.take(verdict)
                return None
        return data

    def handle(self, conn: Connection) -> bool:
        """Answer the request of *conn*; say whether another one may follow."""
        req = None
        try:
            conn.init()
            req = next(conn.parser)
            return self.handle_request(req, conn)
        except StopIteration:
            self.log.debug("closing the connection of %s", conn.address)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                self.log.exception("the connection of %s failed", conn.address)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # it is answered and logged
            self.handle_error(req, conn.sock, conn.client, error)
        return False

    def handle_request(self, req: Any, conn: Connection) -> bool:
        """Have the application answer *req*, and give up on clients who do not read."""
        if conn.last:
            req.force_close()
        else:
            req._expected_100_continue = False  # its body is there
        begun = datetime.now()
        resp, environ = wsgi.create(
            req, conn.sock, conn.client, conn.server, self.cfg, response_class=HttpResponse
        )
        environ["wsgi.multithread"] = True
        if conn.body is not None:
            # As it is, and not through the readers that would find its end once more.
            environ["wsgi.input"] = BytesIO(conn.body)
        self._count_request()
        if not self.alive or len(self.keepalived_conns) >= self.max_keepalived:
            resp.force_close()
        try:
            self._respond(environ, resp)
        except TimeoutError as error:
            self.log.warning("%s does not read its response", conn.address)
            raise BrokenPipeError(errno.EPIPE, "the response is not read") from error
        except (Exception, SystemExit) as error:
            if isinstance(error, OSError) or not resp.headers_sent:
                raise
            # A second response on the same connection would be taken for a part of the first.
            self.log.exception("a response broke off")
            raise StopIteration from error
        finally:
            if resp.status is not None:
                self.log.access(resp, req, environ, datetime.now() - begun)
        return not resp.should_close()

    def _count_request(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("restarting this worker after the current request")
            self.alive = False

    def _respond(self, environ: Any, resp: HttpResponse) -> None:
        parts = self.wsgi(environ, resp.start_response)
        try:
            for part in parts:
                resp.write(part)
            resp.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()


def _received(sock: socket.socket) -> bytes | None:
    """Return what has come: b"" when the client is gone, None when nothing is there yet."""
    try:
        return sock.recv(RECEIVE_BYTES)
    except BlockingIOError:
        return None
    except OSError:
        return b""
