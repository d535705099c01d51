"""A responder with a handler whose reply is larger than Kafka takes."""

from rendezvous.contract import Reply, Request
from responder.__main__ import main
from responder.registry import handles

REPLY_BYTES = 2_000_000


@handles("big")
def big(request: Request) -> Reply:
    """Return far too much, or what it got when that is something."""
    return Reply.to(request, request.body or bytes(REPLY_BYTES))


if __name__ == "__main__":
    main()
