"""
Finds the end of an HTTP request while it is received.

Only the end is checked, and strictly: if two parsers could find different ends, the request is
AMBIGUOUS. gunicorn's parser gets it with nothing behind it, so that no second request can be hidden
in it (request smuggling).
"""

from enum import Enum, auto
from typing import Protocol

MAX_HEAD_BYTES = 65_536
#: gunicorn's limit for the line with the size of a chunk.
MAX_CHUNK_LINE_BYTES = 8_190
#: Maximum size of chunk framing, as a multiple of the body: a chunk of one byte has five others.
MAX_FRAMING_FACTOR = 8
_END_OF_HEAD = b"\r\n\r\n"
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Verdict(Enum):
    """What has been received of a request."""

    PART = auto()
    WHOLE = auto()
    AMBIGUOUS = auto()  # its end is uncertain; gunicorn's parser refuses most of these
    HEAD_TOO_LARGE = auto()
    BODY_TOO_LARGE = auto()


#: No more data can change these: the request goes to gunicorn's parser.
COMPLETE_VERDICTS = (Verdict.WHOLE, Verdict.AMBIGUOUS)


class Intake:
    """One request that is being received."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._head = b""
        self._body: _Body | None = None
        #: Whether the client sends the body only after "100 Continue".
        self.expects_continue = False

    @property
    def begun(self) -> bool:
        """Whether its first byte has been received."""
        return self._head != b""

    @property
    def in_body(self) -> bool:
        """Whether the head is complete."""
        return self._body is not None

    @property
    def is_sized(self) -> bool:
        """Whether the body has a Content-Length, so that it needs no decoding."""
        return isinstance(self._body, _Sized)

    def feed(self, data: bytes) -> Verdict:
        """Add received *data*; to be called until the verdict is not PART."""
        if self._body is not None:
            return self._body.feed(data)
        searched = max(0, len(self._head) - len(_END_OF_HEAD) + 1)
        head = self._head = self._head + data
        end = head.find(_END_OF_HEAD, searched) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            return _unfinished_head(head)
        if end > MAX_HEAD_BYTES:
            return Verdict.HEAD_TOO_LARGE
        self._head, rest = head[:end], head[end:]
        return self._begin_body(rest)

    def take(self) -> tuple[list[bytes], bytes]:
        """Return head and body of the request, and what follows it."""
        if self._body is None:
            return [self._head], b""
        body, rest = self._body.take()
        return [self._head, body] if body else [self._head], rest

    def _begin_body(self, rest: bytes) -> Verdict:
        head = self._head.lower()
        if b"\ncontent-length" not in head and b"\ntransfer-encoding" not in head:
            self._body = _Sized(0)
            return self._body.feed(rest)
        values = _values(head)
        lengths, codings = values[b"content-length"], values[b"transfer-encoding"]
        self.expects_continue = values[b"expect"] == [b"100-continue"]
        self._body = _Unreadable()
        if codings == [b"chunked"] and not lengths:
            self._body = _Chunked(self._max_body_bytes)
        elif not codings and len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) < 19:
            if int(lengths[0]) > self._max_body_bytes:
                return Verdict.BODY_TOO_LARGE
            self._body = _Sized(int(lengths[0]))
        return self._body.feed(rest)


def _unfinished_head(head: bytes) -> Verdict:
    if len(head) > MAX_HEAD_BYTES:
        return Verdict.HEAD_TOO_LARGE
    # The end of a head with bare line feeds would never be found.
    return Verdict.PART if head.count(b"\n") == head.count(b"\r\n") else Verdict.AMBIGUOUS


def _values(head: bytes) -> dict[bytes, list[bytes]]:
    """Return the values of the headers about the body in a lower-case *head*."""
    found: dict[bytes, list[bytes]] = {
        b"content-length": [],
        b"transfer-encoding": [],
        b"expect": [],
    }
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key in found:
            found[key].append(value.strip(b" \t"))
    return found


class _Body(Protocol):
    def feed(self, data: bytes) -> Verdict:
        """Add received *data*."""

    def take(self) -> tuple[bytes, bytes]:
        """Return the body as it was sent, and what follows it."""


class _Sized:
    """A body of known size."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._parts: list[bytes] = []
        self._missing = size

    def feed(self, data: bytes) -> Verdict:
        self._parts.append(data)
        self._missing -= len(data)
        return Verdict.PART if self._missing > 0 else Verdict.WHOLE

    def take(self) -> tuple[bytes, bytes]:
        raw = b"".join(self._parts)
        return raw[: self._size], raw[self._size :]


class _Chunked:
    """A body in chunks, the last of them empty, and trailers."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._max_framing_bytes = max_body_bytes * MAX_FRAMING_FACTOR + MAX_HEAD_BYTES
        self._raw = bytearray()
        self._body_bytes = 0
        self._at = 0  # read up to here
        self._chunk_end = 0  # of the current chunk, with its CRLF; 0 between chunks
        self._trailers_at: int | None = None
        self._end = 0

    def feed(self, data: bytes) -> Verdict:
        searched = max(0, len(self._raw) - len(_END_OF_HEAD) + 1)
        self._raw += data
        while self._trailers_at is None:
            verdict = self._read_data() if self._chunk_end else self._read_size()
            if verdict is not None:
                return verdict
        return self._read_trailers(self._trailers_at, searched)

    def take(self) -> tuple[bytes, bytes]:
        end = self._end or len(self._raw)
        return bytes(self._raw[:end]), bytes(self._raw[end:])

    def _read_size(self) -> Verdict | None:
        end = self._raw.find(b"\r\n", self._at)
        if end < 0:
            too_long = len(self._raw) - self._at > MAX_CHUNK_LINE_BYTES
            return Verdict.AMBIGUOUS if too_long else Verdict.PART
        digits, extended, _ = bytes(self._raw[self._at : end]).partition(b";")
        digits = digits.rstrip(b" \t") if extended else digits
        if not 0 < len(digits) < 16 or not _HEX.issuperset(digits):
            return Verdict.AMBIGUOUS
        size, self._at = int(digits, 16), end + 2
        self._body_bytes += size
        framing_bytes = self._at - self._body_bytes
        if self._body_bytes > self._max_body_bytes or framing_bytes > self._max_framing_bytes:
            return Verdict.BODY_TOO_LARGE
        if size:
            self._chunk_end = self._at + size + 2
        else:
            self._trailers_at = self._at
        return None

    def _read_data(self) -> Verdict | None:
        end = self._chunk_end
        if len(self._raw) < end:
            return Verdict.PART
        if self._raw[end - 2 : end] != b"\r\n":
            return Verdict.AMBIGUOUS
        self._at, self._chunk_end = end, 0
        return None

    def _read_trailers(self, start: int, searched: int) -> Verdict:
        if self._raw.startswith(b"\r\n", start):
            self._end = start + 2
            return Verdict.WHOLE
        end = self._raw.find(_END_OF_HEAD, max(start, searched))
        if end < 0:
            too_long = len(self._raw) - start > MAX_HEAD_BYTES
            return Verdict.AMBIGUOUS if too_long else Verdict.PART
        self._end = end + len(_END_OF_HEAD)
        return Verdict.WHOLE


class _Unreadable:
    """A body whose end is uncertain."""

    def __init__(self) -> None:
        self._raw = b""

    def feed(self, data: bytes) -> Verdict:
        self._raw += data
        return Verdict.AMBIGUOUS

    def take(self) -> tuple[bytes, bytes]:
        return self._raw, b""
