"""A responder whose handler returns a reply above the size limit of Kafka."""

from rendezvous.contract import Reply, Request
from responder.__main__ import main
from responder.registry import handles

REPLY_BYTES = 2_000_000


@handles("big")
def big(request: Request) -> Reply:
    """Return the body, or REPLY_BYTES zero bytes for an empty one."""
    return Reply.to(request, request.body or bytes(REPLY_BYTES))


if __name__ == "__main__":
    main()
