"""Requests are parsed in pieces of any size; those with more than one reading are refused."""

import pytest
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.utilities import BadRequest

from gateway.server.http import chunked_body, parser
from gateway.server.http.parser import RequestParser
from tests.support.counting import CountingBytearray, CountingPattern
from tests.unit.gateway.server.http.parser_requests import (
    ACCEPTED,
    BEHIND,
    CHUNKED,
    MAX_HEAD_BYTES,
    POST,
    REFUSED,
    get,
    length,
    target,
)

MAX_BODY_BYTES = 20


def new_parser(max_body_bytes: int = MAX_BODY_BYTES, cls: type[RequestParser] = RequestParser):
    return cls(
        Adjustments(
            max_request_header_size=MAX_HEAD_BYTES,
            max_request_body_size=max_body_bytes,
            inbuf_overflow=max_body_bytes + 1,
        )
    )


def feed(data: bytes, step: int = 1_000_000, **options):
    """Return a parser that received *data* in pieces of *step* bytes, and what it consumed."""
    found = new_parser(**options)
    consumed = 0
    for at in range(0, len(data), step):
        if found.completed:
            break
        consumed += found.received(data[at : at + step])
    return found, consumed


@pytest.mark.parametrize("step", [1, 2, 3, 1_000_000])
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_request_ends_at_its_last_byte(name, step):
    sent, body = ACCEPTED[name]

    found, consumed = feed(sent, step)

    assert (found.error, found.completed, consumed) == (None, True, len(sent))
    assert found.get_body_stream().read() == body
    assert not new_parser().received(sent[:-1]) < len(sent) - 1
    assert feed(sent[:-1])[0].completed is False


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_follows_a_request_is_left_for_the_next_one(name):
    sent, _ = ACCEPTED[name]

    assert feed(sent + BEHIND)[1] == len(sent)


@pytest.mark.parametrize("step", [1, 2, 1_000_000])
@pytest.mark.parametrize("name", REFUSED)
def test_a_request_with_more_than_one_reading_is_refused(name, step):
    sent, status = REFUSED[name]

    found, _ = feed(sent, step)

    assert found.completed
    assert found.error.code == status, found.error.body
    assert ";" in found.error.body
    assert not found.expect_continue


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_behind_a_refused_request_is_parsed(name):
    sent, _ = REFUSED[name]

    found, consumed = feed(sent + BEHIND)

    assert consumed == len(sent + BEHIND)
    assert found.received(BEHIND) == 0
    assert found.received_bytes < MAX_HEAD_BYTES


def test_a_refused_request_is_described_as_far_as_it_was_read():
    found, _ = feed(b"HEAD /a HTTP/1.0\r\nHost: a@b\r\n\r\n")
    unread, _ = feed(b"\x16\x03")

    assert (found.command, found.request_uri, found.version) == ("HEAD", "/a", "1.0")
    assert (unread.command, unread.path, unread.version) == ("", "", "1.1")


def test_headers_that_are_sent_twice_are_joined():
    found, _ = feed(get(b"cookie: a=1\r\nCookie:  b=2 \r\nX: 1\r\nX:\t2"))

    assert found.headers == {"HOST": "x", "X": "1, 2", "COOKIE": "a=1; b=2"}


def test_the_host_of_an_absolute_target_counts():
    found, _ = feed(target(b"http://other:81/a?b"))

    assert (found.headers["HOST"], found.path, found.query) == ("other:81", "/a", "b")


@pytest.mark.parametrize(
    ("version", "value", "closes"),
    [
        (b"1.1", b"close", True),
        (b"1.1", b"TE, Close", True),
        (b"1.1", b"keep-alive, te", False),
        (b"1.0", b"te, keep-alive", False),
        (b"1.0", b"te, x", True),
    ],
)
def test_connection_options_are_found_in_a_list(version, value, closes):
    found, _ = feed(b"GET / HTTP/" + version + b"\r\nHost: x\r\nConnection: " + value + b"\r\n\r\n")

    assert found.connection_close is closes
    assert found.headers["CONNECTION"].lower() == ("close" if closes else "keep-alive")


@pytest.mark.parametrize(
    ("sent", "waits"),
    [
        (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", True),
        (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nh", False),
        (POST + b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", False),
        (POST + b"Expect: 100-continue\r\nContent-Length: 21\r\n\r\n", False),
        (POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", False),
    ],
)
def test_100_continue_is_due_only_while_a_body_is_awaited(sent, waits):
    assert feed(sent)[0].expect_continue is waits


class NoKey(RequestParser):
    """Reads no bodies."""

    def __init__(self, adj):
        super().__init__(adj, lambda headers: "AUTHORIZATION" in headers)


def test_a_body_that_is_not_wanted_is_not_read():
    head = length(b"5")[:-5]

    assert not feed(head[:-1], cls=NoKey)[0].completed
    for sent in (head, length(b"5") + BEHIND, CHUNKED):
        found, consumed = feed(sent, cls=NoKey)
        assert (found.completed, found.error, consumed) == (True, None, len(sent))
        assert found.body_unread
        assert found.connection_close
        assert found.get_body_stream().read() == b""
    assert not feed(target(b"/"), cls=NoKey)[0].body_unread
    with_key = POST + b"Authorization: x\r\nContent-Length: 5\r\n\r\nhello"
    assert not feed(with_key, cls=NoKey)[0].body_unread


def test_the_bytes_in_memory_are_counted():
    head = length(b"5")[:-5]
    found = new_parser()
    counts = []
    for part in (b"\r\n", head[:7], head[7:], b"hel"):
        counts.append((found.received_bytes, found.head_complete))
        found.received(part)

    assert counts == [(0, False), (0, False), (7, False), (len(head), True)]
    assert found.received_bytes == len(head) + 3
    found.refuse(BadRequest("too slow; send faster"))
    assert found.completed
    assert found.received(b"lo") == 0


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_the_largest_body_stays_in_memory(framing):
    body = b"x" * 700_000
    head, sent = {
        "length": (POST + b"Content-Length: 700000\r\n\r\n", body),
        "chunks": (CHUNKED, b"aae60\r\n" + body + b"\r\n0\r\n\r\n"),
    }[framing]

    found, _ = feed(head + sent, 8_192, max_body_bytes=len(body))

    assert found.completed
    assert found.get_body_stream().read() == body
    assert not found.body_rcv.getbuf().overflowed


@pytest.mark.parametrize(
    "sent",
    [
        get(b"\r\n".join(b"X-%d: %s" % (n, b"y" * 500) for n in range(90))),
        target(b"/" + b"x" * 8_000),
        CHUNKED + b"1;a=" + b"x" * 8_000 + b"\r\ny\r\n0\r\n" + b"X: y\r\n" * 8_000 + b"\r\n",
        CHUNKED + b"1\r\ny\r\n" * 19 + b"0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_work_is_proportional_to_the_bytes_received(sent, step, monkeypatch):
    touched: list[int] = []
    monkeypatch.setattr(CountingBytearray, "touched", touched)
    for module in (parser, chunked_body):
        monkeypatch.setattr(module, "bytearray", CountingBytearray, raising=False)
        monkeypatch.setattr(module, "INVALID", CountingPattern(module.INVALID, touched))

    found, consumed = feed(sent, step)

    assert (found.error, found.completed, consumed) == (None, True, len(sent))
    assert sum(touched) <= 12 * len(sent)


@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t"])
def test_a_run_of_blanks_costs_no_more_than_other_bytes(blanks, monkeypatch):
    """waitress's pattern for a header takes the square of a run of blanks in front of a value."""
    parsed: list[bytes] = []
    monkeypatch.setattr(HTTPRequestParser, "parse_header", lambda self, head: parsed.append(head))
    found = new_parser()
    monkeypatch.setattr(found, "_check_host", lambda: None)

    found.received(get(b"X: " + blanks * 8_000 + b"a b" + blanks * 8_000))

    assert parsed[0].count(blanks) <= 3
    assert b"X:a b\r\n" in parsed[0]
