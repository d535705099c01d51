"""Notes the outcome of a request in its span, and failures in the log."""

import logging
from http import HTTPStatus

from rendezvous.contract import Reply, Request
from rendezvous.process.log_fields import timed_fields
from rendezvous.process.traces import tracing

logger = logging.getLogger(__name__)


def logged(reply: Reply, request: Request, began_s: float) -> Reply:
    """Return the *reply* of a handler; log it if it reports a failure."""
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        fields = timed_fields(request, began_s)
        logger.warning("the handler replied with status %d", reply.status, extra=fields)
    return reply


def describe(request: Request, reply: Reply | None) -> None:
    """Add *request* and its *reply*, if any, to the current span."""
    span = tracing.tracer.current()
    if not span.is_recorded:
        return
    status = None if reply is None else reply.status
    is_failed = status is not None and status >= HTTPStatus.INTERNAL_SERVER_ERROR
    span.describe(
        {
            "messaging.message.conversation_id": request.correlation_id,
            "rendezvous.reply.status": status,
        },
        str(status) if is_failed else None,
    )
