"""
A handler for gateways of other projects: lets the shipped responder echo their requests.

    TOPIC=... python -m responder --handlers tools.bench.programs.peers.shipped_handlers
"""

import os

from rendezvous.contract import Reply, Request
from responder.registry import handles


@handles(os.environ["TOPIC"])
def echo(request: Request) -> Reply:
    """Reply with the body of the request."""
    return Reply.to(request, request.body)
