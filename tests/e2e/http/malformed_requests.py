"""
Malformed and unusual HTTP requests as bytes, each with the expected status codes.

``()`` means that the connection is closed without a response.
"""

from dataclasses import dataclass

HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@dataclass(frozen=True)
class RawRequest:
    """
    A request and its expected outcome.

    Args:
        sent: the bytes, in one piece.
        responses: status codes of the responses, in order.
        ends: what the client does after sending: "waits" for the response, "half-closes" its side
            and waits, or "leaves" without waiting.
        published: bodies that may reach the topic.
    """

    sent: bytes
    responses: tuple[int, ...] = (400,)
    ends: str = "waits"
    published: tuple[bytes, ...] = ()


def echo(headers: bytes, body: bytes, *responses: int, **options) -> RawRequest:
    """POST /echo with *headers*, which end in CRLF; *responses* defaults to a 400."""
    return RawRequest(HEAD + headers + b"\r\n" + body, responses or (400,), **options)


def chunked(body: bytes, *responses: int, **options) -> RawRequest:
    """POST /echo with *body* as the bytes of the chunked encoding."""
    return echo(b"Transfer-Encoding: chunked\r\n", body, *responses, **options)


def length(value: bytes, *responses: int, **options) -> RawRequest:
    """POST /echo of "hello" with this Content-Length."""
    return echo(b"Content-Length: " + value + b"\r\n", b"hello", *responses, **options)


def target(value: bytes, *responses: int, method: bytes = b"GET") -> RawRequest:
    """A request without body for this request target."""
    line = method + b" " + value + b" HTTP/1.1\r\n"
    return RawRequest(line + b"Host: x\r\nConnection: close\r\n\r\n", responses)


def header(line: bytes, *responses: int) -> RawRequest:
    """GET /livez with this header line."""
    return RawRequest(GET + line + b"\r\nConnection: close\r\n\r\n", responses or (400,))


def orders(body: bytes, *responses: int) -> RawRequest:
    """POST /orders with *body*."""
    head = b"POST /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return RawRequest(head % len(body) + body, responses, published=(body,))


HELLO = (b"hello",)
FIVE = b"5\r\nhello\r\n0\r\n\r\n"

FRAMING = {
    "length and chunked": echo(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", FIVE),
    "chunked and length": echo(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", FIVE),
    "length twice": echo(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
    "two lengths": echo(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
    "list of lengths": length(b"5, 5"),
    "length +5": length(b"+5"),
    "length -5": length(b"-5"),
    "length 0x5": length(b"0x5"),
    "length 5_0": length(b"5_0"),
    "length 5 6": length(b"5 6"),
    "length superscript two": length(b"\xb2"),
    "length empty": length(b""),
    "length with blanks": length(b"  5  ", 200, published=HELLO),
    "length 0005": length(b"0005", 200, published=HELLO),
    "length of 5000 digits": length(b"9" * 5_000),
    "length huge": length(b"9" * 18, 413, ends="half-closes"),
    "chunked with a blank before": echo(b"Transfer-Encoding : chunked\r\n", FIVE),
    "chunked behind a tab": echo(b"Transfer-Encoding:\tchunked\r\n", FIVE, 200, published=HELLO),
    "chunked in capitals": echo(b"Transfer-Encoding: CHUNKED\r\n", FIVE, 200, published=HELLO),
    "chunked twice": echo(b"Transfer-Encoding: chunked\r\n" * 2, FIVE),
    "chunked, chunked": echo(b"Transfer-Encoding: chunked, chunked\r\n", FIVE),
    "identity": echo(b"Transfer-Encoding: identity\r\n", b"hello", 501),
    "identity, chunked": echo(b"Transfer-Encoding: identity, chunked\r\n", FIVE, 501),
    "chunked, identity": echo(b"Transfer-Encoding: chunked, identity\r\n", FIVE),
    "xchunked": echo(b"Transfer-Encoding: xchunked\r\n", FIVE, 501),
    "chunked with a vertical tab": echo(b"Transfer-Encoding: \x0bchunked\r\n", FIVE),
    "chunked on HTTP/1.0": RawRequest(
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + FIVE),
    "chunk of -5": chunked(b"-5\r\nhello\r\n0\r\n\r\n"),
    "chunk of +5": chunked(b"+5\r\nhello\r\n0\r\n\r\n"),
    "chunk of 0x5": chunked(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk of 5_0": chunked(b"5_0\r\nhello\r\n0\r\n\r\n"),
    "chunk without size": chunked(b"\r\nhello\r\n0\r\n\r\n"),
    "chunk of a huge size": chunked(b"F" * 16 + b"\r\nhello", 400, ends="half-closes"),
    "chunk of an endless size": chunked(b"F" * 9_000 + b"\r\nhello", ends="half-closes"),
    "chunk not hexadecimal": chunked(b"zz\r\nhello\r\n0\r\n\r\n"),
    "chunk 0005": chunked(b"0005\r\nhello\r\n0\r\n\r\n", 200, published=HELLO),
    "chunk with extensions": chunked(b'5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n', 200, published=HELLO),
    "chunk with a broken extension": chunked(b"5;=\x00\r\nhello\r\n0\r\n\r\n"),
    "chunk with a bare LF": chunked(b"5\nhello\n0\n\n", ends="half-closes"),
    "chunk longer than its size": chunked(b"3\r\nhello\r\n0\r\n\r\n"),
    "chunks without end": chunked(b"5\r\nhello\r\n", ends="half-closes"),
    "trailers": chunked(b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, published=HELLO),
    "a length as trailer": chunked(b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"),
    "trailers without end": chunked(b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n", ends="half-closes"),
    "half-closed within the body": length(b"50", ends="half-closes"),
    "connection closed within the body": length(b"500", ends="leaves"),
    "half-closed after the request": length(b"5", 200, ends="half-closes", published=HELLO),
    "connection closed after the request": length(b"5", ends="leaves", published=HELLO),
    "a body with GET": RawRequest(
        GET + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", (200,)),
    "garbage after a request": RawRequest(
        GET + b"\r\n" + b"\x00\xff garbage\r\n\r\n", (200, 400)),
    "a request after a request": RawRequest(
        GET + b"\r\n" + GET + b"Connection: close\r\n\r\n", (200, 200)),
    "more body than announced": RawRequest(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello, world\r\n\r\n",
        (200, 400), published=HELLO),
    "an unread body after a 404": RawRequest(
        b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        + GET + b"Connection: close\r\n\r\n", (404, 200)),
}  # fmt: skip

HEADERS = {
    "bare LF": RawRequest(b"GET /livez HTTP/1.1\nHost: x\n\n", ends="half-closes"),
    "one bare LF": header(b"X-A: 1\nX-B: 2"),
    "folded": header(b"X-A: 1\r\n 2"),
    "NUL in a name": header(b"X-\x00A: 1"),
    "CR in a name": header(b"X-\rA: 1"),
    "NUL in a value": header(b"X-A: a\x00b"),
    "CR in a value": header(b"X-A: a\rb"),
    "no name": header(b": 1"),
    "no colon": header(b"X-A"),
    "blank behind a name": header(b"X-A : 1"),
    "underscores": header(b"correlation_id: 1", 200),
    "not ASCII": header(b"X-A: caf\xc3\xa9 \xff", 200),
    "100 headers": header(b"\r\n".join(b"X-%d: 1" % n for n in range(98)), 200),
    "101 headers": header(b"\r\n".join(b"X-%d: 1" % n for n in range(99)), 431),
    "a header of 9 kB": header(b"X-A: " + b"a" * 9_000, 200),
    "headers of 900 kB": RawRequest(
        GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 8_000) for n in range(110)), (431,)),
    "no Host": RawRequest(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "two Hosts": header(b"Host: y"),
    "an invalid Host": RawRequest(
        b"POST /echo HTTP/1.1\r\nHost: [::1:a@b/\\\r\nConnection: close\r\nContent-Length: 5\r\n"
        b"\r\nhello"),
    "Upgrade": header(b"Upgrade: websocket\r\nSec-WebSocket-Version: 13", 200),
    "Upgrade to h2c": header(b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", 200),
    # The body is there already, so that no 100 is needed.
    "Expect 100-continue": echo(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello",
                                200, published=HELLO),
    "Expect something else": header(b"Expect: weird", 417),
    "a content type in UTF-8": echo(b"Content-Type: text/caf\xc3\xa9\r\nContent-Length: 5\r\n",
                                    b"hello", 200, published=HELLO),
    "a content type of 8 kB": echo(
        b"Content-Type: a/" + b"b" * 8_100 + b"\r\nContent-Length: 5\r\n", b"hello", 200,
        published=HELLO),
    "an unknown content encoding": echo(b"Content-Encoding: x\r\nContent-Length: 5\r\n", b"hello",
                                        200, published=HELLO),
    "Connection of everything": RawRequest(
        b"GET /livez HTTP/1.0\r\nHost: x\r\nConnection: host, x-a, \xff\r\n\r\n", (200,)),
    "X-Forwarded-Proto twice": header(
        b"X-Forwarded-Proto: http\r\nX-Forwarded-Protocol: ssl\r\nX-Forwarded-Ssl: on", 200),
}  # fmt: skip

LINES = {
    "HTTP/0.9": RawRequest(b"GET /livez\r\n\r\n", ends="half-closes"),
    "HTTP/1.0 without Host": RawRequest(b"GET /livez HTTP/1.0\r\n\r\n", (200,)),
    "HTTP/1.9": RawRequest(b"GET /livez HTTP/1.9\r\nHost: x\r\nConnection: close\r\n\r\n", (505,)),
    "HTTP/3.0": RawRequest(b"GET /livez HTTP/3.0\r\nHost: x\r\n\r\n", (505,)),
    "HTTP/2 preface": RawRequest(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04", (505,)),
    "a TLS hello": RawRequest(
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", ends="half-closes"),
    "nothing": RawRequest(b"", (), ends="half-closes"),
    "empty lines": RawRequest(b"\r\n\r\n", ends="half-closes"),
    "empty lines before": RawRequest(b"\r\n" + GET + b"Connection: close\r\n\r\n", (200,)),
    "half a request line": RawRequest(b"GET /li", (), ends="half-closes"),
    "half a head": RawRequest(GET, (), ends="half-closes"),
    "a small method": target(b"/livez", 400, method=b"get"),
    "a method of 1000 letters": target(b"/livez", 405, method=b"A" * 1_000),
    "a method with a slash": target(b"/livez", 400, method=b"GE/T"),
    "an unknown method": target(b"/echo", 405, method=b"BREW"),
    "TRACE": target(b"/echo", 405, method=b"TRACE"),
    "CONNECT": target(b"x:443", 501, method=b"CONNECT"),
    "tabs between": RawRequest(b"GET\t/livez\tHTTP/1.1\r\nHost: x\r\n\r\n"),
    "two blanks": RawRequest(b"GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
}  # fmt: skip

TARGETS = {
    "absolute form": target(b"http://other/livez", 200),
    "absolute form with a broken host": target(b"http://[::1/livez", 400),
    "absolute form with a broken port": target(b"http://x:y/livez", 400),
    "authority form": target(b"other:80", 400),
    "asterisk": target(b"*", 400),
    "OPTIONS *": target(b"*", 404, method=b"OPTIONS"),
    "empty": target(b"", 400),
    "broken percents": target(b"/%zz%", 404),
    "percent NUL": target(b"/replies/%00", 404),
    "percent CR LF": target(b"/replies/a%0d%0aSet-Cookie:%20a", 404),
    "not UTF-8": target(b"/replies/%ff%fe", 404),
    "surrogates": target(b"/replies/%ed%a0%80", 404),
    "double slash": target(b"//livez", 200),
    "a host behind double slashes": target(b"//other/livez", 404),
    "dots": target(b"/../../etc/passwd", 404),
    "encoded dots": target(b"/replies/..%2f..%2flivez", 404),
    "bytes over ASCII in the path": target(b"/livez\xc3\xa9", 400),
    "bytes over ASCII in the query": target(b"/livez?\xff", 400),
    "a control character": target(b"/livez\x01", 400),
    "a fragment": target(b"/livez#x", 400),
    "a query of anything": target(b"/livez?%00&&==%zz&a[]=%ff", 200),
    "an unclosed bracket in the query": target(b"/livez?//[", 200),
    "a path of 9 kB": target(b"/" + b"a" * 9_000, 414),
    "an id of 4 kB": target(b"/replies/" + b"a" * 3_900, 404),
    "an id of dots": target(b"/replies/" + b"." * 100, 404),
    "no id": target(b"/replies/", 404),
    "an id with a slash": target(b"/replies/a/b", 404),
    "a forged id": target(b"/replies/0a1b2c3d.1700000000000." + b"A" * 22 + b"." + b"A" * 43, 404),
    "an id, but DELETE": target(b"/replies/x", 404, method=b"DELETE"),
    "an unknown problem type": target(b"/problems/%3Cscript%3E", 404),
}

JSON = {
    "not JSON": orders(b"{", 400),
    "an empty body": orders(b"", 400),
    "nested 200,000 deep": orders(b"[" * 200_000, 400),
    "nested in an order": orders(
        b'{"item": "x", "quantity": 1, "a": ' + b'{"a":' * 100_000, 400),
    "an integer of 5000 digits": orders(b'{"item": "x", "quantity": ' + b"9" * 5_000 + b"}", 400),
    "an integer of 4000 digits": orders(b'{"item": "x", "quantity": ' + b"9" * 4_000 + b"}", 201),
    "a delay of 4000 digits": orders(b'{"delay_s": ' + b"9" * 4_000 + b"}", 422),
    "a delay of 1e400": orders(b'{"delay_s": 1e400}', 422),
    "NaN": orders(b'{"item": "x", "quantity": NaN, "delay_s": NaN}', 422),
    "-Infinity": orders(b'{"item": "x", "quantity": -Infinity}', 422),
    "keys twice": orders(b'{"item": 1, "item": "x", "quantity": 0, "quantity": 1}', 201),
    "a lone surrogate": orders(b'{"item": "\\ud800", "quantity": 1}', 201),
    "not UTF-8": orders(b'{"item": "\xff", "quantity": 1}', 400),
    "UTF-16": orders('{"item": "x", "quantity": 1}'.encode("utf-16"), 201),
    "a byte order mark": orders(b'\xef\xbb\xbf{"item": "x", "quantity": 1}', 201),
    "NUL": orders(b"\x00", 400),
    "a text": orders(b'"x"', 422),
}  # fmt: skip

REQUESTS: dict[str, RawRequest] = {
    f"{group}: {name}": request
    for group, requests in {
        "framing": FRAMING,
        "headers": HEADERS,
        "line": LINES,
        "target": TARGETS,
        "JSON": JSON,
    }.items()
    for name, request in requests.items()
}
