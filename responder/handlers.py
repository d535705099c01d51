"""
Demo handlers, each a function from request to reply; replace them.

A handler needs no Kafka. An exception becomes an error reply: HandlerError with its status and
detail, any other one with status 500 and no detail.
"""

import time
from typing import Any

from rendezvous.contract import Reply, Request
from responder.registry import HandlerError, handles


@handles("echo")
def echo(request: Request) -> Reply:
    """Reply with the body and the content type of the request."""
    reply = Reply.to(request, request.body, content_type=request.content_type)
    # A content type that is not valid in an HTTP response would make the reply unusable.
    return reply if reply.fits_http() else Reply.to(request, request.body)


@handles("orders")
def orders(request: Request) -> Reply:
    """
    Accept an order: ``{"item": str, "quantity": int >= 1}``.

    ``"delay_s": number`` sleeps first, as a slow service would; the item "bomb" raises.
    """
    order = _parsed(request)
    time.sleep(_delay_s(order))
    item, quantity = order.get("item"), order.get("quantity")
    if item == "bomb":
        raise RuntimeError("the bomb went off")
    if not isinstance(item, str) or not item:
        raise HandlerError(422, '"item" must be a string that is not empty')
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise HandlerError(422, '"quantity" must be a whole number from 1')
    accepted = {"order": request.correlation_id, "item": item, "quantity": quantity}
    return Reply.json(request, accepted, status=201)


def _parsed(request: Request) -> dict[str, Any]:
    try:
        order = request.json()
    except ValueError as error:
        raise HandlerError(400, f"the body is not JSON: {error}; send a JSON object") from error
    if not isinstance(order, dict):
        raise HandlerError(422, "the body must be a JSON object")
    return order


def _delay_s(order: dict[str, Any]) -> float:
    delay_s = order.get("delay_s", 0)
    if isinstance(delay_s, bool) or not isinstance(delay_s, (int, float)) or not 0 <= delay_s <= 60:
        raise HandlerError(422, '"delay_s" must be a number from 0 to 60')
    return float(delay_s)
