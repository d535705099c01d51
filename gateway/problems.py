"""The problem types: the status of each, and the texts that clients read."""

from typing import Any

from gateway.client_problems import CallerUnknown as CallerUnknown
from gateway.client_problems import Forbidden as Forbidden
from gateway.client_problems import InsufficientScope as InsufficientScope
from gateway.client_problems import RateLimited as RateLimited
from gateway.client_problems import TokenKeysUnavailable as TokenKeysUnavailable
from gateway.client_problems import TooManyInFlight as TooManyInFlight
from gateway.client_problems import Unauthorized as Unauthorized
from gateway.problem_details import TEMPORARY_STATUSES as TEMPORARY_STATUSES
from gateway.problem_details import HttpProblem as HttpProblem
from gateway.problem_details import Problem as Problem
from gateway.problem_details import Sent as Sent


class NotSent(Problem):
    """The request could not be published, or may not have been."""

    kind = "not-sent"
    title = "Request Not Sent"
    status = 503
    retry_after_s = 1
    meaning = (
        'Kafka refused the request ("sent": "no"), or did not acknowledge it ("sent": "unknown"). '
        "In the second case it may still be appended and carried out."
    )
    retry = (
        'With "sent": "no" retrying is safe. With "sent": "unknown" fetch the URL in Location '
        "first, and retry only with the same Idempotency-Key, or if running the request twice does "
        "no harm."
    )


class ReplyTimeout(Problem):
    """No reply arrived before the deadline."""

    kind = "reply-timeout"
    title = "Gateway Timeout"
    status = 503
    retry_after_s = 1
    meaning = "No reply arrived in time. The request may have been, or may still be, carried out."
    retry = (
        "Fetch the URL in Location first: it returns a late reply. Retry only with the same "
        "Idempotency-Key, which returns the reply to the first request, or if running the request "
        "twice does no harm."
    )

    def __init__(self, detail: str, *, status: int, correlation_id: str, sent: Sent) -> None:
        super().__init__(detail, correlation_id=correlation_id, sent=sent)
        self.status = status


class ReplyStoreUnavailable(Problem):
    """Redis, which stores the replies, does not respond or takes no writes."""

    kind = "reply-store-unavailable"
    title = "Reply Store Unavailable"
    status = 503
    retry_after_s = 1
    meaning = (
        'The store of the replies does not respond or takes no writes. With "sent": "no" the '
        'request was not published; with "sent": "yes" or "unknown" it may be carried out.'
    )
    retry = (
        'With "sent": "no", or without "sent", retrying after Retry-After is safe. With "sent": '
        '"yes" or "unknown" fetch the URL in Location after Retry-After.'
    )


class BadReply(Problem):
    """The reply of the responder is not a valid HTTP response."""

    kind = "bad-reply"
    title = "Bad Reply"
    status = 502
    meaning = (
        "The responder carried out the request, and its reply is not a valid HTTP response, or "
        "exceeds MAX_REPLY_BYTES of this gateway."
    )
    retry = "Do not retry, which would carry out the request again; fix the responder."


class ResponderError(Problem):
    """The responder reported a failure without an HTTP status."""

    kind = "responder-error"
    title = "Responder Failed"
    status = 502
    meaning = "The responder reported a failure without an HTTP status."
    retry = "Whether a retry helps or does harm depends on the failure; read the detail."


class ResponderSilent(Problem):
    """The circuit breaker of the topic is open, its probes are in flight."""

    kind = "responder-silent"
    title = "Responder Silent"
    status = 503
    retry_after_s = 1
    meaning = (
        "The service behind this route has stopped replying, to you or to all, so its circuit "
        "breaker is open. Nothing was published; the first reply to a probe closes the breaker."
    )
    retry = "Retrying after Retry-After is safe."


class Overloaded(Problem):
    """The process has reached its in-flight limit."""

    kind = "overloaded"
    title = "Too Many Requests In Flight"
    status = 503
    retry_after_s = 1
    meaning = (
        "This gateway process has reached its in-flight limit, and none of the requests in flight "
        "ended in time. Nothing was published."
    )
    retry = "Retrying after Retry-After is safe."


class ShuttingDown(Problem):
    """The process is shutting down and accepts no new requests."""

    kind = "shutting-down"
    title = "Shutting Down"
    status = 503
    retry_after_s = 1
    meaning = "This gateway process is shutting down. Nothing was published."
    retry = "Retrying on a new connection is safe."


class BodyTooLarge(Problem):
    """The body exceeds MAX_BODY_BYTES or the limit of the route."""

    kind = "too-large"
    title = "Content Too Large"
    status = 413
    meaning = "The body exceeds the limit of the gateway or of the route. Nothing was published."
    retry = "Do not retry as it is; send a smaller body."


class InvalidBody(Problem):
    """The body does not fit the schema; *faults* has the errors."""

    kind = "invalid-body"
    title = "Invalid Body"
    status = 400
    meaning = (
        "The body is not JSON or does not fit the JSON Schema of the route; nothing was published. "
        '"faults" lists up to 20 errors, each with a JSON pointer ("path") and a text ("fault").'
    )
    retry = "Correct the body first."

    def __init__(self, detail: str, faults: list[dict[str, str]]) -> None:
        super().__init__(detail, sent=Sent.NO)
        self._faults = faults

    def body(self) -> dict[str, Any]:
        """Return the members of the problem details, with the faults."""
        return super().body() | {"faults": self._faults}


class BodyUnreadable(Problem):
    """The body is incomplete, or its framing is broken."""

    kind = "unreadable-body"
    title = "Unreadable Body"
    status = 400
    meaning = "The body was incomplete or its HTTP framing was invalid. Nothing was published."
    retry = "Retrying with a complete and correctly framed body is safe."


class IdempotencyKeyInvalid(Problem):
    """The Idempotency-Key is malformed, or there are several."""

    kind = "idempotency-key-invalid"
    title = "Invalid Idempotency-Key"
    status = 400
    meaning = (
        "The Idempotency-Key is malformed, or the request has several; nothing was published. "
        "A key has 1 to 255 visible ASCII characters, in double quotes or bare."
    )
    retry = "Send one valid key, or none if the route does not require it."


class IdempotencyKeyMissing(Problem):
    """The request has no Idempotency-Key and its route requires one."""

    kind = "idempotency-key-missing"
    title = "Idempotency-Key Missing"
    status = 400
    meaning = "This route requires an Idempotency-Key. Nothing was published."
    retry = (
        "Generate a random key for each request, such as a UUID. Send the same key with every "
        "retry of that request."
    )


class IdempotencyUnavailable(Problem):
    """The request has an Idempotency-Key, and this gateway runs without Redis."""

    kind = "idempotency-unavailable"
    title = "Idempotency Keys Unavailable"
    status = 501
    meaning = (
        "This gateway runs without Redis (REDIS_URL), where idempotency keys are kept. Nothing was "
        "published."
    )
    retry = "Send the request without a key, if running it twice does no harm."


class IdempotencyKeyReused(Problem):
    """A different request has used this Idempotency-Key."""

    kind = "idempotency-key-reused"
    title = "Idempotency-Key Reused"
    status = 422
    meaning = (
        "An earlier request with this Idempotency-Key had another method, path, query, content "
        "type or body. Nothing was published."
    )
    retry = "Send a new key with a new request, and the same request with the same key."


class KeptRepliesFull(Problem):
    """The replies that are kept for idempotency keys have reached their limit."""

    kind = "kept-replies-full"
    title = "Too Many Kept Replies"
    status = 429
    retry_after_s = 60
    meaning = (
        "The replies kept for idempotency keys have reached the limit of bytes of this client "
        "(429) or of all clients (503). Nothing was published."
    )
    retry = (
        "Retrying after Retry-After is safe; earlier keys still work. The limit frees up as kept "
        "replies expire."
    )

    def __init__(self, detail: str, *, status: int) -> None:
        super().__init__(detail, sent=Sent.NO)
        self.status = status


class ReplyExpired(Problem):
    """The reply is no longer stored."""

    kind = "reply-expired"
    title = "Reply Expired"
    status = 410
    meaning = "The reply has expired. The gateway no longer knows whether there was one."
    retry = "Do not retry; this URL will not return a reply any more."


class RequestCancelled(Problem):
    """The client cancelled the request."""

    kind = "request-cancelled"
    title = "Request Cancelled"
    status = 410
    meaning = (
        "The request was cancelled (DELETE on its status URL) before a reply arrived. A responder "
        "that had begun it carries it out, and its reply is discarded."
    )
    retry = "Send the request again only if running it twice does no harm."


class AlreadyAnswered(Problem):
    """The request cannot be cancelled, because its reply has arrived."""

    kind = "already-answered"
    title = "Already Answered"
    status = 409
    meaning = "The request cannot be cancelled, because its reply has arrived."
    retry = "Do not retry; fetch the reply from the URL in Location."


class UnknownReply(Problem):
    """The correlation id was not issued here, or not to this client."""

    kind = "unknown-reply"
    title = "Unknown Correlation Id"
    status = 404
    meaning = "The correlation id is altered, or was not issued by this gateway to this client."
    retry = "Send the correlation id exactly as it was issued."


#: The types that have a page at /problems/<kind>.
DOCUMENTED: dict[str, type[Problem]] = {
    kind.kind: kind for kind in Problem.__subclasses__() if kind is not HttpProblem
}
