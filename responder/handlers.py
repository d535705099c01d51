"""
The demo handlers: plain functions from a request to its reply. Replace them by your own.

No Kafka in here. Whatever a handler raises becomes an error status; nobody is left waiting.
"""

import time
from typing import Any

from rendezvous.contract import MAX_HEADER_BYTES, Reply, Request
from responder.registry import HandlerError, handles


@handles("echo")
def echo(request: Request) -> Reply:
    """Reply with the bytes that came, and their content type unless no response can carry it."""
    content_type = request.content_type
    if content_type and (not content_type.isascii() or len(content_type) > MAX_HEADER_BYTES):
        content_type = None
    return Reply.to(request, request.body, content_type=content_type)


@handles("orders")
def orders(request: Request) -> Reply:
    """
    Take an order: ``{"item": str, "quantity": int >= 1}``.

    ``"delay_s": number`` sleeps first, as a slow service would; the item "bomb" raises.
    """
    order = _parsed(request)
    time.sleep(_delay_s(order))
    item, quantity = order.get("item"), order.get("quantity")
    if item == "bomb":
        raise RuntimeError("the bomb went off")
    if not isinstance(item, str) or not item:
        raise HandlerError(422, '"item" has to be a text that is not empty')
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise HandlerError(422, '"quantity" has to be a whole number from 1')
    accepted = {"order": request.correlation_id, "item": item, "quantity": quantity}
    return Reply.json(request, accepted, status=201)


def _parsed(request: Request) -> dict[str, Any]:
    try:
        order = request.json()
    except ValueError as error:
        raise HandlerError(400, f"the body is not JSON: {error}") from error
    if not isinstance(order, dict):
        raise HandlerError(422, "the body has to be a JSON object")
    return order


def _delay_s(order: dict[str, Any]) -> float:
    delay_s = order.get("delay_s", 0)
    if isinstance(delay_s, bool) or not isinstance(delay_s, (int, float)) or not 0 <= delay_s <= 60:
        raise HandlerError(422, '"delay_s" has to be a number from 0 to 60')
    return float(delay_s)
