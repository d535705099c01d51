"""Seeded streams of HTTP requests: valid ones, pipelines, and faults in the framing."""

import itertools
import random
from dataclasses import dataclass, field

CRLF = b"\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

METHODS = [b"GET", b"POST", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS"]
ODD_METHODS = [b"get", b"", b"GE T", b"CONNECT", b"PRI", b"BREW", b"PO\x00ST", b" GET", b"G@T"]
VERSIONS = [b"HTTP/1.1"] * 6 + [b"HTTP/1.0"]
ODD_VERSIONS = [
    b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b"HTTP/1.10",
    b"HTTP/1", b"", b"HTTP/1.1\t", b"HTTP\\1.1", b"ICE/1.0", b"RTSP/1.0",
]  # fmt: skip
TARGETS = [b"/r/%d", b"/r/%d?a=b", b"/r/%d?a=//[", b"//r/%d", b"/r/%d%%0d%%0a", b"http://x/r/%d"]
ODD_TARGETS = [
    b"/r/%d#f", b"*", b"x:80", b"/r /%d", b"/r\t/%d", b"/r\xe9/%d", b"r/%d", b"http://[x/%d",
    b"/r/%d HTTP/1.1", b"http://a@b/%d", b"", b"/r\x00/%d", b"/r\"<>\\^`{|}/%d", b"ftp://x/%d",
]  # fmt: skip
HEADERS = [
    b"Accept: */*", b"User-Agent: a b (c)", b"X-A:  padded \t", b"X-B:", b"Cookie: a=1",
    b"Connection: keep-alive", b"Content-Type: text/plain", b"X-U: \xc3\xa9", b"X_under: 1",
    b"Expect: 100-continue", b"TE: trailers", b"X-C: content-length: 3", b"Cookie: b=2",
    b"Content_Length: 3", b"Transfer_Encoding: chunked", b"Upgrade: websocket",
]  # fmt: skip
ODD_HEADERS = [
    b"X : 1", b": 1", b"X", b" X: 1", b"X: 1\r\n 2", b"X: 1\r\n\t2", b"X: a\nY: b", b"X: a\rY: b",
    b"X: \x00", b"X: \x0b", b"X: \x7f", b"X\x00: 1", b"X\xa0: 1", b"X(: 1", b"Host: y", b"Host:",
    b"Connection: close", b"Connection: te, close", b"Expect: weird", b"\r: x", b"X: 1\r",
    b"Transfer-Encoding : chunked", b"Content-Length : 3", b"\x0bContent-Length: 3",
    b"Upgrade: h2c",
    b"Connection: Upgrade\r\nUpgrade: websocket", b"Connection: content-length",
]  # fmt: skip
ODD_LENGTHS = [
    b"+%d", b"-%d", b"0x%x", b"%d, %d", b"%d %d", b"%d,", b"00%d", b" %d ", b"%d\x0b", b"%d_0", b"",
    b"\xb2", b"%d.0", b"1%d", b"%d;a", b"%d\t", b"'%d'", b"99999999999999999999",
    b"\x0b%d", b"%d\x00",
]  # fmt: skip
ODD_CODINGS = [
    b"identity", b"gzip", b"chunked, chunked", b"gzip, chunked", b"chunked, identity", b"xchunked",
    b"Chunked", b"\x0bchunked", b"chunked\x0b", b"", b"chunked,", b",chunked", b"chunked;q=1",
    b'"chunked"', b"chunked\x00", b"\tchunked\t", b"chunk ed", b"identity, chunked",
    b"x\r\n chunked",
    b"chunked\r\nTransfer-Encoding: chunked", b"chunked\r\nTransfer-Encoding: identity",
]  # fmt: skip
EXTENSIONS = [b";a", b";a=b", b';a="b;c"', b';a="\\""', b";a;b=c"]
ODD_EXTENSIONS = [
    b" ;a", b"; a", b";", b";a=", b';a="b', b";a\nb", b";a\rb", b";\x00", b";a\n", b"\n", b" ",
    b"\t", b";a=b c", b";\r", b'; a="\r\n"', b";=", b"\x0b", b"\x00", b",a", b";a\x7f", b";\xe9",
]  # fmt: skip
ODD_SIZES = [b"0x%x", b"+%x", b"-%x", b" %x", b"%x_0", b"", b"%xg", b"0%x", b"000000000000000000%x",
             b"10000000000000000%x", b"%x %x", b"\t%x", b"fffffffffffffff%x"]  # fmt: skip
TRAILERS = [b"X-T: 1", b"X-T:", b"X-Sum: a b"]
ODD_TRAILERS = [
    b"X", b" X: 1", b": 1", b"X: a\nY: b", b"X: a\rb", b"X: \x00", b"X: 1\r\n 2",
    b"Content-Length: 3", b"Transfer-Encoding: chunked", b"GET /smuggled HTTP/1.1", b"X : 1", b"\n",
    b"X: 1\n",
]  # fmt: skip
ODD_LINE_ENDS = [
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\r\n",
    b"\r\n\r\n",
    b"\x00\r\n",
    b" \r\n",
    b"",
    b"\n\n",
]
#: What is inserted at, or put for, a byte of framing.
BYTES = [
    b"\r",
    b"\n",
    b"\x00",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b";",
    b"0",
    b"\r\n",
    b"\x85",
    b"\xa0",
    b",",
]


@dataclass
class Faults:
    """Decides where a stream has faults: up to *count*, each place with *probability*."""

    rng: random.Random
    probability: float
    count: int

    def strike(self, weight: int = 1) -> bool:
        """Return whether there is a fault at this place."""
        if not self.count or self.rng.random() >= self.probability * weight:
            return False
        self.count -= 1
        return True

    def pick(self, usual: list[bytes], odd: list[bytes]) -> bytes:
        """Return one of *usual*, or sometimes one of *odd*."""
        return self.rng.choice(odd if self.strike() else usual)

    def line_end(self) -> bytes:
        """Return CRLF, or sometimes something else."""
        return self.pick([CRLF], ODD_LINE_ENDS)


@dataclass(frozen=True)
class Stream:
    """Bytes of one connection, and the pieces in which they arrive."""

    seed: int
    sent: bytes
    pieces: list[bytes] = field(repr=False)


def stream(seed: int) -> Stream:
    """Return the stream of *seed*."""
    rng = random.Random(seed)
    faults = Faults(rng, rng.choice([0.02, 0.04, 0.08]), rng.choice([0, 1, 1, 2, 9]))
    sent = b"".join(request(rng, faults, number) for number in range(rng.choice([1, 1, 2, 3, 4])))
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        sent = mutated(rng, sent)
    if rng.random() < 0.05:
        sent = sent[: rng.randrange(len(sent))] if sent else sent
    return Stream(seed, sent, list(pieces(rng, sent)))


def request(rng: random.Random, faults: Faults, number: int) -> bytes:
    """Return one request, with faults."""
    method = faults.pick(METHODS, ODD_METHODS)
    target = numbered(faults.pick(TARGETS, ODD_TARGETS), number)
    version = faults.pick(VERSIONS, ODD_VERSIONS)
    line = method + b" " + target + (b" " + version if version else b"")
    headers = [rng.choice(HEADERS) for _ in range(rng.choice([0, 0, 1, 2, 3]))]
    if not faults.strike():
        headers.append(rng.choice([b"Host: x", b"host:x:80", b"HOST: [::1]"]))
    if faults.strike(4):
        headers.append(rng.choice(ODD_HEADERS))
    framing, body = framed(rng, faults)
    headers += framing
    rng.shuffle(headers)
    lines = [line, *headers]
    front = faults.pick([b""] * 8 + [CRLF], [CRLF * 2, b"\n", b"\r", b" ", CRLF * 3, b"\x00"])
    return front + b"".join(part + faults.line_end() for part in lines) + faults.line_end() + body


def framed(rng: random.Random, faults: Faults) -> tuple[list[bytes], bytes]:
    """Return the headers that frame a body, and the body as it is sent."""
    body = rng.choice(
        [b"", b"hello", SMUGGLED, b"0\r\n\r\n" + SMUGGLED, b"\r\n", b"\x00\xff\n", b"x" * 70]
    )
    kind = rng.choice(["none", "length", "length", "chunked", "chunked", "chunked"])
    length = b"Content-Length: " + numbered(faults.pick([b"%d"], ODD_LENGTHS), len(body))
    coding = b"Transfer-Encoding: " + faults.pick([b"chunked", b"Chunked"], ODD_CODINGS)
    if kind == "none":
        return [], SMUGGLED if faults.strike() else b""
    if faults.strike(2):
        return [length, coding], rng.choice([body, chunked(rng, faults, body)])
    if kind == "length":
        twice = faults.strike(2)
        other = b"content-length: %d" % (len(body) + rng.choice([0, 0, 1, -1]))
        return [length, other] if twice else [length], body
    return [coding], chunked(rng, faults, body)


def chunked(rng: random.Random, faults: Faults, body: bytes) -> bytes:
    """Return *body* in chunks, with extensions, trailers and faults."""
    parts = []
    while body:
        size = rng.choice([1, 2, 5, 16, len(body)])
        chunk, body = body[:size], body[size:]
        claimed = len(chunk) + (rng.choice([-1, 1, 2]) if faults.strike() else 0)
        parts += [size_line(rng, faults, claimed), chunk, faults.line_end()]
    parts.append(size_line(rng, faults, 0))
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        parts += [faults.pick(TRAILERS, ODD_TRAILERS), faults.line_end()]
    return b"".join(parts) + faults.line_end()


def size_line(rng: random.Random, faults: Faults, size: int) -> bytes:
    """Return the line in front of a chunk."""
    digits = numbered(faults.pick([b"%x", b"%x", b"%X", b"00%x"], ODD_SIZES), size)
    usual = [b""] * 8 + EXTENSIONS
    return digits + faults.pick(usual, ODD_EXTENSIONS) + faults.line_end()


def numbered(pattern: bytes, number: int) -> bytes:
    """Put *number* into each place of *pattern*."""
    places = len(pattern.replace(b"%%", b"").split(b"%")) - 1
    return pattern % ((number,) * places)


def mutated(rng: random.Random, sent: bytes) -> bytes:
    """Change one byte of the framing: next to a line end, a colon, a semicolon or a digit."""
    places = [at for at, byte in enumerate(sent) if byte in b"\r\n:; ,0123456789"]
    if not places:
        return sent
    at = rng.choice(places) + rng.choice([0, 0, 1])
    kind = rng.choice(["insert", "replace", "delete", "double"])
    new = {"insert": rng.choice(BYTES), "replace": rng.choice(BYTES), "delete": b""}
    kept = at + (kind in ("replace", "delete"))
    return sent[:at] + new.get(kind, sent[at : at + 1]) + sent[kept:]


def pieces(rng: random.Random, sent: bytes) -> list[bytes]:
    """Split *sent*: at once, byte by byte, or anywhere."""
    kind = rng.choice(["whole", "bytes", "few", "many"])
    count = {"whole": 0, "bytes": len(sent), "few": 2, "many": 12}[kind]
    cuts = sorted(rng.sample(range(len(sent) + 1), min(count, len(sent))))
    edges = [0, *cuts, len(sent)]
    found = (sent[start:end] for start, end in itertools.pairwise(edges))
    return [piece for piece in found if piece]
