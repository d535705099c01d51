"""
What a request is answered that its client does not want any more.

It is stored like a reply, and competes with that of the responder: the first one wins.
"""

import json

from gateway.problems import RequestCancelled
from rendezvous.contract import CONTENT_TYPE, Reply


def cancellation(correlation_id: str) -> Reply:
    """Return the reply to a cancelled request; always the same for the same id."""
    problem = RequestCancelled(
        "cancelled by its client before there was a reply", correlation_id=correlation_id
    )
    headers = ((CONTENT_TYPE, "application/problem+json"),)
    return Reply(correlation_id, json.dumps(problem.body()).encode(), problem.status, headers)


def is_cancellation(reply: Reply) -> bool:
    """Say whether *reply* is that of a cancelled request, and no responder's."""
    return reply.status == RequestCancelled.status and reply == cancellation(reply.correlation_id)
