"""Compares what the gateway serves of a stream with what h11 and llhttp find in it."""

from collections import Counter
from collections.abc import Iterator

from waitress.parser import HTTPRequestParser

from gateway.server.http.parser import RequestParser
from tests.framing.channels import through_the_gateway
from tests.framing.oracles import Found, Verdict, by_h11, by_llhttp
from tests.framing.streams import Stream

#: Errors of llhttp for requests with one reading that the gateway serves.
LLHTTP_IS_STRICTER = (
    "Invalid method encountered",
    "Expected space after method",  # of PUT0, which is unknown
    "Expected HTTP/2 Connection Preface",  # of PRI
    "Request has invalid `Transfer-Encoding`",  # "chunked" before a tab
)


def differences(
    stream: Stream, seen: Counter[str], parser_class: type[HTTPRequestParser] = RequestParser
) -> Iterator[str]:
    """Yield what is wrong with the outcome of *stream*; count outcomes in *seen*."""
    outcome = through_the_gateway(stream.pieces, parser_class)
    seen["served"] += len(outcome.served)
    seen["refused"] += bool(outcome.refused)
    if outcome.served_behind:
        yield "a request was served behind the end of the connection"
    expected = [200] * len(outcome.served) + [outcome.refused] * bool(outcome.refused)
    if outcome.statuses != expected:
        yield f"responses {outcome.statuses} to {len(outcome.served)} requests"
    if outcome.stray:
        yield f"bytes that belong to no response: {outcome.stray!r}"
    if outcome.refused and not outcome.closed:
        yield f"the connection stays open after a {outcome.refused}"
    at = 0
    for served in outcome.served:
        at = without_empty_line(stream.sent, at)
        ours = Found(served.method, served.target, served.body, served.size - at)
        yield from compared(ours, stream.sent[at:])
        at = served.size
    if not outcome.refused and not outcome.closed:
        at = without_empty_line(stream.sent, at)
        yield from waits_alone(stream.sent[at:])


def without_empty_line(sent: bytes, at: int) -> int:
    """Return where the request begins: h11 refuses the empty line that RFC 9112, 2.2 allows."""
    return at + 2 if sent.startswith(b"\r\n", at) else at


def compared(ours: Found, sent: bytes) -> Iterator[str]:
    """Yield how others read a request that the gateway served."""
    theirs = by_h11(sent)
    if theirs != ours:
        yield f"h11: {theirs}, served: {ours}"
    found, error = by_llhttp(sent, ours.size)
    if found is Verdict.REFUSED and error in LLHTTP_IS_STRICTER:
        return
    if found != ours:
        yield f"llhttp: {found} {error}, served: {ours}"


def waits_alone(rest: bytes) -> Iterator[str]:
    """Yield a request that others find where the gateway waits for more."""
    theirs = by_h11(rest)
    if isinstance(theirs, Found):
        yield f"h11: {theirs}, the gateway waits for more"
    found, _ = by_llhttp(rest, len(rest))
    if isinstance(found, Found):
        yield f"llhttp: {found}, the gateway waits for more"
