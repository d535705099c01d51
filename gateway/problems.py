"""
Every unhappy ending of a request, and what the client is told about it.

Problem                    problem details (RFC 9457) with a status of our own
├── NotSent                the request did not reach Kafka, or nobody can say
├── ReplyTimeout           no reply in time
├── ReplyStoreUnavailable  Redis could not be asked
├── BadReply               a reply came that is not an HTTP response
├── ResponderError         the responder failed without naming an HTTP status
├── ResponderSilent        the topic's responder is taken for dead
├── Overloaded             more requests in flight than this process takes
├── TooManyInFlight        more of one client's requests in flight than its share
├── RateLimited            more requests of one client than its rate
├── Unauthorized           no API key, or none that is known
├── Forbidden              a route that is not open to the client
├── ShuttingDown           this process is draining
├── BodyTooLarge           more bytes than MAX_BODY_BYTES, or the route, allows
├── InvalidBody            a body that does not fit the schema of its route
├── BodyUnreadable         a body that breaks off, or whose framing is broken
├── IdempotencyKeyInvalid  an Idempotency-Key that is none
├── IdempotencyKeyMissing  a route that takes no request without one
├── IdempotencyKeyReused   another request has the same key
├── ReplyExpired           the reply, or the wait for it, is over
├── RequestCancelled       its client does not want it any more
├── AlreadyAnswered        too late to cancel it: there is a reply
├── UnknownReply           no gateway of this deployment issued that id
└── HttpProblem            what HTTP itself forbids: unknown route, wrong method ...
"""

import random
from enum import StrEnum
from http import HTTPStatus
from typing import Any, ClassVar


class Sent(StrEnum):
    """Whether the request is in Kafka, as far as anybody can know."""

    YES = "yes"  # acknowledged by the broker, or answered
    NO = "no"  # refused, or never offered
    UNKNOWN = "unknown"  # offered and not acknowledged: it may still be appended later


#: Statuses that speak of the moment rather than of the request.
OF_THE_MOMENT = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


class Problem(Exception):
    """
    Base of the unhappy endings.

    ``meaning`` says what is known, ``retry`` whether it is safe to send the request again and how.

    Args:
        detail: what happened, to which id or setting, and what to do next.
        correlation_id: the request's, once it has one.
        sent: whether the request is in Kafka; None where no request is at stake.
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
        self.headers: dict[str, str] = {}
        if self.retry_after_s is not None:
            # Clients turned away together must not all come back together.
            self.headers["Retry-After"] = str(self.retry_after_s + random.randint(0, 2))

    @classmethod
    def type_path(cls) -> str:
        """Return the type of the problem details: the path of the page that explains it."""
        return f"/problems/{cls.kind}"

    @property
    def retryable(self) -> bool:
        """Whether it is safe, and makes sense, to send the same request again as it is."""
        return self.sent not in (Sent.YES, Sent.UNKNOWN) and self.status in OF_THE_MOMENT

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


class NotSent(Problem):
    """Raised when the request could not be published, or may not have been."""

    kind = "not-sent"
    title = "Request Not Sent"
    status = 503
    retry_after_s = 1
    meaning = (
        'Kafka did not take the request. With "sent": "no" it was refused. With "sent": "unknown" '
        "it may still be appended, and carried out."
    )
    retry = (
        'With "sent": "no" it is safe to send the request again. With "sent": "unknown" ask the '
        "URL in Location first, and send it again only with the Idempotency-Key that it had, or if "
        "running it twice does no harm."
    )


class ReplyTimeout(Problem):
    """Raised when no reply came before the deadline."""

    kind = "reply-timeout"
    title = "Gateway Timeout"
    status = 503
    retry_after_s = 1
    meaning = "No reply came in time. The request may have been or may still be carried out."
    retry = (
        "The URL in Location answers with the reply should it come late: ask there first. Send the "
        "request again only with the Idempotency-Key that it had, which gets the reply to the "
        "first, or if running it twice does no harm."
    )

    def __init__(self, detail: str, *, status: int, correlation_id: str, sent: Sent) -> None:
        super().__init__(detail, correlation_id=correlation_id, sent=sent)
        self.status = status


class ReplyStoreUnavailable(Problem):
    """Raised when Redis, where the reply would arrive, cannot be asked."""

    kind = "reply-store-unavailable"
    title = "Reply Store Unavailable"
    status = 503
    retry_after_s = 1
    meaning = (
        'The store in which replies arrive does not answer. With "sent": "no" the request was not '
        'published. With "sent": "yes" or "unknown" it may be carried out.'
    )
    retry = (
        'With "sent": "no", or when a reply was asked for, it is safe to do the same again after '
        'Retry-After. With "sent": "yes" or "unknown" ask the URL in Location once the store is '
        "back."
    )


class BadReply(Problem):
    """Raised when the responder's reply is not an HTTP response."""

    kind = "bad-reply"
    title = "Bad Reply"
    status = 502
    meaning = (
        "The responder replied with something that is not an HTTP response. The request was "
        "carried out."
    )
    retry = (
        "Do not: the request would be carried out again and would get the same reply. Mend the "
        "responder."
    )


class ResponderError(Problem):
    """Raised when the responder signalled a failure without an HTTP status."""

    kind = "responder-error"
    title = "Responder Failed"
    status = 502
    meaning = "The responder reported a failure without saying which HTTP status it means."
    retry = "Whether that helps, or does harm, depends on the failure, which is in the detail."


class ResponderSilent(Problem):
    """Raised when a topic's responder is taken for dead, and enough requests probe it already."""

    kind = "responder-silent"
    title = "Responder Silent"
    status = 503
    retry_after_s = 1
    meaning = (
        "The service behind this route has not replied for a while, so that waiting for it would "
        "be in vain. Nothing was published. The first reply opens the route again."
    )
    retry = "It is safe to send the request again after Retry-After."


class Overloaded(Problem):
    """Raised when this process already waits for as many replies as it may."""

    kind = "overloaded"
    title = "Too Many Requests In Flight"
    status = 503
    retry_after_s = 1
    meaning = "This gateway process waits for as many replies as it may. Nothing was published."
    retry = "It is safe to send the request again after Retry-After."


class TooManyInFlight(Problem):
    """Raised when one client's requests take all the places that are meant for it."""

    kind = "too-many-in-flight"
    title = "Too Many of Your Requests In Flight"
    status = 429
    retry_after_s = 1
    meaning = "Your requests in flight take all of your share already. Nothing was published."
    retry = "It is safe to send the request again once some of them have been answered."


class RateLimited(Problem):
    """Raised when one client has sent as many requests as its rate allows."""

    kind = "rate-limited"
    title = "Rate Limit Reached"
    status = 429
    meaning = (
        "You have sent as many requests as you may for now; RateLimit-Policy says how many (q) in "
        "how many seconds (w). Nothing was published."
    )
    retry = "It is safe to send the request again after Retry-After."


class Unauthorized(Problem):
    """Raised when a request comes without an API key, or with one that is not known."""

    kind = "unauthorized"
    title = "Unauthorized"
    status = 401
    meaning = (
        'The request needs an API key that is known here, as "Authorization: Bearer <key>". '
        "Nothing was published."
    )
    retry = "Send it with a key, which whoever runs this gateway can give you."

    def __init__(self, detail: str, *, key_given: bool, sent: Sent | None = None) -> None:
        super().__init__(detail, sent=sent)
        # RFC 6750: whoever has sent nothing is not told of an error.
        error = ', error="invalid_token"' if key_given else ""
        self.headers["WWW-Authenticate"] = f'Bearer realm="rendezvous"{error}'


class Forbidden(Problem):
    """Raised when a client asks for a route that is not open to it."""

    kind = "forbidden"
    title = "Forbidden"
    status = 403
    meaning = "The API key is known, and this route is not open to it. Nothing was published."
    retry = "It would be refused again, until whoever runs this gateway opens the route to you."


class ShuttingDown(Problem):
    """Raised when this process is finishing and takes no new requests."""

    kind = "shutting-down"
    title = "Shutting Down"
    status = 503
    retry_after_s = 1
    meaning = "This gateway process is about to end. Nothing was published."
    retry = "It is safe to send the request again, on a new connection."


class BodyTooLarge(Problem):
    """Raised when a body has more bytes than the gateway forwards."""

    kind = "too-large"
    title = "Content Too Large"
    status = 413
    meaning = "The body exceeds the gateway's limit. Nothing was published."
    retry = "It would be refused again: send less."


class InvalidBody(Problem):
    """Raised when a body is not what its route's schema expects; *faults* say where and why."""

    kind = "invalid-body"
    title = "Invalid Body"
    status = 400
    meaning = (
        "The body does not fit the JSON Schema of its route, or is not JSON. Nothing was "
        'published. "faults" names up to 20 places, each with the JSON pointer of its "path" and '
        'what is wrong there, the "fault".'
    )
    retry = "Correct the body first."

    def __init__(self, detail: str, faults: list[dict[str, str]]) -> None:
        super().__init__(detail, sent=Sent.NO)
        self._faults = faults

    def body(self) -> dict[str, Any]:
        """Return the members of the problem details, the faults among them."""
        return super().body() | {"faults": self._faults}


class BodyUnreadable(Problem):
    """Raised when the body of a request breaks off or is not framed as HTTP says."""

    kind = "unreadable-body"
    title = "Unreadable Body"
    status = 400
    meaning = "The body could not be read to its end. Nothing was published."
    retry = "It is safe to send the request again, with its body whole and framed as HTTP says."


class IdempotencyKeyInvalid(Problem):
    """Raised when the Idempotency-Key of a request is not one."""

    kind = "idempotency-key-invalid"
    title = "Invalid Idempotency-Key"
    status = 400
    meaning = (
        "An Idempotency-Key has 1 to 255 visible ASCII characters, within double quotes or bare, "
        "and a request has one of them. Nothing was published."
    )
    retry = "Send a key that is one, or none where the route allows that."


class IdempotencyKeyMissing(Problem):
    """Raised when a request has no Idempotency-Key and its route asks for one."""

    kind = "idempotency-key-missing"
    title = "Idempotency-Key Missing"
    status = 400
    meaning = "This route takes requests with an Idempotency-Key only. Nothing was published."
    retry = (
        "Make a random key for each request, a UUID for example, and send the same one when you "
        "repeat that request."
    )


class IdempotencyKeyReused(Problem):
    """Raised when a request has the Idempotency-Key of another one."""

    kind = "idempotency-key-reused"
    title = "Idempotency-Key Reused"
    status = 422
    meaning = (
        "A request with this Idempotency-Key was different: in its method, path, query, content "
        "type or body. A key stands for one request, and repeats must be equal to it. Nothing was "
        "published."
    )
    retry = "Send a new key with a new request."


class ReplyExpired(Problem):
    """Raised when a reply is asked for after its time."""

    kind = "reply-expired"
    title = "Reply Expired"
    status = 410
    meaning = "The time to fetch this reply is over. Whether one came is no longer known here."
    retry = "There is nothing to be had here any more."


class RequestCancelled(Problem):
    """What is answered to a request that its client has cancelled."""

    kind = "request-cancelled"
    title = "Request Cancelled"
    status = 410
    meaning = (
        "The request was cancelled (DELETE on its status URL) before there was a reply. It may "
        "have been carried out all the same: one that has begun is not stopped. Its reply, should "
        "one come, is not kept."
    )
    retry = "Only if running it twice does no harm."


class AlreadyAnswered(Problem):
    """Raised when a request is cancelled to which there is a reply."""

    kind = "already-answered"
    title = "Already Answered"
    status = 409
    meaning = "The request cannot be cancelled any more: it has been answered."
    retry = "That would change nothing. The URL in Location answers with the reply."


class UnknownReply(Problem):
    """Raised for an id that no gateway of this deployment issued."""

    kind = "unknown-reply"
    title = "Unknown Correlation Id"
    status = 404
    meaning = "The id was not issued here, or was altered on the way."
    retry = "Ask for the id exactly as it was given."


class HttpProblem(Problem):
    """Raised for what HTTP forbids; title and status are those of the standard."""

    kind = "http"
    title = "HTTP Error"
    meaning = "The title and status of the response say what is wrong, as RFC 9110 defines them."
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
        """Return the members of the problem details; the type is HTTP's own meaning."""
        return super().body() | {"type": "about:blank", "title": self._title}


#: The kinds that have a page of their own at /problems/<kind>.
DOCUMENTED: dict[str, type[Problem]] = {
    problem.kind: problem
    for problem in (
        NotSent,
        ReplyTimeout,
        ReplyStoreUnavailable,
        BadReply,
        ResponderError,
        ResponderSilent,
        Overloaded,
        TooManyInFlight,
        RateLimited,
        Unauthorized,
        Forbidden,
        ShuttingDown,
        BodyTooLarge,
        InvalidBody,
        BodyUnreadable,
        IdempotencyKeyInvalid,
        IdempotencyKeyMissing,
        IdempotencyKeyReused,
        ReplyExpired,
        RequestCancelled,
        AlreadyAnswered,
        UnknownReply,
    )
}
