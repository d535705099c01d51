"""Requests as bytes: with the body of each, or the status with which it is refused."""

from gateway.server.http.parser import MAX_HEADERS, MAX_REQUEST_LINE_BYTES

MAX_HEAD_BYTES = 65_536
HOST = b"Host: x\r\n"
POST = b"POST /echo?a=1 HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: x\r\n\r\n"


def get(line: bytes) -> bytes:
    """GET /livez with this header line."""
    return b"GET /livez HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n"


def length(value: bytes) -> bytes:
    return POST + b"Content-Length: " + value + b"\r\n\r\nhello"


def coding(value: bytes, version: bytes = b"1.1") -> bytes:
    head = b"POST /echo HTTP/" + version + b"\r\n" + HOST
    return head + b"Transfer-Encoding: " + value + b"\r\n\r\n" + HELLO


def target(value: bytes, method: bytes = b"GET") -> bytes:
    return method + b" " + value + b" HTTP/1.1\r\nHost: x\r\n\r\n"


ACCEPTED = {
    "no body": (target(b"/"), b""),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", b""),
    "an empty line in front": (b"\r\n" + target(b"/"), b""),
    "a length": (length(b"5"), b"hello"),
    "a length with zeros": (length(b"0005"), b"hello"),
    "a length among blanks": (length(b" \t 5 \t "), b"hello"),
    "a length of nothing": (POST + b"Content-Length: 0\r\n\r\n", b""),
    "names in any case": (POST + b"cOnTeNt-LeNgTh:5\r\n\r\nhello", b"hello"),
    "a name that contains it": (POST + b"X-Content-Length: 5\r\n\r\n", b""),
    "a value that contains it": (POST + b"X: transfer-encoding: chunked\r\n\r\n", b""),
    "a name with an underscore": (POST + b"Content_Length: 5\r\n\r\n", b""),
    "the longest body": (POST + b"Content-Length: 20\r\n\r\n" + b"x" * 20, b"x" * 20),
    "a body like a head": (POST + b"Content-Length: 8\r\n\r\n" + b"\r\n" * 4, b"\r\n" * 4),
    "chunked": (CHUNKED + HELLO, b"hello"),
    "chunked in capitals": (coding(b"\tCHUNKED "), b"hello"),
    "absolute form": (target(b"http://other:80/livez?a"), b""),
    "asterisk form": (target(b"*", b"OPTIONS"), b""),
    "double slashes": (target(b"//a//b"), b""),
    "an IPv6 host": (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b""),
    "an empty host": (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b""),
    "bytes over ASCII in a value": (get(b"X: caf\xc3\xa9\xff"), b""),
    "an unclosed bracket in the query": (target(b"/livez?//["), b""),
    "a body with Expect": (POST + b"Expect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello",
                           b"hello"),
    "a header of 16 kB": (get(b"Authorization: Bearer " + b"x" * 16_000), b""),
    "a request line of 8,000 bytes": (target(b"/" + b"x" * (8_000 - 14)), b""),
    "many headers": (get(b"\r\n".join(b"X-%d: 1" % n for n in range(MAX_HEADERS - 1))), b""),
}  # fmt: skip
REFUSED = {
    "both framings": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, 400),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
    "a length twice": (POST + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello", 400),
    "a list of lengths": (length(b"5, 5"), 400),
    "a length +5": (length(b"+5"), 400),
    "a length -5": (length(b"-5"), 400),
    "a length 0x5": (length(b"0x5"), 400),
    "a length 5_0": (length(b"5_0"), 400),
    "a length 5 5": (length(b"5 5"), 400),
    "an empty length": (length(b""), 400),
    "digits of another script": (length(b"\xb2"), 400),
    "a length of 5,000 digits": (length(b"9" * 5_000), 400),
    "a length over the limit": (length(b"21"), 413),
    "a huge length": (length(b"9" * 18), 413),
    "identity": (coding(b"identity"), 501),
    "gzip, chunked": (coding(b"gzip, chunked"), 501),
    "xchunked": (coding(b"xchunked"), 501),
    "chunked, identity": (coding(b"chunked, identity"), 400),
    "chunked, chunked": (coding(b"chunked, chunked"), 400),
    "chunked twice": (coding(b"chunked\r\nTransfer-Encoding: chunked"), 400),
    "an empty coding": (coding(b""), 400),
    "a coding and nothing": (coding(b"chunked,"), 400),
    "a parameter of chunked": (coding(b"chunked;a=b"), 501),
    "a quoted coding": (coding(b'"chunked"'), 501),
    "a coding behind a vertical tab": (coding(b"\x0bchunked"), 400),
    "a coding before NEL": (coding(b"chunked\x85"), 501),
    "chunked in HTTP/1.0": (coding(b"chunked", b"1.0"), 400),
    "chunked in HTTP/1.2": (coding(b"chunked", b"1.2"), 505),
    "HTTP/2.0": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "HTTP/1.10": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", 400),
    "http/1.1": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    "a small method": (target(b"/", b"get"), 400),
    "no method": (target(b"/", b""), 400),
    "two blanks": (target(b" /"), 400),
    "a tab": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a blank behind the version": (b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", 400),
    "a blank in front": (b" GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an empty target": (target(b""), 400),
    "a fragment": (target(b"/a#b"), 400),
    "CONNECT": (target(b"x:443", b"CONNECT"), 501),
    "authority form": (target(b"x:80"), 400),
    "asterisk with GET": (target(b"*"), 400),
    "absolute form without host": (target(b"http:///a"), 400),
    "absolute form with a user": (target(b"http://a@b/"), 400),
    "absolute form of another scheme": (target(b"ftp://a/"), 400),
    "absolute form with an unclosed bracket": (target(b"http://[::1/a"), 400),
    "absolute form with a broken address": (target(b"http://[:::::]/a"), 400),
    "bytes over ASCII in the target": (target(b"/caf\xc3\xa9"), 400),
    "two empty lines in front": (b"\r\n\r\n" + target(b"/"), 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (get(b"Host: y"), 400),
    "the same Host twice": (get(b"host: x"), 400),
    "two empty Hosts": (b"GET / HTTP/1.1\r\nHost:\r\nHost:\r\n\r\n", 400),
    "an invalid Host": (b"GET / HTTP/1.1\r\nHost: a@b/c\r\n\r\n", 400),
    "a folded header": (get(b"X: a\r\n b"), 400),
    "a folded first header": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "a blank before the colon": (get(b"X : a"), 400),
    "a header without name": (get(b": a"), 400),
    "a header without colon": (get(b"X"), 400),
    "bytes over ASCII in a name": (get(b"X\xa0: a"), 400),
    "a bare LF in a header": (get(b"X: a\nY: b"), 400),
    "a bare CR in a header": (get(b"X: a\rY: b"), 400),
    "NUL in a header": (get(b"X: a\x00b"), 400),
    "DEL in a header": (get(b"X: a\x7fb"), 400),
    "bare LFs": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare CRs": (b"GET / HTTP/1.1\rHost: x\r\r", 400),
    "CR CR LF": (b"GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", 400),
    "a bare LF behind the headers": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "Expect something else": (get(b"Expect: weird"), 417),
    "a long request line": (target(b"/" + b"x" * MAX_REQUEST_LINE_BYTES), 414),
    "an endless request line": (b"GET /" + b"x" * (MAX_REQUEST_LINE_BYTES + 9), 414),
    "a long head": (get(b"X: " + b"x" * MAX_HEAD_BYTES), 431),
    "an endless head": (get(b"X: " + b"x" * MAX_HEAD_BYTES)[:-4], 431),
    "too many headers": (get(b"\r\n".join(b"X-%d: 1" % n for n in range(MAX_HEADERS))), 431),
    "headers without end": (get(b"X: 1\r\n" * 5_000)[:-6], 431),
}  # fmt: skip
