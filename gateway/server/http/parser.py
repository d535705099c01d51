"""
HTTP/1 request parser: waitress parses, after checks that rule out other readings.

A request that another parser could delimit differently is refused (request smuggling), and
nothing behind it is read. Work and memory per received byte are bounded.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import Error, ServerNotImplemented

from gateway.server.http.chunked_body import FIELD_LINE, FRAMING, INVALID, ChunkedBody
from gateway.server.http.parser_errors import (
    ExpectationFailed,
    Refused,
    VersionNotSupported,
    bad_request,
    body_too_large,
    head_too_large,
    invalid_bytes,
    request_line_too_long,
    too_many_headers,
)

#: RFC 9112 recommends at least 8,000.
MAX_REQUEST_LINE_BYTES = 8_192
MAX_HEADERS = 100

_END_OF_HEAD = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_HOST = r"(?:[-A-Za-z0-9._~!$&'()*+;=%]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?"
_IS_HOST = re.compile(f"(?:{_HOST})?")
_IS_ABSOLUTE = re.compile(rf"(?i:https?)://{_HOST}(?:[/?][^#]*)?")
_ARE_FIELD_LINES = re.compile(b"(?:" + FIELD_LINE + b")*+")
_BAD_TARGET = "the request target is malformed; send a path such as /orders?a=1"
_IS_LENGTH = re.compile(rb"[0-9]{1,18}")

#: Called with the headers as waitress names them, such as ``AUTHORIZATION``.
ReadsBody = Callable[[Mapping[str, str]], bool]


def _do_nothing() -> None:
    """Let a request without a slot be answered."""


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """
    One request that is being received.

    Unlike waitress's, it takes a body of exactly max_request_body_size bytes, and reads all data
    after an error, so that nothing behind the request is taken for another one.

    Args:
        adj: waitress's settings.
        reads_body: whether to read the body that a request with these headers announces.
    """

    #: Whether a body was announced that is not read; the connection closes with the response.
    body_unread = False
    command = request_uri = path = query = fragment = ""
    version = "1.1"
    #: When it was complete (monotonic clock).
    complete_s = 0.0
    #: Whether it had to wait for a slot, and whether it has one.
    was_queued = has_slot = False
    body_rcv: Any = None

    def __init__(self, adj: Any, reads_body: ReadsBody = lambda headers: True) -> None:
        super().__init__(adj)
        self._reads_body = reads_body
        #: Called when its response is written.
        self.on_answered: Callable[[], None] = _do_nothing
        self._head = bytearray()
        self._lines = 0  # in _head
        self._may_skip_line = True

    @property
    def head_complete(self) -> bool:
        """Whether the head was received."""
        return bool(self.headers_finished)

    @property
    def received_bytes(self) -> int:
        """Size of what this request holds in memory; 0 before its first byte."""
        received_bytes = len(self._head) + int(self.header_bytes_received)
        if self.body_rcv is not None:
            received_bytes += len(self.body_rcv.getbuf())
            received_bytes += len(self.body_rcv.control_line) if self.chunked else 0
        return received_bytes

    def waited_s(self) -> float:
        """Return how long it has waited for a slot, in seconds; 0 if it did not have to."""
        return time.monotonic() - self.complete_s if self.was_queued else 0.0

    def refuse(self, error: Error) -> None:
        """End this request with *error*, and drop what was received of it."""
        self.error = error
        self.completed = self.connection_close = True
        self.expect_continue = False  # the channel would send 100 Continue and read on
        self.body_rcv = None
        self._head = bytearray()

    def received(self, data: bytes) -> int:
        """Add received *data*; return the number of bytes that belong to this request."""
        if self.completed:
            return 0
        rest = data
        try:
            if not self.headers_finished:
                rest = self._receive_head(data)
            if rest and self.body_rcv is not None:
                rest = rest[self._receive_body(rest) :]
            elif self.body_unread:
                rest = b""
        except Refused as refused:
            self.refuse(refused.error)
            rest = b""
        return len(data) - len(rest)

    def _receive_head(self, data: bytes) -> bytes:
        """Add *data* to the head; return what follows the head."""
        head = self._head
        searched = max(0, len(head) - len(_END_OF_HEAD) + 1)
        added = len(head)
        head += data
        if self._may_skip_line and len(head) > 1:
            # RFC 9112, section 2.2: some clients send an empty line behind a body.
            self._may_skip_line = False
            if head.startswith(b"\r\n"):
                del head[:2]
                searched = added = 0
        end = head.find(_END_OF_HEAD, searched) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            self._check_unfinished_head(added)
            return b""
        rest = bytes(head[end:])
        del head[end:]
        self._head = bytearray()
        self._finish_head(bytes(head))
        return rest

    def _check_unfinished_head(self, added: int) -> None:
        """Refuse a head that is invalid or too long already; it is new from *added* on."""
        head = self._head
        self._lines += head.count(b"\n", added)
        if not self._lines and len(head) > MAX_REQUEST_LINE_BYTES + 1:
            raise request_line_too_long(MAX_REQUEST_LINE_BYTES)
        if len(head) > self.adj.max_request_header_size:
            raise head_too_large(self.adj.max_request_header_size)
        if self._lines > MAX_HEADERS + 1:
            raise too_many_headers(MAX_HEADERS)
        if head.startswith(b"\r\n"):
            raise bad_request("there are empty lines in front of the request; send at most one")
        if INVALID.search(head, max(0, added - 1)):
            raise invalid_bytes()

    def _finish_head(self, head: bytes) -> None:
        self.headers_finished = True
        if len(head) > self.adj.max_request_header_size:
            raise head_too_large(self.adj.max_request_header_size)
        self.parse_header(head)
        self.header_bytes_received = len(head)
        if self.content_length > self.adj.max_request_body_size:
            raise body_too_large(self.adj.max_request_body_size)
        if self.chunked:
            self.body_rcv = ChunkedBody(self.body_rcv.getbuf(), self.adj.max_request_body_size)
        if self.body_rcv is None:
            self.completed = True
            self.expect_continue = False
        elif not self._reads_body(self.headers):
            self.body_rcv = None
            self.body_unread = self.completed = self.connection_close = True
            self.expect_continue = False

    def _receive_body(self, data: bytes) -> int:
        """Add *data* to the body; return the number of bytes that belong to it."""
        self.expect_continue = False  # the client sends the body without waiting
        body = self.body_rcv
        consumed: int = body.received(data)
        self.body_bytes_received += consumed
        if body.completed:
            self.completed = True
            if self.chunked:
                self.headers["CONTENT_LENGTH"] = str(len(body))
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the head; raise Refused unless every parser reads it the same way."""
        line, _, fields = header_plus[: -len(b"\r\n")].partition(b"\r\n")
        self._check_request_line(line)
        if fields.count(b"\n") > MAX_HEADERS:
            raise too_many_headers(MAX_HEADERS)
        if not _ARE_FIELD_LINES.fullmatch(fields):
            if INVALID.search(fields):
                raise invalid_bytes()
            raise bad_request(
                "a header line is malformed; send a name, a colon and a value in one line"
            )
        lower = b"\n" + fields.lower()
        if b"\ncontent-length:" in lower or b"\ntransfer-encoding:" in lower:
            self._check_framing(FRAMING.findall(lower))
        if b"  " in fields or b"\t" in fields or lower.count(b"\ncookie:") > 1:
            fields = _simplified(fields)
        try:
            super().parse_header(line + b"\r\n" + fields)
        except (ParsingError, ValueError) as error:
            raise bad_request(_BAD_TARGET) from error
        self._check_host()
        self._check_expect()
        self._read_connection()

    def _check_request_line(self, line: bytes) -> None:
        if len(line) > MAX_REQUEST_LINE_BYTES:
            raise request_line_too_long(MAX_REQUEST_LINE_BYTES)
        found = _REQUEST_LINE.fullmatch(line)
        if not found:
            raise bad_request(
                "the request line is malformed; send a method in capital letters, a target and "
                "HTTP/1.1, with one space between them"
            )
        self.command, self.request_uri, version = (part.decode("ascii") for part in found.groups())
        if version not in ("1.0", "1.1"):
            raise Refused(VersionNotSupported(f"HTTP/{version} is not supported; use HTTP/1.1"))
        self.version = version
        target = self.request_uri
        if self.command == "CONNECT":
            raise Refused(ServerNotImplemented("CONNECT is not supported; use another method"))
        if (target.startswith("/") and "#" not in target) or _IS_ABSOLUTE.fullmatch(target):
            return
        if target != "*" or self.command != "OPTIONS":
            raise bad_request(_BAD_TARGET)

    def _check_framing(self, found: list[tuple[bytes, bytes]]) -> None:
        """Refuse lengths and codings that leave in doubt where the request ends."""
        lengths = [value.rstrip(b" \t") for name, value in found if name == b"content-length"]
        codings = [value.rstrip(b" \t") for name, value in found if name == b"transfer-encoding"]
        if codings and lengths:
            raise bad_request("there are Content-Length and Transfer-Encoding; send one of them")
        if codings:
            self._check_codings(b",".join(codings))
        elif len(lengths) != 1 or not _IS_LENGTH.fullmatch(lengths[0]):
            raise bad_request("the Content-Length is malformed; send one number of decimal digits")

    def _check_codings(self, codings: bytes) -> None:
        if self.version == "1.0":
            raise bad_request(
                "HTTP/1.0 has no Transfer-Encoding; send Content-Length or use HTTP/1.1"
            )
        if codings == b"chunked":
            return
        names = [name.strip(b" \t") for name in codings.split(b",")]
        if b"" in names or b"chunked" in names[:-1]:
            raise bad_request("the Transfer-Encoding is malformed; send chunked alone")
        raise Refused(
            ServerNotImplemented("the Transfer-Encoding is not supported; send chunked alone")
        )

    def _check_host(self) -> None:
        host = self.headers.get("HOST")
        if host is None and self.version == "1.1":
            raise bad_request("there is no Host header; send one")
        if host is not None and not _IS_HOST.fullmatch(host):
            raise bad_request("the Host header is malformed or sent twice; send one host and port")
        if self.proxy_netloc and not self.request_uri.startswith("/"):
            self.headers["HOST"] = self.proxy_netloc  # RFC 9112, section 3.2.2

    def _check_expect(self) -> None:
        if self.headers.get("EXPECT", "100-continue").lower() != "100-continue":
            raise Refused(
                ExpectationFailed("Expect has an unknown value; send 100-continue or no Expect")
            )

    def _read_connection(self) -> None:
        """Recognize "close" and "keep-alive" in a list, which waitress does not."""
        value = self.headers.get("CONNECTION", "")
        if "," not in value:
            return
        options = {option.strip(" \t").lower() for option in value.split(",")}
        kept = self.version == "1.1" or "keep-alive" in options
        self.connection_close = "close" in options or not kept
        self.headers["CONNECTION"] = "close" if self.connection_close else "keep-alive"


def _simplified(fields: bytes) -> bytes:
    """
    Return header lines with no blanks around values, and one Cookie.

    waitress's work grows with the square of a run of blanks, and it joins cookies with commas.
    """
    lines, cookies = [], []
    for line in fields.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        if name.lower() == b"cookie":
            cookies.append(value.strip(b" \t"))
        else:
            lines.append(name + b":" + value.strip(b" \t"))
    if cookies:
        lines.append(b"Cookie:" + b"; ".join(cookies))
    return b"".join(line + b"\r\n" for line in lines)
