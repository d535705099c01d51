"""The end of a request is found in pieces of any size."""

import pytest

from gateway.server import framing
from gateway.server.framing import MAX_HEAD_BYTES, Intake, Verdict

LIMIT = 20
HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
SIZED = HEAD + b"Content-Length: 5\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

WHOLE = {
    "no body": (b"GET / HTTP/1.1\r\n\r\n", b""),
    "an empty line in front": (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    "a length": (SIZED, b"hello"),
    "a length of nothing": (HEAD + b"Content-Length: 0\r\n\r\n", b""),
    "names in any case": (HEAD + b"cOnTeNt-LeNgTh:5\r\n\r\n", b"hello"),
    "a name that contains it": (HEAD + b"X-Content-Length: 5\r\n\r\n", b""),
    "a value that contains it": (HEAD + b"X: transfer-encoding: chunked\r\n\r\n", b""),
    "a target that contains it": (b"GET /?content-length: 5 HTTP/1.1\r\n\r\n", b""),
    "the longest body": (HEAD + b"Content-Length: 20\r\n\r\n", b"x" * LIMIT),
    "a body like the end of a head": (HEAD + b"Content-Length: 8\r\n\r\n", b"\r\n\r\n\r\n\r\n"),
    "no chunk": (CHUNKED, b"0\r\n\r\n"),
    "one chunk": (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"),
    "chunks": (CHUNKED, b"2\r\nhe\r\n003\r\nllo\r\n00\r\n\r\n"),
    "a chunk that contains a last chunk": (CHUNKED, b"a\r\n\r\n0\r\n\r\n\r\n0\r\n0\r\n\r\n"),
    "extensions": (CHUNKED, b'5 ;a="b";c\r\nhello\r\n0;x=y\r\n\r\n'),
    "trailers": (CHUNKED, b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"),
    "capital digits": (CHUNKED, b"A\r\n" + b"x" * 10 + b"\r\n0\r\n\r\n"),
    "the longest body in chunks": (CHUNKED, b"a\r\n0123456789\r\n" * 2 + b"0\r\n\r\n"),
}
AMBIGUOUS = {
    "both framings": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "no length at all": HEAD + b"Content-Length:\r\n\r\nhello",
    "digits of another script": HEAD + "Content-Length: \xb2\r\n\r\nhe".encode("latin-1"),
    "a huge length": HEAD + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\nhello",
    "another coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "two codings": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "nearly chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "a chunk size with a sign": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a prefix": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a space": CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n",
    "a chunk size with an underscore": CHUNKED + b"1_0\r\nhello\r\n0\r\n\r\n",
    "no chunk size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
    "a chunk with a bare line feed": CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "a huge chunk size": CHUNKED + b"f" * 16 + b"\r\n",
    "an endless chunk size line": CHUNKED + b"1;" + b"x" * 9_000,
    "endless trailers": CHUNKED + b"0\r\nX: " + b"x" * MAX_HEAD_BYTES,
}


def feed(data: bytes, step: int):
    """Return the intake, its verdict on *data* in pieces of *step* bytes, and what it read."""
    found = Intake(LIMIT)
    for at in range(0, len(data), step):
        verdict = found.feed(data[at : at + step])
        if verdict is not Verdict.PART:
            return found, verdict, at + step
    return found, Verdict.PART, len(data)


@pytest.mark.parametrize("name", WHOLE)
def test_a_request_is_whole_at_its_last_byte(name):
    head, body = WHOLE[name]
    data = head + body

    for cut in range(1, len(data)):
        found = Intake(LIMIT)
        assert found.feed(data[:cut]) is Verdict.PART, data[:cut]
        assert found.feed(data[cut:]) is Verdict.WHOLE, data[:cut]
        assert found.take() == ([head, body] if body else [head], b"")


@pytest.mark.parametrize("step", [1, 2, 3, 7])
@pytest.mark.parametrize("name", WHOLE)
def test_the_number_of_pieces_does_not_matter(name, step):
    head, body = WHOLE[name]

    found, verdict, _ = feed(head + body, step)

    assert verdict is Verdict.WHOLE
    assert found.take() == ([head, body] if body else [head], b"")


@pytest.mark.parametrize("name", WHOLE)
def test_data_after_a_request_is_kept_for_the_next_one(name):
    head, body = WHOLE[name]
    behind = b"GET /next HTTP/1.1\r\n"

    found, verdict, _ = feed(head + body + behind, 10_000)

    assert verdict is Verdict.WHOLE
    assert found.take() == ([head, body] if body else [head], behind)


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_request_with_an_uncertain_end_is_left_to_the_parser(name, step):
    found, verdict, read = feed(AMBIGUOUS[name], step)
    request, behind = found.take()

    assert verdict is Verdict.AMBIGUOUS
    assert b"".join(request) == AMBIGUOUS[name][:read]
    assert behind == b""


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 21\r\n\r\n",
        CHUNKED + b"15\r\n",
        CHUNKED + b"a\r\n0123456789\r\nb\r\n",
        CHUNKED + b"fffffff\r\n",
    ],
)
def test_a_body_over_the_limit_is_refused_before_it_is_received(data, step):
    assert feed(data, step)[1:] == (Verdict.BODY_TOO_LARGE, max(len(data), step))


def test_chunk_framing_has_a_limit(monkeypatch):
    monkeypatch.setattr(framing, "MAX_HEAD_BYTES", 500)
    chunk = b"1;" + b"x" * 100 + b"\r\ny\r\n"

    assert feed(CHUNKED + chunk * LIMIT, 10)[1] is Verdict.BODY_TOO_LARGE
    assert feed(CHUNKED + b"1\r\ny\r\n" * LIMIT + b"0\r\n\r\n", 10)[1] is Verdict.WHOLE


@pytest.mark.parametrize("step", [997, 1_000_000])
def test_a_head_has_a_limit(step):
    start, end = b"GET / HTTP/1.1\r\nX: ", b"\r\n\r\n"
    longest = start + b"x" * (MAX_HEAD_BYTES - len(start) - len(end)) + end

    assert feed(longest, step)[1] is Verdict.WHOLE
    assert feed(longest[:-4] + b"x" + end, step)[1] is Verdict.HEAD_TOO_LARGE
    assert feed(longest[:-4] + b"x" * 10_000, step)[1] is Verdict.HEAD_TOO_LARGE


@pytest.mark.parametrize(
    ("header", "expects"),
    [(b"Expect: 100-continue", True), (b"expect:100-CONTINUE", True), (b"Expected: no", False)],
)
def test_expect_100_continue_is_recognised(header, expects):
    found = Intake(LIMIT)
    verdict = found.feed(SIZED[:-2] + header + b"\r\n\r\n")

    assert (verdict, found.expects_continue) == (Verdict.PART, expects)


def test_an_intake_reports_whether_the_head_is_complete():
    found = Intake(LIMIT)
    stages = [(found.begun, found.in_body)]
    for data in (SIZED[:30], SIZED[30:], b"hel"):
        found.feed(data)
        stages.append((found.begun, found.in_body))

    assert stages == [(False, False), (True, False), (True, True), (True, True)]


def test_an_incomplete_request_can_be_taken():
    assert [feed(data, 1)[0].take()[0] for data in (SIZED + b"hel", CHUNKED + b"5\r\nhel")] == [
        [SIZED, b"hel"],
        [CHUNKED, b"5\r\nhel"],
    ]
    assert feed(HEAD, 1)[0].take()[0] == [HEAD]
