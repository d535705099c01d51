"""The end of a request as h11 and llhttp see it."""

import re
from dataclasses import dataclass
from enum import Enum, auto

import h11
import httptools

#: httptools reads no body behind it, unlike llhttp itself; any other name is read as a header.
UPGRADE = re.compile(rb"\n(upgrad)e:", re.IGNORECASE)


class Verdict(Enum):
    """What a parser makes of bytes in which no request ends."""

    PART = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class Found:
    """One request, and the number of bytes up to its end."""

    method: bytes
    target: bytes
    body: bytes
    size: int


def by_h11(sent: bytes) -> Found | Verdict:
    """Return the first request in *sent* as h11 sees it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=10**7)
    connection.receive_data(sent)
    request: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return Verdict.PART
    except h11.RemoteProtocolError:
        return Verdict.REFUSED
    assert request is not None
    size = len(sent) - len(connection.trailing_data[0])
    return Found(bytes(request.method), bytes(request.target), body, size)


class Llhttp:
    """One request as llhttp sees it."""

    def __init__(self) -> None:
        self._url = b""
        self._body = b""
        self._fed = 0
        self.completed = False
        self.error = ""
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        if not self.completed:
            self._url += url

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if not self.completed:
            self._body += body

    def on_message_complete(self) -> None:
        """Note that the request has ended; what follows is another one."""
        self.completed = True

    def feed(self, data: bytes) -> None:
        """Add *data*."""
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # a CONNECT, which has ended
        except httptools.HttpParserError as error:
            self.error = self.error or str(error)

    def found(self) -> Found:
        """Return the request if the last byte fed was its last."""
        return Found(self._parser.get_method(), self._url, self._body, self._fed)


def by_llhttp(sent: bytes, size: int) -> tuple[Found | Verdict, str]:
    """
    Return the request that ends after *size* bytes of *sent* as llhttp sees it.

    A request that ends earlier is a request of that many bytes with another body. The text is
    llhttp's error.
    """
    sent = UPGRADE.sub(rb"\n\1x:", sent)
    parser = Llhttp()
    parser.feed(sent[: size - 1])
    if not parser.completed and not parser.error:
        parser.feed(sent[size - 1 : size])
    if parser.completed:
        return parser.found(), parser.error
    return (Verdict.REFUSED if parser.error else Verdict.PART), parser.error
