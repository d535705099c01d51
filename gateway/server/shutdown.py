"""
The end of a whole server: whoever comes last is answered or refused, never reset, never left alone.

When the last process closes a listening socket, the kernel resets every connection that waits in
it, and those whose handshake is under way. So no handshake may begin while somebody still accepts,
and somebody has to accept until the last one is there.
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
from gateway.server.raw_response import raw_response

#: For so long the workers may still take who is waiting: better served than turned away.
WORKERS_FIRST_S = 0.1
#: Longer than a handshake that is under way takes to complete.
QUIET_S = 0.25
#: For so long at most somebody stands at the door, and waits for those turned away to hang up.
LIMIT_S = 2.0
#: Linux's asm-generic/socket.h; Python has no name for it.
SO_ATTACH_FILTER = 26
#: Classic BPF on a TCP header: drop what has SYN (2) and not ACK (16) in byte 13, keep the rest.
_NO_NEW_HANDSHAKES = (
    (0x30, 0, 0, 13),  # A = header[13]
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # A == SYN?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep
)


class SharedFlag:
    """A flag between a process and those that it forks later."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Raise it, for all of them."""
        self._memory[0] = 1

    def is_set(self) -> bool:
        """Say whether anybody has raised it."""
        return self._memory[0] == 1


@dataclass(frozen=True)
class ShutdownState:
    """
    How far the end of a server has come, for all its processes.

    Args:
        draining: it still serves everybody, and says that it is not ready.
        stopping: newcomers are turned away.
    """

    draining: SharedFlag = field(default_factory=SharedFlag)
    stopping: SharedFlag = field(default_factory=SharedFlag)


def install_graceful_shutdown(server: Any, drain_delay_s: float = 0.0) -> ShutdownState:
    """
    Let gunicorn's arbiter *server* turn newcomers away when it stops; return how far it has come.

    It first serves on for *drain_delay_s*, so that whoever asks for its readiness can send them
    elsewhere. Nothing changes where others go on listening: after a binary upgrade, under systemd,
    and when a single worker finishes.
    """
    ending = ShutdownState()
    stop: Callable[..., None] = server.stop

    def stop_well(graceful: bool = True) -> None:
        alone = server.reexec_pid == server.master_pid == 0 and not server.systemd
        if not (graceful and alone and server.LISTENERS):
            stop(graceful)
            return
        ending.draining.set()
        if not serve_on(server, drain_delay_s):
            stop(False)
            return
        ending.stopping.set()
        for listener in server.LISTENERS:
            let_no_handshake_begin(listener)
        door = LateConnections(server.LISTENERS)
        time.sleep(WORKERS_FIRST_S)
        door.start()
        try:
            stop(graceful)
        finally:
            door.join(LIMIT_S)

    server.stop = stop_well
    return ending


def serve_on(server: Any, duration_s: float) -> bool:
    """Keep the workers of *server* going for *duration_s*; False when told to be quick."""
    until_s = time.monotonic() + duration_s
    while (left_s := until_s - time.monotonic()) > 0:
        if {signal.SIGINT, signal.SIGQUIT} & set(server.wait_for_signals(timeout=min(left_s, 1.0))):
            return False
        server.reap_workers()
        server.murder_workers()
        server.manage_workers()
    return True


class LateConnections(threading.Thread):
    """Turns away whoever is still on the way to *listeners*."""

    def __init__(self, listeners: Sequence[Any]) -> None:
        super().__init__(name="door", daemon=True)
        # Of its own, for the arbiter closes the others.
        self._listeners: list[socket.socket] = [listener.dup() for listener in listeners]
        self._poller = selectors.DefaultSelector()
        self._answer = raw_response(ShuttingDown("this gateway is shutting down", sent=Sent.NO))

    def run(self) -> None:
        """Answer newcomers until nobody has come for a while, close, and let them read it."""
        give_up_s = time.monotonic() + LIMIT_S
        with self._poller:
            self._answer_newcomers(give_up_s)
            while self._poller.get_map() and (now := time.monotonic()) < give_up_s:
                self._look(give_up_s - now)
            for key in list(self._poller.get_map().values()):
                self._forget(key.fileobj)

    def _answer_newcomers(self, give_up_s: float) -> None:
        for listener in self._listeners:
            listener.setblocking(False)
            self._poller.register(listener, selectors.EVENT_READ, self._turn_away)
        quiet_s = time.monotonic() + QUIET_S
        while (now := time.monotonic()) < min(quiet_s, give_up_s):
            if self._look(quiet_s - now):
                quiet_s = time.monotonic() + QUIET_S
        for listener in self._listeners:
            self._forget(listener)

    def _look(self, timeout_s: float) -> bool:
        """Wait for something to happen; say whether somebody came."""
        came = False
        for key, _ in self._poller.select(timeout_s):
            came |= key.data(key.fileobj)
        return came

    def _turn_away(self, listener: socket.socket) -> bool:
        try:
            guest, _ = listener.accept()
        except OSError:
            return False  # gone again, or a worker was faster
        guest.setblocking(False)
        with contextlib.suppress(OSError):
            guest.send(self._answer)
            guest.shutdown(socket.SHUT_WR)
        # Closed now, with a request unread, it would be reset, and the answer lost.
        self._poller.register(guest, selectors.EVENT_READ, self._hear_out)
        return True

    def _hear_out(self, guest: socket.socket) -> bool:
        try:
            if guest.recv(65_536):
                return False
        except BlockingIOError:
            return False
        except OSError:
            pass  # the guest is gone
        self._forget(guest)
        return False

    def _forget(self, connection: Any) -> None:
        self._poller.unregister(connection)
        connection.close()


def let_no_handshake_begin(listener: Any) -> None:
    """Have *listener* ignore new connections, where the system can (Linux); others complete."""
    with contextlib.suppress(OSError):
        _attach(listener, _NO_NEW_HANDSHAKES)


def _attach(listener: Any, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Attach a socket filter to *listener*, which all processes share; OSError if refused."""
    if sys.platform != "linux" or listener.family == socket.AF_UNIX:
        return
    # struct sock_filter: code, jump if true, jump if false, operand
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    # struct sock_fprog: length, pointer
    fprog = struct.pack("HP", len(program), ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
