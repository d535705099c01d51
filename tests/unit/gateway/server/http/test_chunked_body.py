"""Chunked bodies are decoded strictly, and their framing has limits."""

import pytest

from gateway.server.http import chunked_body
from gateway.server.http.chunked_body import MAX_CHUNK_LINE_BYTES
from tests.unit.gateway.server.http.parser_requests import BEHIND, CHUNKED
from tests.unit.gateway.server.http.test_parser import feed

LONG_EXTENSION = b";a=" + b"x" * (MAX_CHUNK_LINE_BYTES - 6)
DECODED = {
    "no chunk": (b"0\r\n\r\n", b""),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "chunks": (b"2\r\nhe\r\n003\r\nllo\r\n00\r\n\r\n", b"hello"),
    "a chunk that contains a last chunk": (
        b"a\r\n\r\n0\r\n\r\n\r\n0\r\n0\r\n\r\n", b"\r\n0\r\n\r\n\r\n0"),
    "capital digits": (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    "extensions": (b'5;a=b;c="d;\\" e"\r\nhello\r\n0;x\r\n\r\n', b"hello"),
    "a long extension": (b"5" + LONG_EXTENSION + b"\r\nhello\r\n0\r\n\r\n", b"hello"),
    "trailers": (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n", b"hello"),
    "the longest body": (b"a\r\n0123456789\r\n" * 2 + b"0\r\n\r\n", b"0123456789" * 2),
}  # fmt: skip
REFUSED = {
    "a size with a sign": (b"+5\r\nhello\r\n0\r\n\r\n", 400),
    "a negative size": (b"-5\r\nhello\r\n0\r\n\r\n", 400),
    "a size with a prefix": (b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    "a size with an underscore": (b"1_0\r\nhello\r\n0\r\n\r\n", 400),
    "a size with a blank behind": (b"5 \r\nhello\r\n0\r\n\r\n", 400),
    "a size with a blank before": (b" 5\r\nhello\r\n0\r\n\r\n", 400),
    "a size with a blank and an extension": (b"5 ;a\r\nhello\r\n0\r\n\r\n", 400),
    "a size with a bare LF": (b"5\nhello\r\n0\r\n\r\n", 400),
    "a size with a bare LF before CRLF": (b"5\n\r\nhello\r\n0\r\n\r\n", 400),
    "a size with a bare CR": (b"5\rhello\r\n0\r\n\r\n", 400),
    "a size with CR CR LF": (b"5\r\r\nhello\r\n0\r\n\r\n", 400),
    "no size": (b"\r\nhello\r\n0\r\n\r\n", 400),
    "an empty line between chunks": (b"1\r\na\r\n\r\n1\r\nb\r\n0\r\n\r\n", 400),
    "a size of other letters": (b"zz\r\nhello\r\n0\r\n\r\n", 400),
    "a size of 16 digits": (b"0000000000000005\r\nhello\r\n0\r\n\r\n", 400),
    "a huge size": (b"f" * 15 + b"\r\n", 413),
    "an extension with a bare LF": (b"5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
    "an extension with a bare LF at its end": (b"5;a\n\r\nhello\r\n0\r\n\r\n", 400),
    "an extension with a bare CR": (b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
    "an extension with NUL": (b"5;a=\x00\r\nhello\r\n0\r\n\r\n", 400),
    "an extension without name": (b"5;=a\r\nhello\r\n0\r\n\r\n", 400),
    "an extension with an open quote": (b'5;a="b\r\nhello\r\n0\r\n\r\n', 400),
    "an endless extension": (b"5" + LONG_EXTENSION + b"xx\r\n", 400),
    "an extension without end": (b"5" + LONG_EXTENSION + b"xxx", 400),
    "a chunk longer than its size": (b"4\r\nhello\r\n0\r\n\r\n", 400),
    "a chunk shorter than its size": (b"6\r\nhello\r\n0\r\n\r\n", 400),
    "a chunk with a bare LF behind": (b"5\r\nhello\n0\r\n\r\n", 400),
    "a chunk with a bare CR behind": (b"5\r\nhello\r0\r\n\r\n", 400),
    "a body over the limit": (b"15\r\n", 413),
    "chunks over the limit": (b"a\r\n0123456789\r\nb\r\n", 413),
    "a trailer with a bare LF": (b"0\r\nX: a\nY: b\r\n\r\n", 400),
    "a trailer that ends in a bare LF": (b"0\r\nX: a\n\r\n", 400),
    "a bare LF for trailers": (b"0\r\n\n", 400),
    "a trailer with a bare CR": (b"0\r\nX: a\rY: b\r\n\r\n", 400),
    "a trailer with NUL": (b"0\r\nX: \x00\r\n\r\n", 400),
    "a folded trailer": (b"0\r\nX: a\r\n b\r\n\r\n", 400),
    "a trailer without colon": (b"0\r\nGET / HTTP/1.1\r\n\r\n", 400),
    "a length as trailer": (b"0\r\nContent-Length: 5\r\n\r\n", 400),
    "a coding as trailer": (b"0\r\ntransfer-encoding: chunked\r\n\r\n", 400),
    "a long trailer": (b"0\r\nX: " + b"x" * MAX_CHUNK_LINE_BYTES + b"\r\n", 400),
    "endless trailers": (b"0\r\n" + (b"X: " + b"x" * 1_000 + b"\r\n") * 70, 431),
}  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1_000_000])
@pytest.mark.parametrize("name", DECODED)
def test_a_chunked_body_is_decoded(name, step):
    sent, body = DECODED[name]

    found, consumed = feed(CHUNKED + sent, step)

    assert (found.error, found.completed, consumed) == (None, True, len(CHUNKED + sent))
    assert found.get_body_stream().read() == body
    assert found.headers == {"HOST": "x", "CONTENT_LENGTH": str(len(body))}
    assert feed(CHUNKED + sent + BEHIND)[1] == len(CHUNKED + sent)
    assert not feed(CHUNKED + sent[:-1])[0].completed


@pytest.mark.parametrize("step", [1, 2, 1_000_000])
@pytest.mark.parametrize("name", REFUSED)
def test_chunks_with_more_than_one_reading_are_refused(name, step):
    sent, status = REFUSED[name]

    found, consumed = feed(CHUNKED + sent + BEHIND, step)

    assert found.completed
    assert found.error.code == status, found.error.body
    assert ";" in found.error.body
    assert found.received_bytes < 200
    if step > len(sent):
        assert consumed == len(CHUNKED + sent + BEHIND)


def test_a_body_over_the_limit_is_never_stored():
    found, _ = feed(CHUNKED + b"a\r\n0123456789\r\n")
    stored = found.body_rcv.getbuf()

    found.received(b"b\r\n0123456789a\r\n")

    assert found.error.code == 413
    assert len(stored) <= 10


@pytest.mark.parametrize("step", [1, 10, 1_000_000])
def test_chunk_framing_has_a_limit_that_grows_with_the_body(step, monkeypatch):
    monkeypatch.setattr(chunked_body, "MIN_FRAMING_BYTES", 200)
    chunk = b"1;" + b"x" * 100 + b"\r\ny\r\n"

    assert feed(CHUNKED + chunk * 20, step)[0].error.code == 413
    assert feed(CHUNKED + b"1\r\ny\r\n" * 20 + b"0\r\n\r\n", step)[0].error is None
