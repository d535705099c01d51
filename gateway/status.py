"""Where a reply can be asked for later."""

from flask import Blueprint, Response

from gateway.callers import current_client
from gateway.errors import ReplyExpired, ReplyStoreUnavailable, UnknownReply
from gateway.requester import usable
from gateway.responses import pending_response, reply_response
from replies.correlation import CorrelationIds
from replies.errors import ForeignCorrelationId, StoreUnavailable
from replies.store import ReplyStore


def status_resource(ids: CorrelationIds, store: ReplyStore) -> Blueprint:
    """Return ``GET /replies/<correlation id>``, at which a reply can be fetched later."""
    blueprint = Blueprint("replies", __name__)

    @blueprint.get("/replies/<correlation_id>")
    def reply(correlation_id: str) -> Response:
        try:
            known = ids.read(correlation_id)
        except ForeignCorrelationId as error:
            # In the same words as another client's: nobody learns which ids there are.
            raise UnknownReply(f"{correlation_id[:200]!r} was not issued here") from error
        if not ids.belongs_to(known, current_client().name):
            raise UnknownReply(f"{correlation_id[:200]!r} was not issued here")
        try:
            found = store.fetch(correlation_id)
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, correlation_id=correlation_id) from error
        if found is not None:
            return reply_response(usable(found))
        if store.is_over(known):
            raise ReplyExpired(
                f"the reply to {correlation_id} is no longer kept", correlation_id=correlation_id
            )
        return pending_response(correlation_id)

    return blueprint
