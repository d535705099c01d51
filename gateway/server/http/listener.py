"""waitress's servers, one for each listening socket of a worker."""

import errno
import socket
import sys
import time
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer

from gateway.server.http.channel import Channel
from gateway.server.http.connections import Connections
from gateway.server.http.refusals import MAX_HEAD_BYTES, Limits
from gateway.server.http.sockets import Sockets

#: Errors of accept() when the system has no file descriptor or memory left.
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Pause of accept() after such an error, in seconds.
OUT_OF_RESOURCES_PAUSE_S = 0.05
#: Size of one read from a socket.
RECEIVE_BYTES = 65_536
#: What the kernel holds of a response, about half of it payload. On its own it would take 4 MB from
#: each client that does not read, and the time to copy that.
SEND_BUFFER_BYTES = 524_288
#: Maximum number of connections accepted in one turn of the main loop.
ACCEPTS_PER_TURN = 64
#: How long a worker above its fair share leaves a connection to the others, in seconds.
YIELD_S = 0.05
#: How often it looks whether they have accepted it, in seconds.
YIELD_STEP_S = 0.001


#: Begins the address of an IPv4 client on a socket for both versions of IP.
_IPV4_MAPPED = "::ffff:"


def adjustments(limits: Limits) -> Adjustments:
    """Return waitress's settings; connections and times are limited by Connections."""
    return Adjustments(
        recv_bytes=RECEIVE_BYTES,
        max_request_header_size=MAX_HEAD_BYTES,
        max_request_body_size=limits.max_body_bytes,
        # Bodies stay in memory: the file system may be read-only.
        inbuf_overflow=sys.maxsize,
        outbuf_overflow=sys.maxsize,
        # A thread never waits for a client that does not read.
        outbuf_high_watermark=sys.maxsize,
        log_socket_errors=False,
        clear_untrusted_proxy_headers=False,
        ident=None,
        server_name="localhost",
    )


class _Listener:
    """What TCP and Unix listeners share."""

    channel_class = Channel
    connections: Connections
    sockets: Sockets
    #: Whether connections wait.
    _is_due = False
    #: Since when they are left to other workers; 0 if they are not.
    _yields_since_s = 0.0
    #: When to look again whether others have accepted them.
    _looks_again_s = 0.0

    def readable(self) -> bool:
        """Return whether connections are accepted, and not left to other workers."""
        return bool(self.accepting) and self.yields_s() <= 0  # type: ignore[attr-defined]

    def yields_s(self) -> float:
        """Return for how long connections are still left to other workers, in seconds."""
        return self._looks_again_s - time.monotonic() if self._looks_again_s else 0.0

    def handle_accept(self) -> None:
        """Note that connections wait."""
        self._is_due = True

    def accept_due(self) -> None:
        """
        Accept as many connections as are this worker's fair share.

        Called when all events of a turn are handled: the system may give a new connection the file
        descriptor of a closed one, whose events would be taken for its own.
        """
        if not self._is_due:
            return
        self._is_due = False
        room = self.connections.room
        if room is None:
            room = ACCEPTS_PER_TURN
        elif room <= 0:
            room = self._room_after_yielding()
        elif self.connections.is_full:
            # Silent connections are closed as fast as they come: honest clients wait behind them.
            room = ACCEPTS_PER_TURN
        for _ in range(min(room, ACCEPTS_PER_TURN)):
            if not self._accept_one():
                return

    def _room_after_yielding(self) -> int:
        """Leave a connection to the others; return 1 if they have not accepted it in time."""
        now_s = time.monotonic()
        if now_s - self._looks_again_s > YIELD_S:  # a busy loop looks late
            self._yields_since_s = now_s  # it is another connection
        if now_s - self._yields_since_s >= YIELD_S:
            self._yields_since_s = now_s
            return 1
        self._looks_again_s = now_s + YIELD_STEP_S
        return 0

    def _accept_one(self) -> bool:
        """Accept a connection; at the limit an idle one is closed for it."""
        server: Any = self
        try:
            accepted = server.accept()
        except OSError as error:
            self._report(error)
            return False
        if accepted is None:
            return False
        sock, address = accepted
        try:
            server.set_socket_options(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            self.connections.make_room()
            channel = Channel(server, sock, _own(server.fix_addr(address)), server.adj, server._map)
        except OSError:  # the client has gone
            sock.close()
        else:
            self.connections.add(channel)
        return True

    def _report(self, error: OSError) -> None:
        if error.errno in _OUT_OF_RESOURCES:
            self.connections.events.error("no connection can be accepted: %s", error.strerror)
            self.connections.close_one()
            time.sleep(OUT_OF_RESOURCES_PAUSE_S)
        else:
            self.connections.events.warning("a connection was not accepted: %s", error)

    def stop_accepting(self) -> None:
        """Close the listening socket of this process; the wake-up pipe stays."""
        server: Any = self
        server.accepting = self._is_due = False
        server.del_channel()
        server.socket.close()


class TcpListener(_Listener, TcpWSGIServer):  # type: ignore[misc]  # waitress ships no types
    """Listens on TCP."""


class UnixListener(_Listener, UnixWSGIServer):  # type: ignore[misc]
    """Listens on a Unix domain socket."""


def listen(
    gunicorn_socket: Any,
    application: Any,
    adj: Adjustments,
    sockets: Sockets,
    threads: Any,
    connections: Connections,
) -> TcpListener | UnixListener:
    """Serve *application* on a socket of gunicorn, which listens already."""
    sock: socket.socket = gunicorn_socket.sock
    kind = UnixListener if sock.family == socket.AF_UNIX else TcpListener
    server = kind(
        application,
        sockets,
        _start=False,  # it would listen anew, with another backlog
        _sock=sock,
        dispatcher=threads,
        adj=adj,
        sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()),
        bind_socket=False,
    )
    server.connections = connections
    server.sockets = sockets
    server.accepting = True
    return server


def _own(address: Any) -> Any:
    """Return the *address* of a client as the client knows it: IPv4 without a mapping to IPv6."""
    host, *rest = address
    return (host.removeprefix(_IPV4_MAPPED), *rest)
