"""gunicorn's response, written in as few steps as it can be."""

import time
from email.utils import formatdate
from functools import lru_cache

from gunicorn.http.wsgi import Response


class HttpResponse(Response):  # type: ignore[misc]  # gunicorn ships no types
    """
    One HTTP/1.1 response on a socket that does not block.

    Head and body leave together: each write lets other threads in, and who is let in may keep the
    interpreter for milliseconds. What the socket's buffer does not take at once is waited for,
    for *limit_s* at most.
    """

    limit_s = 30.0
    headers_sent = False
    _head = b""

    def send_headers(self) -> None:
        """Make the head; it leaves with the first bytes of the body."""
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers)]
        self._head = ("".join(lines) + "\r\n").encode("latin-1")
        self.headers_sent = True

    def default_headers(self) -> list[str]:
        """Return the status line, and the headers that are the server's to set."""
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
            self._send_slowly(b"".join(parts)[sent:])

    def _send_slowly(self, rest: bytes) -> None:
        # All of it within the limit, and not each part.
        self.sock.settimeout(self.limit_s)
        try:
            self.sock.sendall(rest)
        finally:
            self.sock.setblocking(False)


@lru_cache(maxsize=2)
def _date(at_s: int) -> str:
    """Return the Date header (RFC 9110, section 6.6.1), which is the same for a second."""
    return formatdate(at_s, usegmt=True)
