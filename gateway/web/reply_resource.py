"""The reply resource: fetch a reply, wait for it, cancel its request."""

import logging
from collections.abc import Callable, Sequence

from flask import Blueprint, Response, request
from werkzeug.http import parse_dict_header

from gateway.clients.admission import Admission
from gateway.clients.client import ANONYMOUS, Client
from gateway.clients.request_facts import request_fields
from gateway.exchange.cancellation import cancellation, is_cancellation
from gateway.exchange.requester import Requester, usable
from gateway.problems import (
    AlreadyAnswered,
    Overloaded,
    ReplyExpired,
    ReplyStoreUnavailable,
    Sent,
    TooManyInFlight,
    UnknownReply,
)
from gateway.web.auth import current_client, owners
from gateway.web.prefer import Preferences
from gateway.web.responses import CORRELATION_ID, pending_response, reply_response
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationId, CorrelationIds
from rendezvous.errors import ForeignCorrelationId, StoreUnavailable
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.replies import Put, ReplyStore

logger = logging.getLogger(__name__)

#: Maximum wait in one request, in seconds; platforms close connections that are idle for 30 s.
MAX_WAIT_S = 25.0
#: Maximum share of the in-flight limit that long polls may take.
MAX_SHARE = 0.5
#: Of a reply: it may be of any type, with content of other clients, under the gateway's origin.
CONTENT_SECURITY_POLICY = "sandbox; default-src 'none'"
#: The directives of Cache-Control that a reply keeps here, without and with seconds.
_FLAGS = ("no-cache", "no-transform", "must-revalidate", "immutable")
_SECONDS = ("max-age", "stale-while-revalidate", "stale-if-error")


class LongPolls:
    """
    Waits for replies to earlier requests, within a share of the in-flight limit.

    Args:
        admission: the in-flight limits, which long polls share with exchanges.
        is_finishing: returns whether this process is shutting down, so that waits end early.
    """

    def __init__(
        self, requester: Requester, admission: Admission, is_finishing: Callable[[], bool]
    ) -> None:
        self._requester = requester
        self._admission = admission
        self._share = Admission(max(1, int(admission.max_in_flight * MAX_SHARE)))
        self._is_finishing = is_finishing

    def wait(
        self, correlation_id: str, wait_s: float, client: Client = ANONYMOUS
    ) -> tuple[Reply | None, bool]:
        """
        Return the reply, if any, and whether the whole wait was applied.

        Without a free slot, or when the process is shutting down, the wait is shorter.

        Raises:
            NotSent: Kafka refused the request meanwhile.
        """
        try:
            with self._share.admit(client), self._admission.admit(client):
                reply = self._requester.wait_again(correlation_id, wait_s, self._is_finishing)
                return reply, reply is not None or not self._is_finishing()
        except (Overloaded, TooManyInFlight):
            return None, False


def reply_resource(
    ids: CorrelationIds,
    store: ReplyStore,
    cancellations: Cancellations,
    polls: LongPolls,
    caller_headers: Sequence[str] = (),
) -> Blueprint:
    """
    Return ``/replies/<correlation id>``.

    GET fetches the reply, and with ``Prefer: wait=N`` waits for it; DELETE cancels the request.

    Args:
        caller_headers: the headers that name the caller, of all routes.
    """
    blueprint = Blueprint("replies", __name__)
    resource = _ReplyResource(ids, store, cancellations, polls, caller_headers)
    path = "/replies/<correlation_id>"
    blueprint.add_url_rule(path, "reply", resource.get, methods=["GET"])
    blueprint.add_url_rule(path, "cancel", resource.delete, methods=["DELETE"])
    return blueprint


def no_replies() -> Blueprint:
    """Return ``/replies/<correlation id>`` of a gateway that keeps no replies."""
    blueprint = Blueprint("replies", __name__)

    def explain(correlation_id: str) -> Response:
        raise UnknownReply(
            f"no reply to {correlation_id[:200]!r} is kept: this gateway runs without Redis "
            "(REDIS_URL), so a reply reaches only the client that waits for it"
        )

    path = "/replies/<correlation_id>"
    blueprint.add_url_rule(path, "reply", explain, methods=["GET", "DELETE"])
    return blueprint


class _ReplyResource:
    def __init__(
        self,
        ids: CorrelationIds,
        store: ReplyStore,
        cancellations: Cancellations,
        polls: LongPolls,
        caller_headers: Sequence[str],
    ) -> None:
        self._ids = ids
        self._store = store
        self._cancellations = cancellations
        self._polls = polls
        self._caller_headers = caller_headers

    def get(self, correlation_id: str) -> Response:
        cid = self._parse(correlation_id)
        reply, applied = self._fetch(cid), ""
        if reply is None:
            reply, applied = self._wait(cid)
        if reply is not None:
            response = _isolated(reply_response(usable(reply)))
            response = _cacheable(response, self._store.remaining_ms(cid))
        elif self._store.is_over(cid):
            raise _expired(cid)
        else:
            response = pending_response(cid.text)
        if applied:
            response.headers["Preference-Applied"] = applied
        return response

    def delete(self, correlation_id: str) -> Response:
        cid = self._parse(correlation_id)
        try:
            (put,) = self._store.put_many([(cid, cancellation(cid.text))])
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, correlation_id=cid.text) from error
        if put is Put.EXPIRED:
            raise _expired(cid)
        if put is Put.DUPLICATE:
            self._check_cancelled(cid)
        # Each time: the notification of an earlier DELETE may have failed.
        self._notify_responders(cid)
        return Response(status=204, headers={"Cache-Control": "no-store"})

    def _parse(self, text: str) -> CorrelationId:
        try:
            found = owners(current_client(), self._caller_headers, request.environ)
            return self._ids.read_for(text, *found)
        except ForeignCorrelationId as error:
            raise UnknownReply(f"the correlation id was not issued here: {text[:200]!r}") from error

    def _fetch(self, cid: CorrelationId) -> Reply | None:
        try:
            return self._store.fetch(cid.text)
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, correlation_id=cid.text) from error

    def _wait(self, cid: CorrelationId) -> tuple[Reply | None, str]:
        """Wait as the client prefers; return the reply and the applied preference."""
        preferred_s = Preferences.parse(request.headers.getlist("Prefer")).wait_s or 0
        wait_s = min(preferred_s, MAX_WAIT_S)
        within_s = min(wait_s, self._store.remaining_ms(cid) / 1000)
        if within_s <= 0:
            return None, ""
        reply, is_applied = self._polls.wait(cid.text, within_s, current_client())
        # Fetched once more: the reply may have arrived after the last poll.
        return reply or self._fetch(cid), f"wait={wait_s:g}" if is_applied else ""

    def _check_cancelled(self, cid: CorrelationId) -> None:
        """Raise unless the stored reply is a cancellation."""
        reply = self._fetch(cid)
        if reply is None:
            raise _expired(cid)  # since put_many()
        if not is_cancellation(reply):
            detail = f"the reply to {cid.text} has arrived; fetch it instead of cancelling"
            raise AlreadyAnswered(detail, correlation_id=cid.text, sent=Sent.YES)

    def _notify_responders(self, cid: CorrelationId) -> None:
        try:
            self._cancellations.mark_cancelled(cid.text)
        except StoreUnavailable as error:
            fields = request_fields(request.environ, cid.text)
            logger.warning("cancelled; responders are not notified: %s", error, extra=fields)


def _expired(cid: CorrelationId) -> ReplyExpired:
    detail = f"the reply to {cid.text} has expired; retrying this URL will not help"
    return ReplyExpired(detail, correlation_id=cid.text)


def _cacheable(response: Response, remaining_ms: int) -> Response:
    """Let clients cache *response*, which never changes, until the reply expires."""
    headers = response.headers
    given = headers.getlist("Cache-Control")
    if not given and "Expires" not in headers:
        given = [f"max-age={max(0, remaining_ms // 1000)}"]
    headers["Cache-Control"] = _private(given)
    if "ETag" not in headers:
        response.set_etag(headers[CORRELATION_ID])
    tag, _ = response.get_etag()
    # RFC 9110, section 13.2.1: conditions apply to successful responses only.
    if tag and 200 <= response.status_code < 300 and request.if_none_match.contains_weak(tag):
        response.status_code = 304
    return response


def _private(cache_control: Sequence[str]) -> str:
    """Return the Cache-Control of a reply without what lets caches share it."""
    given = {k.lower(): v for k, v in parse_dict_header(", ".join(cache_control)).items()}
    if "no-store" in given:
        return "no-store"
    kept = [name for name in _FLAGS if name in given]
    for name in _SECONDS:
        value = given.get(name) or ""
        if value.isascii() and value.isdigit():
            kept.append(f"{name}={value}")
    return ", ".join(["private", *kept])


def _isolated(response: Response) -> Response:
    """Let a browser that opens the URL show the reply, and neither run nor load anything."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
