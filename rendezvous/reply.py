"""
Replies: what a reply record carries, in our format or that of another framework.

Standard library only: part of the wire contract, see contract.py, from which handlers import it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rendezvous.errors import UnusableReply
from rendezvous.framework_replies import (
    StreamPart,
    failure_in,
    part_in,
    status_in,
    with_content_type,
)
from rendezvous.framework_requests import (
    CORRELATION_ID,
    ID_HEADERS,
    REPLY_TOPIC_HEADERS,
    ForeignRequester,
)
from rendezvous.reply_headers import (
    Headers,
    carried_headers,
    fit_http,
    single_value,
    text_headers,
)

if TYPE_CHECKING:
    from rendezvous.contract import Request

CONTENT_TYPE = "content-type"
STATUS = "status"


class Outcome(StrEnum):
    """The outcome of a request, according to its reply."""

    ANSWERED = "answered"  # an HTTP status and a body, error statuses included
    FAILED = "failed"  # a failure without an HTTP status
    UNUSABLE = "unusable"  # a reply that cannot become an HTTP response


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one request."""

    correlation_id: str
    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    outcome: Outcome = Outcome.ANSWERED
    detail: str = ""  # the error, when the outcome is not ANSWERED
    part: StreamPart = field(default=StreamPart.LAST, compare=False)
    offset: int = field(default=0, compare=False)  # of the record of a VALUE

    @classmethod
    def to(
        cls,
        request: "Request",
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
    def json(cls, request: "Request", value: Any, *, status: int = 200) -> "Reply":
        """Return the reply to *request* with *value* as JSON."""
        body = json.dumps(value).encode()
        return cls.to(request, body, status=status, content_type="application/json")

    @classmethod
    def problem(cls, request: "Request", status: int, title: str, detail: str) -> "Reply":
        """Return an error reply to *request* as problem details (RFC 9457)."""
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(problem | {"correlation_id": request.correlation_id}).encode()
        return cls.to(request, body, status=status, content_type="application/problem+json")

    @classmethod
    def unusable(cls, error: UnusableReply) -> "Reply":
        """Return the reply that replaces the one that *error* is about."""
        return cls(error.correlation_id, outcome=Outcome.UNUSABLE, status=502, detail=error.reason)

    def fits_http(self) -> bool:
        """Return whether an HTTP response can have its status and headers."""
        return 200 <= self.status <= 599 and fit_http(self.headers)

    def encode(
        self, requester: ForeignRequester | None = None
    ) -> tuple[bytes, list[tuple[str, bytes]]]:
        """Return value and headers of the reply record for *requester*; None: a gateway."""
        if requester is None:
            headers = [(CORRELATION_ID, self.correlation_id.encode())]
        else:
            headers = requester.reply_headers(self.status, self.body)
        headers.append((STATUS, b"%d" % self.status))
        return self.body, headers + [(name, value.encode()) for name, value in self.headers]

    @classmethod
    def decode(cls, value: bytes | None, headers: Headers) -> "Reply":
        """
        Return the reply in a record, in our format or that of another framework.

        Raises:
            MalformedRecord: when it does not name exactly one request.
            UnusableReply: when it does, but cannot become an HTTP response.
        """
        text = text_headers(headers)
        correlation_id = single_value(text, ID_HEADERS, "correlation id")
        failure = failure_in(text, REPLY_TOPIC_HEADERS)
        if failure is not None and failure.status is not None:
            json_type = ((CONTENT_TYPE, "application/json"),)
            return cls(correlation_id, failure.body, failure.status, json_type)
        if failure is not None:
            return cls(correlation_id, outcome=Outcome.FAILED, status=502, detail=failure.detail)
        return cls(
            correlation_id,
            body=value or b"",
            # NestJS and Zilla send a null value for success without a body.
            status=status_in(correlation_id, text, default=200 if value is not None else 204),
            headers=carried_headers(correlation_id, with_content_type(headers, text)),
            part=part_in(value, text),
        )
