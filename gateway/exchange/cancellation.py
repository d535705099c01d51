"""
The reply to a cancelled request.

It is stored like the reply of a responder and competes with it: the first one stored wins.
"""

import json

from gateway.problems import RequestCancelled
from rendezvous.contract import CONTENT_TYPE, Reply


def cancellation(correlation_id: str) -> Reply:
    """Return the reply to a cancelled request, which depends only on its id."""
    problem = RequestCancelled(
        "cancelled by its client before there was a reply", correlation_id=correlation_id
    )
    headers = ((CONTENT_TYPE, "application/problem+json"),)
    return Reply(correlation_id, json.dumps(problem.body()).encode(), problem.status, headers)


def is_cancellation(reply: Reply) -> bool:
    """Return whether *reply* is that of a cancelled request, not a responder's."""
    return reply.status == RequestCancelled.status and reply == cancellation(reply.correlation_id)
