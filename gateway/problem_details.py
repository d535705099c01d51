"""Problem details (RFC 9457): the base class of all problem types."""

import random
from enum import StrEnum
from http import HTTPStatus
from typing import Any, ClassVar


class Sent(StrEnum):
    """Whether the request is in Kafka, as far as the gateway knows."""

    YES = "yes"  # acknowledged by the broker, or answered by a responder
    NO = "no"  # refused by the broker, or never sent to it
    UNKNOWN = "unknown"  # sent without an acknowledgement: it may still be appended later


#: Statuses for temporary conditions: the same request may succeed later.
TEMPORARY_STATUSES = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)
#: Maximum random addition to Retry-After, in seconds, which spreads the retries of many clients.
RETRY_JITTER_S = 2


class Problem(Exception):
    """
    Base of the gateway's error responses; each subclass is one type.

    ``meaning`` explains the type, ``retry`` whether and how to retry: clients read both.

    Args:
        detail: what happened, with the id or setting, and what to do next.
        correlation_id: the id of the request, if it has one.
        sent: whether the request is in Kafka; None if the problem is not about sending one.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    status: int
    meaning: ClassVar[str]
    retry: ClassVar[str]
    retry_after_s: ClassVar[int | None] = None

    def __init__(
        self, detail: str, *, correlation_id: str | None = None, sent: Sent | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.correlation_id = correlation_id
        self.sent = sent
        #: Whether a reply may still come, which the client can fetch.
        self.may_be_answered = True
        #: Whether the request changes nothing (RFC 9110, section 9.2.1), so that it may run twice.
        self.is_safe = False
        self.headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            retry_after_s = self.retry_after_s + random.randint(0, RETRY_JITTER_S)
            self.headers["Retry-After"] = str(retry_after_s)

    @classmethod
    def type_path(cls) -> str:
        """Return the ``type``: the path of the page that explains the problem."""
        return f"/problems/{cls.kind}"

    @property
    def retryable(self) -> bool:
        """Whether retrying the same request is safe and may succeed."""
        may_run_again = self.is_safe or self.sent not in (Sent.YES, Sent.UNKNOWN)
        return may_run_again and self.status in TEMPORARY_STATUSES

    def body(self) -> dict[str, Any]:
        """Return the members of the problem details."""
        members: dict[str, Any] = {
            "type": self.type_path(),
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "retryable": self.retryable,
        }
        if self.sent is not None:
            members["sent"] = self.sent
        if self.correlation_id is not None:
            members["correlation_id"] = self.correlation_id
        if "Location" in self.headers:
            members["status_url"] = self.headers["Location"]
        return members


class HttpProblem(Problem):
    """An error that HTTP defines, such as 404; its type is about:blank."""

    kind = "http"
    title = "HTTP Error"
    meaning = "RFC 9110 defines the status."
    retry = "Correct what the detail names."

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        headers: dict[str, str],
        sent: Sent | None = None,
    ) -> None:
        super().__init__(detail, sent=sent)
        self.status = status
        self._title = title
        self.headers |= headers

    def body(self) -> dict[str, Any]:
        """Return the members of the problem details; the type is about:blank."""
        return super().body() | {"type": "about:blank", "title": self._title}
