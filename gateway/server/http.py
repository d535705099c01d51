"""gunicorn's HTTP request and response, with less work for each of them."""

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

#: Maximum number of peer addresses whose trust is cached.
MAX_PEERS = 1_024
#: Maximum time for a client to receive a response, in seconds.
WRITE_TIMEOUT_S = 30.0


class CachedConfig:
    """
    gunicorn's settings as plain attributes, constant while a worker lives.

    gunicorn looks each up in a table of objects, about thirty times per request.
    """

    def __init__(self, cfg: Any) -> None:
        self._cfg = cfg
        #: Whether a peer address is a trusted proxy, for up to MAX_PEERS addresses.
        self.trusted_peers: dict[Any, bool] = {}

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._cfg, name)
        setattr(self, name, value)
        return value


class HttpRequest(Request):  # type: ignore[misc]  # gunicorn ships no types
    """One request, with cached trust in its peer."""

    def _peer_is_trusted_proxy(self) -> bool:
        peer = self.peer_addr[0] if isinstance(self.peer_addr, tuple) else None
        trusted = self.cfg.trusted_peers
        found: bool | None = trusted.get(peer)
        if found is None:
            found = bool(super()._peer_is_trusted_proxy())
            if len(trusted) >= MAX_PEERS:
                trusted.clear()
            trusted[peer] = found
        return found

    def mark_body_received(self) -> None:
        """Send no "100 Continue": the body is here."""
        self._expected_100_continue = False


class HttpParser(RequestParser):  # type: ignore[misc]
    """Iterator over the requests of one connection."""

    mesg_class = HttpRequest


class HttpResponse(wsgi.Response):  # type: ignore[misc]
    """
    One HTTP/1.1 response on a non-blocking socket.

    Head and body are sent in one write: each write releases the GIL, and getting it back may take
    milliseconds.
    """

    headers_sent = False
    _head = b""

    def send_headers(self) -> None:
        """Build the head; it is sent with the first bytes of the body."""
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers)]
        self._head = ("".join(lines) + "\r\n").encode("latin-1")
        self.headers_sent = True

    def default_headers(self) -> list[str]:
        """Return the status line and the headers that the server sets."""
        version, minor = self.req.version
        lines = [
            f"HTTP/{version}.{minor} {self.status}\r\n",
            f"Server: {self.version}\r\n",
            f"Date: {_date(int(time.time()))}\r\n",
            f"Connection: {'close' if self.should_close() else 'keep-alive'}\r\n",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked\r\n")
        return lines

    def close(self) -> None:
        """Send what is left."""
        self.send_headers()
        self._send(b"0\r\n\r\n" if self.chunked else b"")

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        head, self._head = self._head, b""
        parts = [part for part in (head, data) if part]
        if not parts:
            return
        try:
            sent = self.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        if sent < len(head) + len(data):
            self._send_rest(b"".join(parts)[sent:])

    def _send_rest(self, rest: bytes) -> None:
        # sendall() has this timeout for all of *rest*, not for each part.
        self.sock.settimeout(WRITE_TIMEOUT_S)
        try:
            self.sock.sendall(rest)
        finally:
            self.sock.setblocking(False)


def create_response(req: Any, conn: Any, cfg: Any) -> tuple[HttpResponse, dict[str, Any]]:
    """Return the response to *req* on *conn*, and its WSGI environment."""
    resp, environ = wsgi.create(
        req, conn.sock, conn.client, conn.server, cfg, response_class=HttpResponse
    )
    environ["wsgi.multithread"] = True
    return resp, environ


@lru_cache(maxsize=2)
def _date(at_s: int) -> str:
    """Return the Date header (RFC 9110, section 6.6.1) for one second."""
    return formatdate(at_s, usegmt=True)
