"""Handlers that reply with when they began and ended, by the clock of spans."""

import time

from rendezvous.contract import Reply, Request
from responder.registry import handles


@handles("orders")
def orders(request: Request) -> Reply:
    """Sleep as asked; reply with the times (Unix time in ns)."""
    order = request.json()
    began_ns = time.time_ns()
    time.sleep(order["delay_s"])
    status = order.get("status", 200)
    return Reply.json(request, {"began_ns": began_ns, "ended_ns": time.time_ns()}, status=status)


@handles("echo")
def echo(request: Request) -> Reply:
    """Reply with the body of the request."""
    return Reply.to(request, request.body, content_type=request.content_type)
