"""
A handler for gateways of other projects: lets the shipped responder echo their requests.

Their requests have no deadline, which ours needs: it is added here. Their replies need the
correlation id under Spring's name. Everything else is the responder as it is.

    TOPIC=... python -m responder --handlers tools.bench.programs.peers.shipped_handlers
"""

import os
from typing import Any

from rendezvous.contract import DEADLINE, Headers, Reply, Request
from rendezvous.correlation import epoch_ms
from responder.registry import handles

TIMEOUT_S = 5
_decode = Request.decode.__func__  # type: ignore[attr-defined]


def _decode_with_deadline(
    cls: type[Request], topic: str, key: bytes | None, value: bytes | None, headers: Headers
) -> Any:
    deadline = b"%d" % (epoch_ms() + TIMEOUT_S * 1000)
    return _decode(cls, topic, key, value, [*headers, (DEADLINE, deadline)])


Request.decode = classmethod(_decode_with_deadline)  # type: ignore[assignment,method-assign]


@handles(os.environ["TOPIC"])
def echo(request: Request) -> Reply:
    """Reply with the body of the request."""
    return Reply.to(
        request, request.body, headers=[("kafka_correlationId", request.correlation_id)]
    )
