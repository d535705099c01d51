"""
THE WIRE CONTRACT: what a request record and a reply record carry.

Standard library only, so that a responder in another repository needs this file and ``errors.py``
and nothing else. All headers are UTF-8 text and none is null.

Request record
    key      the route's record key, or the correlation id
    value    the body of the HTTP request, byte for byte
    headers  correlation-id, reply-topic, deadline (Unix time, ms), method, path, query,
             content-type when there was one, the HTTP headers that the route lets through,
             and x-request-id, traceparent and tracestate when they are what they should be

Reply record, sent to the topic that ``reply-topic`` names
    value    the body of the HTTP response, byte for byte
    headers  correlation-id (the request's, byte for byte), status (200-599, default 200),
             content-type, and any of REPLY_HTTP_HEADERS and, where the route lists them,
             of LISTED_REPLY_HEADERS

The id and the reply topic are repeated under the names that other frameworks read, and the id is
recognised under each of them in a reply. A reply partition is never sent: Spring and NestJS encode
it differently under one name.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from rendezvous.errors import MalformedRecord, UnusableReply

Headers = Sequence[tuple[str, bytes | None]]

CORRELATION_ID = "correlation-id"
REPLY_TOPIC = "reply-topic"
DEADLINE = "deadline"
CONTENT_TYPE = "content-type"
METHOD = "method"
PATH = "path"
QUERY = "query"
STATUS = "status"

#: The correlation id, as named by us, Spring and NestJS, Quarkus, FastStream.
ID_HEADERS = (CORRELATION_ID, "kafka_correlationId", "REPLY_CORRELATION_ID", "correlation_id")
#: The reply topic, likewise.
REPLY_TOPIC_HEADERS = (REPLY_TOPIC, "kafka_replyTopic", "REPLY_TOPIC", "reply_to")
#: Headers of a request record that no HTTP client may set.
RESERVED_HEADERS = frozenset(
    name.lower()
    for name in (
        *ID_HEADERS,
        *REPLY_TOPIC_HEADERS,
        DEADLINE,
        METHOD,
        PATH,
        QUERY,
        STATUS,
        CONTENT_TYPE,
    )
)

#: How a responder may name the HTTP status: ours, Zilla's, RIG's.
_STATUS_HEADERS = (STATUS, ":status", "rig-response-code")
#: How responders of other frameworks say "I failed" without an HTTP status:
#: NestJS, Quarkus (by convention), SlimMessageBus, Watermill.
_FAILURE_HEADERS = ("kafka_nest-err", "REPLY_ERROR", "Error", "_watermill_requestreply_error")
_FAILURE_FLAG = "_watermill_requestreply_has_error"

#: What a reply may set on the HTTP response besides status and body; ``x-...`` is let through too.
REPLY_HTTP_HEADERS = frozenset(
    {
        CONTENT_TYPE,
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "etag",
        "expires",
        "last-modified",
        "link",
        "location",
        "retry-after",
        "vary",
    }
)
#: What it may set besides, where the route lists it. Carried and judged like the others, whatever
#: the route says: only the gateway knows the routes. Nothing that is between two hops is here.
LISTED_REPLY_HEADERS = frozenset(
    {
        "accept-patch",
        "accept-post",
        "accept-ranges",
        "allow",
        "authentication-info",
        "clear-site-data",
        "content-digest",
        "content-location",
        "content-range",
        "content-security-policy",
        "deprecation",
        "ratelimit",
        "ratelimit-policy",
        "referrer-policy",
        "repr-digest",
        "server-timing",
        "set-cookie",
        "sunset",
        "www-authenticate",
    }
)
#: What can be a correlation id: no more than that may reach a log or a header.
_ID = re.compile(r"[!-~]{1,200}", re.ASCII)
#: What Kafka accepts as the name of a topic.
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
#: A token and a field value of RFC 9110, sections 5.6.2 and 5.5, in ASCII.
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FIELD_VALUE = re.compile(rb"[\t -~]*")
#: Unix time in ms. Python's int() reads far more, and numbers that no clock can be compared with.
_DEADLINE = re.compile(r"[0-9]{1,15}", re.ASCII)
MAX_HEADER_BYTES = 8_000
MAX_HEADERS_BYTES = 32_000


class Outcome(StrEnum):
    """How the responder's work ended, as far as the reply record tells."""

    ANSWERED = "answered"  # an HTTP status and a body, error statuses included
    FAILED = "failed"  # a failure signalled without an HTTP status
    UNUSABLE = "unusable"  # a reply of which no HTTP response can be made


@dataclass(frozen=True, slots=True)
class Request:
    """One request on its way to a responder."""

    correlation_id: str
    topic: str
    reply_topic: str
    deadline_ms: int  # Unix time in milliseconds; after it nobody waits
    body: bytes = b""
    content_type: str | None = None
    method: str = "POST"
    path: str = "/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    key: bytes | None = None

    def json(self) -> Any:
        """Return the body parsed as JSON; raises ValueError when it is not JSON."""
        try:
            return json.loads(self.body)
        except RecursionError as error:
            raise ValueError("the JSON is nested too deeply") from error

    def header(self, name: str) -> str | None:
        """Return the first header called *name* (case does not matter), or None."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)

    def encode(self) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Return key, value and headers of the request record."""
        cid, reply_topic = self.correlation_id.encode(), self.reply_topic.encode()
        headers = [(name, cid) for name in ID_HEADERS]
        headers += [(name, reply_topic) for name in REPLY_TOPIC_HEADERS]
        headers.append((DEADLINE, b"%d" % self.deadline_ms))
        if self.content_type is not None:
            headers.append((CONTENT_TYPE, self.content_type.encode()))
        headers += [
            (METHOD, self.method.encode()),
            (PATH, self.path.encode()),
            (QUERY, self.query.encode()),
        ]
        headers += [(name, value.encode()) for name, value in self.headers]
        return (self.key if self.key is not None else cid), self.body, headers

    @classmethod
    def decode(
        cls, topic: str, key: bytes | None, value: bytes | None, headers: Headers
    ) -> "Request":
        """
        Return the request that a record of *topic* carries.

        Raises:
            MalformedRecord: when it has no single correlation id, reply topic or deadline.
        """
        text = _text_headers(headers)
        known = {name: values[-1] for name, values in text.items()}
        deadline_ms = known.get(DEADLINE, "")
        if not _DEADLINE.fullmatch(deadline_ms):
            raise MalformedRecord(f"header {DEADLINE!r} is not a Unix time in ms")
        correlation_id = _single(text, ID_HEADERS, "correlation id")
        reply_topic = _single(text, REPLY_TOPIC_HEADERS, "reply topic")
        if not _ID.fullmatch(correlation_id) or not _TOPIC.fullmatch(reply_topic):
            raise MalformedRecord("the correlation id or the reply topic is none")
        return cls(
            correlation_id=correlation_id,
            topic=topic,
            reply_topic=reply_topic,
            deadline_ms=int(deadline_ms),
            body=value or b"",
            content_type=known.get(CONTENT_TYPE),
            method=known.get(METHOD, "POST"),
            path=known.get(PATH, "/"),
            query=known.get(QUERY, ""),
            headers=tuple(
                (name, v)
                for name, vs in text.items()
                for v in vs
                if name.lower() not in RESERVED_HEADERS
            ),
            key=key,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer on its way back to the request that waits for it."""

    correlation_id: str
    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    outcome: Outcome = Outcome.ANSWERED
    detail: str = ""  # what went wrong, when the outcome is not ANSWERED

    @classmethod
    def to(
        cls,
        request: Request,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
    ) -> "Reply":
        """Return the reply to *request*."""
        named = ((CONTENT_TYPE, content_type),) if content_type is not None else ()
        return cls(request.correlation_id, body, status, (*named, *headers))

    @classmethod
    def json(cls, request: Request, value: Any, *, status: int = 200) -> "Reply":
        """Return the reply to *request* that carries *value* as JSON."""
        body = json.dumps(value).encode()
        return cls.to(request, body, status=status, content_type="application/json")

    @classmethod
    def problem(cls, request: Request, status: int, title: str, detail: str) -> "Reply":
        """Return an error reply to *request* as problem details (RFC 9457)."""
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(problem | {"correlation_id": request.correlation_id}).encode()
        return cls.to(request, body, status=status, content_type="application/problem+json")

    @classmethod
    def unusable(cls, error: UnusableReply) -> "Reply":
        """Return what is stored in place of a reply of which no response can be made."""
        return cls(error.correlation_id, outcome=Outcome.UNUSABLE, status=502, detail=error.reason)

    def fits_http(self) -> bool:
        """Say whether it is an HTTP response, as every answer is that decode() returns."""
        return 200 <= self.status <= 599 and all(
            _is_let_through(name) and _header_fault(name, value.encode()) is None
            for name, value in self.headers
        )

    def encode(self) -> tuple[bytes, list[tuple[str, bytes]]]:
        """Return value and headers of the reply record."""
        headers = [(CORRELATION_ID, self.correlation_id.encode()), (STATUS, b"%d" % self.status)]
        return self.body, headers + [(name, value.encode()) for name, value in self.headers]

    @classmethod
    def decode(cls, value: bytes | None, headers: Headers) -> "Reply":
        """
        Return the reply that a record carries, in our convention or another framework's.

        Raises:
            MalformedRecord: when it does not name exactly one request.
            UnusableReply: when it does, but no HTTP response can be made of it.
        """
        text = _text_headers(headers)
        correlation_id = _single(text, ID_HEADERS, "correlation id")
        failure = _failure(text)
        if failure is not None:
            return cls(correlation_id, outcome=Outcome.FAILED, status=502, detail=failure)
        return cls(
            correlation_id,
            body=value or b"",
            # A null value is how NestJS and Zilla say "done, nothing to tell".
            status=_status(correlation_id, text, default=200 if value is not None else 204),
            headers=_http_headers(correlation_id, headers),
        )


def _text_headers(headers: Headers) -> Mapping[str, list[str]]:
    text: dict[str, list[str]] = {}
    for name, value in headers:
        if value is not None:
            text.setdefault(name, []).append(value.decode("utf-8", "replace"))
    return text


def _single(text: Mapping[str, list[str]], names: Sequence[str], what: str) -> str:
    """Return the one value found under *names*; several names may repeat it."""
    found = {value for name in names for value in text.get(name, ())}
    if len(found) != 1:
        raise MalformedRecord(f"{'several values for the' if found else 'no'} {what}")
    return found.pop()


def _failure(text: Mapping[str, list[str]]) -> str | None:
    if any(name in text for name in _STATUS_HEADERS):
        return None
    for name in _FAILURE_HEADERS:
        if name in text:
            return f"{name}: {text[name][-1][:500]}"
    if text.get(_FAILURE_FLAG, [""])[-1] == "1":
        return _FAILURE_FLAG
    return None


def _status(correlation_id: str, text: Mapping[str, list[str]], default: int) -> int:
    for name in _STATUS_HEADERS:
        for value in text.get(name, ()):
            if len(value) == 3 and value.isascii() and value.isdigit() and 200 <= int(value) <= 599:
                return int(value)
            raise UnusableReply(
                correlation_id,
                f"header {name!r} is {value[:40]!r}, not an HTTP status from 200 to 599",
            )
    return default


def _http_headers(correlation_id: str, headers: Headers) -> tuple[tuple[str, str], ...]:
    allowed: list[tuple[str, str]] = []
    for name, value in headers:
        lower = name.lower()
        if value is None or not _is_let_through(lower):
            continue
        fault = _header_fault(name, value)
        if fault is not None:
            raise UnusableReply(correlation_id, f"header {name[:40]!r} {fault}")
        allowed.append((lower, value.decode("ascii").strip()))
    if sum(len(name) + len(value) for name, value in allowed) > MAX_HEADERS_BYTES:
        raise UnusableReply(correlation_id, f"its headers exceed {MAX_HEADERS_BYTES} bytes")
    return tuple(allowed)


def _is_let_through(lower: str) -> bool:
    return needs_no_listing(lower) or lower in LISTED_REPLY_HEADERS


def needs_no_listing(lower: str) -> bool:
    """Say whether a reply may set the HTTP header *lower*, in lower case, on every route."""
    return lower in REPLY_HTTP_HEADERS or lower.startswith("x-")


def _header_fault(name: str, value: bytes) -> str | None:
    """Return why no HTTP response can carry the header, or None."""
    if len(value) > MAX_HEADER_BYTES:
        return f"has {len(value)} bytes"
    if not _FIELD_VALUE.fullmatch(value) or not _FIELD_NAME.fullmatch(name):
        return "holds characters that HTTP does not allow"
    if name.lower() == "location" and not _is_uri_reference(value.decode("ascii").strip()):
        return f"is no URI: {value[:40]!r}"
    return None


def _is_uri_reference(value: str) -> bool:
    """Say whether host and port of *value*, if it has any, can be told: servers look for them."""
    try:
        parts = urlsplit(value)
        _ = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return True
