"""gunicorn's gthread worker, changed so that no client can hold a thread."""

import errno
import socket
import sys
import time
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from gateway.problems import BodyTooLarge, BodyUnreadable, Problem, Sent
from gateway.server import refusals
from gateway.server.arbiter import unblock_stop_signals
from gateway.server.connection import Connection
from gateway.server.framing import COMPLETE_VERDICTS, Intake, Verdict
from gateway.server.http import CachedConfig
from gateway.server.refusals import HEAD_TIMEOUT_S, Limits
from gateway.server.request_handler import RequestHandler
from gateway.server.selector import new_poller
from gateway.server.shutdown import ShutdownState
from gateway.server.threads import Pool

#: How long a worker that drains waits for incomplete and for further requests, in seconds.
DRAIN_READ_S = 1.0
#: Lingering close: how long, and how many bytes, to read and discard before closing.
LINGERING_CLOSE_S, LINGERING_CLOSE_BYTES = 2.0, 65_536
#: Bytes of a too large body that are read and discarded, as a multiple of the limit: a client that
#: sends everything before it reads gets the 413.
DISCARD_FACTOR = 4
#: Interval of the search for clients that are too slow, in seconds.
SWEEP_INTERVAL_S = 0.25
#: Interval of the worker's heartbeats to the arbiter, which expects one every 30 s, in seconds.
HEARTBEAT_INTERVAL_S = 0.5
#: Extra time a worker keeps serving when signalled directly, not by the arbiter, in seconds.
DIRECT_STOP_DELAY_S = 1.0
#: Pause of accept() when the system has no file descriptor left, in seconds.
OUT_OF_FILES_PAUSE_S = 0.05


class GatewayWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """
    A gthread worker whose threads get whole requests only.

    The main loop reads the requests, and waits for clients to close. A worker that drains closes
    its listening sockets at once; the arbiter, which answers late connections, closes its own last.
    """

    limits = Limits()
    drain_delay_s = 0.0
    shutdown_state = ShutdownState()
    #: The processor core that it is pinned to (see gateway.server.cpu_affinity).
    core: int | None = None
    poller: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cfg: Any = CachedConfig(self.cfg)
        self._reading: set[Connection] = set()
        self._lingering: set[Connection] = set()
        self._held_bytes = 0
        self._stop_at_s = float("inf")
        self._drain_until_s = float("inf")
        self._next_sweep_s = 0.0
        self._next_heartbeat_s = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Exit when a setting asks for what this worker does not support."""
        super().check_config(cfg, log)
        if cfg.is_ssl or cfg.proxy_protocol != "off":
            sys.exit("gunicorn's TLS and PROXY protocol are not supported; use a proxy for them")

    def init_signals(self) -> None:
        """Install the signal handlers, then receive the held signals."""
        super().init_signals()
        unblock_stop_signals()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Drain and stop; with a drain delay, not before the arbiter does."""
        if self.drain_delay_s and not self.shutdown_state.stopping.is_set():
            # Some supervisors signal every process; the arbiter then signals once more.
            stop_at_s = time.monotonic() + self.drain_delay_s + DIRECT_STOP_DELAY_S
            self._stop_at_s = min(self._stop_at_s, stop_at_s)
            return
        super().handle_exit(sig, frame)

    def notify(self) -> None:
        """Send the arbiter a heartbeat, unless one was sent within the interval."""
        now_s = time.monotonic()
        if now_s >= self._next_heartbeat_s:
            self._next_heartbeat_s = now_s + HEARTBEAT_INTERVAL_S
            super().notify()

    def is_parent_alive(self) -> bool:
        """Return whether the arbiter is alive; without it this worker drains."""
        if super().is_parent_alive():
            return True
        self.alive = False
        return False

    def run(self) -> None:
        """Run the main loop until the worker has drained."""
        self.poller.close()  # gunicorn's, which watches nothing yet
        self.poller = new_poller()
        super().run()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting; for good when the worker drains."""
        super().set_accept_enabled(enabled)
        if not (enabled or self.alive):
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: Any) -> None:
        """Accept a connection and read what has come with it."""
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
        # Most requests come with the connection: no need to wait for them in the poller.
        self._expect_request(conn, conn.receive() or b"")

    def _expect_request(self, conn: Connection, data: bytes) -> None:
        """Wait for the client's next request, of which *data* has come already."""
        conn.intake = Intake(self.limits.max_body_bytes)
        conn.sent_continue = False
        if data:
            self._on_data(conn, data)
            return
        # Without keep-alive the first request is still waited for.
        idle_s = self.cfg.keepalive or HEAD_TIMEOUT_S
        conn.timeout = min(time.monotonic() + idle_s, self._drain_until_s)
        conn.is_idle = True
        self.keepalived_conns.append(conn)
        # Last: from here on the main loop may use it, whichever thread this is.
        self.poller.expect(conn.sock, conn.on_readable)

    def _end_idle(self, conn: Connection) -> None:
        if conn.is_idle:
            conn.is_idle = False
            self.keepalived_conns.remove(conn)

    def _linger(self, conn: Connection, limit_s: float = LINGERING_CLOSE_S) -> None:
        """Close our side and wait for the client's: unread bytes would cause a TCP reset."""
        if not conn.close_writing():
            self._close(conn)
            return
        conn.discard_bytes = max(conn.discard_bytes, LINGERING_CLOSE_BYTES)
        conn.timeout = min(time.monotonic() + limit_s, self._drain_until_s + LINGERING_CLOSE_S)
        self._lingering.add(conn)
        self.poller.expect(conn.sock, conn.on_readable)

    def _discard(self, conn: Connection, data: bytes) -> None:
        conn.discard_bytes -= len(data)
        if not data or conn.discard_bytes <= 0:
            self._close(conn)
        else:
            self.poller.expect(conn.sock, conn.on_readable)

    def _close(self, conn: Connection) -> None:
        self.poller.forget(conn.sock)
        self._lingering.discard(conn)
        self.nr_conns -= 1
        conn.close()

    def _on_readable(self, conn: Connection, sock: socket.socket) -> None:
        data = conn.receive()
        if data is None:
            self.poller.expect(sock, conn.on_readable)
        elif conn in self._lingering:
            self._discard(conn, data)
        elif data:
            self._on_data(conn, data)
        elif conn.intake.in_body:
            # gunicorn would hand the beginning to the application as if it were complete.
            detail = "the connection was closed before the end of the body; send the whole body"
            self._refuse(conn, BodyUnreadable(detail, sent=Sent.NO))
        else:
            self._end_idle(conn)
            self._stop_reading(conn)
            self._close(conn)

    def _on_data(self, conn: Connection, data: bytes) -> None:
        if not conn.intake.begun:
            conn.begin_request()
            self._end_idle(conn)
        verdict = conn.intake.feed(data)
        if verdict is Verdict.PART:
            self._keep_reading(conn, len(data))
        elif verdict in COMPLETE_VERDICTS:
            self._hand_over(conn, verdict)
        else:
            self._refuse(conn, refusals.too_large(verdict, self.limits))

    def _hand_over(self, conn: Connection, verdict: Verdict) -> None:
        self._stop_reading(conn)
        conn.take(verdict)
        self.tpool.submit(conn)

    def _keep_reading(self, conn: Connection, received_bytes: int) -> None:
        conn.begun_s = conn.begun_s or time.monotonic()
        self._reading.add(conn)
        self.poller.expect(conn.sock, conn.on_readable)
        conn.held_bytes += received_bytes
        self._held_bytes += received_bytes
        timeout_s = self.limits.timeout_s(in_body=conn.intake.in_body)
        conn.timeout = min(conn.begun_s + timeout_s, self._drain_until_s)
        if conn.intake.expects_continue and not conn.sent_continue:
            conn.sent_continue = True
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._held_bytes > self.limits.max_body_bytes * self.cfg.threads:
            self._refuse(conn, refusals.too_many_bytes_held())

    def _stop_reading(self, conn: Connection) -> None:
        self._reading.discard(conn)
        self._held_bytes -= conn.held_bytes
        conn.held_bytes = 0

    def _refuse(self, conn: Connection, problem: Problem) -> None:
        self.log.warning("%s: %s: %s", conn.address, problem.status, problem.detail)
        self._stop_reading(conn)
        conn.send(refusals.raw_response(problem))
        if problem.status == BodyTooLarge.status:
            conn.discard_bytes = DISCARD_FACTOR * self.limits.max_body_bytes
            self._linger(conn, self.limits.request_timeout_s)
        else:
            self._linger(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """Limit the time of clients without a complete request: the worker drains."""
        self._drain_until_s = time.monotonic() + DRAIN_READ_S
        # A copy: the threads may still add to them.
        for conn in [*self.keepalived_conns, *self._reading, *self._lingering]:
            conn.timeout = min(conn.timeout, self._drain_until_s)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, but not for longer than the next sweep."""
        if time.monotonic() >= self._stop_at_s:
            self.alive = False
        if self._reading or self._lingering:
            timeout = min(timeout, SWEEP_INTERVAL_S)
        super().wait_for_and_dispatch_events(timeout)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close connections that are idle for too long; with *force* all connections."""
        now_s = time.monotonic()
        force_all = force or now_s >= self._drain_until_s
        while self.keepalived_conns and (force_all or self.keepalived_conns[0].timeout <= now_s):
            conn = self.keepalived_conns.popleft()
            conn.is_idle = False
            self._linger(conn, DRAIN_READ_S)
        if force:
            for conn in self._reading | self._lingering:
                self._close(conn)

    def murder_pending(self) -> None:
        """Refuse requests that are too slow; close connections that linger too long."""
        now_s = time.monotonic()
        if now_s < self._next_sweep_s:
            return
        self._next_sweep_s = now_s + SWEEP_INTERVAL_S
        for conn in [conn for conn in self._reading if conn.timeout <= now_s]:
            in_body = conn.intake.in_body
            self._refuse(conn, refusals.too_slow(self.limits, self.alive, in_body=in_body))
        for conn in [conn for conn in self._lingering if conn.timeout <= now_s]:
            self._close(conn)

    def get_thread_pool(self) -> Pool[Connection]:
        """Return the threads that handle requests."""
        return Pool(self.cfg.threads, RequestHandler(self).serve)

    def has_spare_thread(self) -> bool:
        """Return whether a thread may wait for a client."""
        return self.alive and bool(self.tpool.has_room())

    def hand_back(self, conn: Connection, data: bytes) -> None:
        """Wait for the next request, of which *data* has come; called in a thread."""
        if data or not self.alive:
            self.method_queue.defer(self._expect_request, conn, data)
        else:
            # In this thread: the main loop would have to be woken for it.
            conn.answered_s = time.monotonic()
            self._expect_request(conn, b"")

    def close_soon(self, conn: Connection) -> None:
        """Let the main loop close *conn*; called in a thread."""
        self.method_queue.defer(self._abandon, conn)

    def _abandon(self, conn: Connection) -> None:
        self._end_idle(conn)
        self._linger(conn)
