"""Chunked bodies: a strict decoder whose work is linear, for waitress's parser."""

import re
from typing import Any

from waitress.receiver import ChunkedReceiver
from waitress.rfc7230 import CHUNK_EXT, HEXDIG, OBS_TEXT, TCHAR, VCHAR
from waitress.utilities import RequestEntityTooLarge, RequestHeaderFieldsTooLarge

from gateway.server.http.parser_errors import Refused, bad_request, body_too_large, invalid_bytes

#: Maximum size of a line with the size of a chunk.
MAX_CHUNK_LINE_BYTES = 8_192
MAX_TRAILER_BYTES = 65_536
#: Maximum chunk framing: this multiple of the body so far (a chunk of one byte has five others) ...
MAX_FRAMING_FACTOR = 1
#: ... and this number of bytes.
MIN_FRAMING_BYTES = 65_536

#: One header or trailer with its line end.
FIELD_LINE = rf"{TCHAR}++:[\t {VCHAR}{OBS_TEXT}]*+\r\n".encode("latin-1")
IS_FIELD_LINE = re.compile(FIELD_LINE)
#: Headers that say where a request ends, in lower case and behind a line end.
FRAMING = re.compile(rb"\n(content-length|transfer-encoding):[ \t]*+([^\r]*)")
#: A byte that no line contains, or half a line end; more data cannot make it valid.
INVALID = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)|(?<!\r)\n")
_CHUNK_LINE = re.compile(f"({HEXDIG}{{1,15}}){CHUNK_EXT}\r\n".encode("latin-1"))


class ChunkedBody(ChunkedReceiver):  # type: ignore[misc]
    """
    A body in chunks, the last of them empty, and trailers, which are dropped.

    waitress's takes lines with a bare line feed, and its work grows with the square of the input.
    """

    def __init__(self, buf: Any, max_body_bytes: int) -> None:
        super().__init__(buf)
        self._max_body_bytes = max_body_bytes
        self.control_line = bytearray()  # the beginning of a line of the framing
        self._body_bytes = 0
        self._framing_bytes = 0
        self._trailer_bytes = 0

    def received(self, data: bytes) -> int:
        """Decode *data*; return the number of bytes that belong to the body, or raise Refused."""
        at, parts = 0, []
        while at < len(data) and not self.completed:
            if self.chunk_remainder:
                part = data[at : at + self.chunk_remainder]
                parts.append(part)
                at += len(part)
                self.chunk_remainder -= len(part)
                self.validate_chunk_end = not self.chunk_remainder
                continue
            end = data.find(b"\n", at) + 1 or len(data)
            self._receive_line(data[at:end])
            at = end
        self.buf.append(b"".join(parts))
        return at

    def _receive_line(self, part: bytes) -> None:
        """Add *part*, which has a line feed at most at its end, to a line of the framing."""
        if self.control_line or not part.endswith(b"\n"):
            self.control_line += part
            if len(self.control_line) > MAX_CHUNK_LINE_BYTES:
                raise bad_request(
                    f"a line of the chunked body exceeds {MAX_CHUNK_LINE_BYTES} bytes; send less"
                )
            if not part.endswith(b"\n"):
                self._check_unfinished_line(len(self.control_line) - len(part))
                return
            part = bytes(self.control_line)
            self.control_line.clear()
        if self.validate_chunk_end:
            if part != b"\r\n":
                raise bad_request("a chunk is longer than its size; send CRLF behind its data")
            self.validate_chunk_end = False
            self._count_framing(len(part))
        elif self.all_chunks_received:
            self._read_trailer(part)
        else:
            self._read_size(part)
            self._count_framing(len(part))

    def _check_unfinished_line(self, added: int) -> None:
        """Refuse a line that is invalid already; it is new from *added* on."""
        if self.validate_chunk_end and self.control_line != b"\r":
            raise bad_request("a chunk is longer than its size; send CRLF behind its data")
        if INVALID.search(self.control_line, max(0, added - 1)):
            raise invalid_bytes()

    def _read_size(self, line: bytes) -> None:
        found = _CHUNK_LINE.fullmatch(line)
        if not found:
            raise bad_request("the size of a chunk is malformed; send hexadecimal digits and CRLF")
        self.chunk_remainder = int(found[1], 16)
        self.all_chunks_received = not self.chunk_remainder
        self._body_bytes += self.chunk_remainder
        if self._body_bytes > self._max_body_bytes:
            raise body_too_large(self._max_body_bytes)

    def _read_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_TRAILER_BYTES:
            raise Refused(
                RequestHeaderFieldsTooLarge(
                    f"the trailers exceed {MAX_TRAILER_BYTES} bytes; send less"
                )
            )
        if line == b"\r\n":
            self.completed = True
        elif not IS_FIELD_LINE.fullmatch(line) or FRAMING.match(b"\n" + line.lower()):
            raise bad_request("a trailer is malformed or may not be one; send it as a header")

    def _count_framing(self, added: int) -> None:
        self._framing_bytes += added
        received_bytes = self._body_bytes - self.chunk_remainder
        if self._framing_bytes > received_bytes * MAX_FRAMING_FACTOR + MIN_FRAMING_BYTES:
            raise Refused(
                RequestEntityTooLarge(
                    "the lines between the chunks are much larger than the body; "
                    "send larger chunks or Content-Length"
                )
            )
