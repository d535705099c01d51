"""Where a reply can be asked for later, waited for, and declined."""

import logging
from collections.abc import Callable

from flask import Blueprint, Response, request

from gateway.clients.admission import Admission
from gateway.clients.client import ANONYMOUS, Client
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
from gateway.web.auth import current_client
from gateway.web.prefer import Preferences
from gateway.web.responses import CORRELATION_ID, pending_response, reply_response
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationId, CorrelationIds
from rendezvous.errors import ForeignCorrelationId, StoreUnavailable
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.replies import Put, ReplyStore

logger = logging.getLogger(__name__)

#: The longest that a client may wait in one call; platforms cut off what is silent for 30 s.
LONGEST_S = 25.0
#: So much of the places of this process may be held by those who wait again.
SHARE = 0.5


class LongPolls:
    """
    Lets clients wait for replies as far as there is room, and leaves room for requests.

    Args:
        requester: knows what arrives in this process.
        admission: of the requests, with which they share the places.
        is_finishing: says whether this process ends and has no time for them.
    """

    def __init__(
        self, requester: Requester, admission: Admission, is_finishing: Callable[[], bool]
    ) -> None:
        self._requester = requester
        self._admission = admission
        self._share = Admission(max(1, int(admission.max_in_flight * SHARE)))
        self._is_finishing = is_finishing

    def wait(
        self, correlation_id: str, wait_s: float, client: Client = ANONYMOUS
    ) -> tuple[Reply | None, bool]:
        """
        Return the reply to *correlation_id* if it comes in time, and whether it was waited for.

        Args:
            wait_s: how long to wait; not at all without room, less when this process finishes.
            client: who waits; its share of the places counts here too.

        Raises:
            NotSent: when the request turns out to be refused.
        """
        try:
            with self._share.admit(client), self._admission.admit(client):
                reply = self._requester.wait_again(correlation_id, wait_s, self._is_finishing)
                return reply, reply is not None or not self._is_finishing()
        except (Overloaded, TooManyInFlight):
            return None, False


def reply_resource(
    ids: CorrelationIds, store: ReplyStore, cancellations: Cancellations, polls: LongPolls
) -> Blueprint:
    """
    Return ``/replies/<correlation id>``.

    GET fetches the reply, and with ``Prefer: wait=N`` waits for it; DELETE cancels the request.
    """
    blueprint = Blueprint("replies", __name__)
    status = _ReplyResource(ids, store, cancellations, polls)
    blueprint.add_url_rule("/replies/<correlation_id>", "reply", status.get, methods=["GET"])
    blueprint.add_url_rule("/replies/<correlation_id>", "cancel", status.delete, methods=["DELETE"])
    return blueprint


class _ReplyResource:
    def __init__(
        self,
        ids: CorrelationIds,
        store: ReplyStore,
        cancellations: Cancellations,
        polls: LongPolls,
    ) -> None:
        self._ids = ids
        self._store = store
        self._cancellations = cancellations
        self._polls = polls

    def get(self, correlation_id: str) -> Response:
        known = self._read(correlation_id)
        reply, applied = self._fetch(known), ""
        if reply is None:
            reply, applied = self._wait(known)
        if reply is not None:
            response = _kept(reply_response(usable(reply)), self._store.remaining_ms(known))
        elif self._store.is_over(known):
            raise _expired(known)
        else:
            response = pending_response(known.text)
        if applied:
            response.headers["Preference-Applied"] = applied
        return response

    def delete(self, correlation_id: str) -> Response:
        known = self._read(correlation_id)
        try:
            (put,) = self._store.put_many([(known, cancellation(known.text))])
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, correlation_id=known.text) from error
        if put is Put.EXPIRED:
            raise _expired(known)
        if put is Put.DUPLICATE:
            self._check_cancelled(known)
        # Not only the first time: the responders may not have heard of it then.
        self._tell_responders(known)
        return Response(status=204, headers={"Cache-Control": "no-store"})

    def _read(self, text: str) -> CorrelationId:
        try:
            return self._ids.read_for(current_client().name, text)
        except ForeignCorrelationId as error:
            raise UnknownReply(f"{text[:200]!r} was not issued here") from error

    def _fetch(self, known: CorrelationId) -> Reply | None:
        try:
            return self._store.fetch(known.text)
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, correlation_id=known.text) from error

    def _wait(self, known: CorrelationId) -> tuple[Reply | None, str]:
        """Wait for as long as the client prefers; return the reply, and what was applied."""
        preferred_s = Preferences.parse(request.headers.getlist("Prefer")).wait_s or 0
        wait_s = min(preferred_s, LONGEST_S)
        within_s = min(wait_s, self._store.remaining_ms(known) / 1000)
        if within_s <= 0:
            return None, ""
        reply, waited = self._polls.wait(known.text, within_s, current_client())
        # One last look: it may have come during the poller's pause.
        return reply or self._fetch(known), f"wait={wait_s:g}" if waited else ""

    def _check_cancelled(self, known: CorrelationId) -> None:
        found = self._fetch(known)
        if found is None:
            raise _expired(known)  # just now
        if not is_cancellation(found):
            detail = f"there is a reply to {known.text} already"
            raise AlreadyAnswered(detail, correlation_id=known.text, sent=Sent.YES)

    def _tell_responders(self, known: CorrelationId) -> None:
        try:
            self._cancellations.mark_cancelled(known.text)
        except StoreUnavailable as error:
            logger.warning("%s: cancelled, but no responder is told (%s)", known.text, error)


def _expired(known: CorrelationId) -> ReplyExpired:
    detail = f"the reply to {known.text} is no longer kept"
    return ReplyExpired(detail, correlation_id=known.text)


def _kept(response: Response, remaining_ms: int) -> Response:
    """Let the client keep *response*, which never changes, for as long as we do."""
    headers = response.headers
    if "Cache-Control" not in headers and "Expires" not in headers:
        headers["Cache-Control"] = f"private, max-age={max(0, remaining_ms // 1000)}"
    if "ETag" not in headers:
        response.set_etag(headers[CORRELATION_ID])
    tag, _ = response.get_etag()
    # RFC 9110, section 13.2.1: conditions are for what would be a success.
    if tag and 200 <= response.status_code < 300 and request.if_none_match.contains_weak(tag):
        response.status_code = 304
    return response
