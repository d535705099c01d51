"""
Graceful shutdown: late connections get a response, never a TCP reset.

When the last process closes a listening socket, the kernel resets every connection that waits in
it, and those whose handshake is under way. So new handshakes are stopped while a process still
accepts, and the arbiter accepts until the last connection has come.
"""

import contextlib
import ctypes
import mmap
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.problems import Sent, ShuttingDown
from gateway.server.http.refusals import raw_response

#: Time for the workers to accept waiting connections before the arbiter does, in seconds.
WORKERS_FIRST_S = 0.1
#: Time without a new connection after which no handshake is under way, in seconds.
QUIET_S = 0.25
#: Maximum time to accept late connections and to wait until they close, in seconds.
LATE_CONNECTIONS_S = 2.0
#: Linux's asm-generic/socket.h; Python has no name for it.
SO_ATTACH_FILTER = 26
#: Classic BPF on a TCP header: drop packets with SYN (2) but not ACK (16) in byte 13.
_DROP_NEW_HANDSHAKES = (
    (0x30, 0, 0, 13),  # A = header[13]
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # A == SYN?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
)


class SharedFlag:
    """A flag shared by a process and those that it forks later."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Set it, for all processes."""
        self._memory[0] = 1

    def is_set(self) -> bool:
        """Return whether a process has set it."""
        return self._memory[0] == 1


@dataclass(frozen=True)
class ShutdownState:
    """Progress of a server's shutdown, shared by its processes."""

    #: Everything is still served, but /readyz reports the shutdown.
    draining: SharedFlag = field(default_factory=SharedFlag)
    #: New connections are refused.
    stopping: SharedFlag = field(default_factory=SharedFlag)


def install_graceful_shutdown(server: Any, drain_delay_s: float = 0.0) -> ShutdownState:
    """
    Let the arbiter *server* refuse late connections when it stops.

    First it keeps serving for *drain_delay_s*, so that load balancers see its readiness and choose
    other replicas. Nothing changes where another process goes on listening: after a binary upgrade,
    under systemd, and when a single worker drains. Returns the state of the shutdown.
    """
    state = ShutdownState()
    stop: Callable[..., None] = server.stop

    def stop_gracefully(graceful: bool = True) -> None:
        is_last_listener = server.reexec_pid == server.master_pid == 0 and not server.systemd
        if not (graceful and is_last_listener and server.LISTENERS):
            stop(graceful)
            return
        state.draining.set()
        if not keep_serving(server, drain_delay_s):
            stop(False)
            return
        state.stopping.set()
        for listener in server.LISTENERS:
            drop_new_handshakes(listener)
        late_connections = LateConnections(server.LISTENERS)
        time.sleep(WORKERS_FIRST_S)
        late_connections.start()
        try:
            stop(graceful)
        finally:
            late_connections.join(LATE_CONNECTIONS_S)

    server.stop = stop_gracefully
    return state


def keep_serving(server: Any, duration_s: float) -> bool:
    """Keep serving for *duration_s*; return False at once on SIGINT or SIGQUIT."""
    until_s = time.monotonic() + duration_s
    while (left_s := until_s - time.monotonic()) > 0:
        if {signal.SIGINT, signal.SIGQUIT} & set(server.wait_for_signals(timeout=min(left_s, 1.0))):
            return False
        server.reap_workers()
        server.murder_workers()
        server.manage_workers()
    return True


class LateConnections(threading.Thread):
    """Answers late connections to *listeners* with a 503."""

    def __init__(self, listeners: Sequence[Any]) -> None:
        super().__init__(name="late-connections", daemon=True)
        # Copies, for the arbiter closes its own.
        self._listeners: list[socket.socket] = [listener.dup() for listener in listeners]
        self._poller = selectors.DefaultSelector()
        problem = ShuttingDown("this gateway is shutting down; send it again", sent=Sent.NO)
        self._response = raw_response(problem)

    def run(self) -> None:
        """Respond until no connection comes for QUIET_S; then wait until clients have read."""
        give_up_s = time.monotonic() + LATE_CONNECTIONS_S
        with self._poller:
            self._accept_until_quiet(give_up_s)
            while self._poller.get_map() and (now := time.monotonic()) < give_up_s:
                self._dispatch(give_up_s - now)
            for key in list(self._poller.get_map().values()):
                self._close(key.fileobj)

    def _accept_until_quiet(self, give_up_s: float) -> None:
        for listener in self._listeners:
            listener.setblocking(False)
            self._poller.register(listener, selectors.EVENT_READ, self._refuse)
        quiet_s = time.monotonic() + QUIET_S
        while (now := time.monotonic()) < min(quiet_s, give_up_s):
            if self._dispatch(quiet_s - now):
                quiet_s = time.monotonic() + QUIET_S
        for listener in self._listeners:
            self._close(listener)

    def _dispatch(self, timeout_s: float) -> bool:
        """Wait for events and handle them; return whether a connection was accepted."""
        accepted = False
        for key, _ in self._poller.select(timeout_s):
            accepted |= key.data(key.fileobj)
        return accepted

    def _refuse(self, listener: socket.socket) -> bool:
        try:
            connection, _ = listener.accept()
        except OSError:
            return False  # the client has gone, or a worker was faster
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.send(self._response)
            connection.shutdown(socket.SHUT_WR)
        # Closed now, with a request unread, it would be reset, and the response lost.
        self._poller.register(connection, selectors.EVENT_READ, self._discard)
        return True

    def _discard(self, connection: socket.socket) -> bool:
        try:
            if connection.recv(65_536):
                return False
        except BlockingIOError:
            return False
        except OSError:
            pass  # the client has gone
        self._close(connection)
        return False

    def _close(self, connection: Any) -> None:
        self._poller.unregister(connection)
        connection.close()


def drop_new_handshakes(listener: Any) -> None:
    """
    Let *listener* drop new handshakes (Linux only); those under way complete.

    Without it 20 to 50 of 80,000 connections during five shutdowns under load were reset
    (tests/integration/test_shutdown.py).
    """
    with contextlib.suppress(OSError):
        _attach_filter(listener, _DROP_NEW_HANDSHAKES)


def _attach_filter(listener: Any, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Attach a socket filter to *listener* in all processes; raise OSError if refused."""
    if sys.platform != "linux" or listener.family == socket.AF_UNIX:
        return
    # struct sock_filter: code, jump if true, jump if false, operand
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    # struct sock_fprog: length, pointer
    fprog = struct.pack("HP", len(program), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
