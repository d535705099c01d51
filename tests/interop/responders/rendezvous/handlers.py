"""Our own responder: a handler for each case."""

from rendezvous.contract import Reply, Request
from responder.registry import HandlerError, handles


@handles("rendezvous.text")
def text(request: Request) -> Reply:
    """Reply with the body in capital letters."""
    return Reply.to(request, request.body.decode().upper().encode(), content_type="text/plain")


@handles("rendezvous.status")
def status(request: Request) -> Reply:
    """Reply with a status of its own."""
    return Reply.to(request, request.body.upper(), status=201, content_type="text/plain")


@handles("rendezvous.error")
def error(request: Request) -> Reply:
    """Fail with a status."""
    raise HandlerError(422, "out of stock")


@handles("rendezvous.nothing")
def nothing(request: Request) -> Reply:
    """Reply without a body."""
    return Reply.to(request, status=204)
