"""
Encoding of a stored reply, in Redis or in a database.

Standard library only, so that a responder can store replies without Redis.
"""

import json
from collections.abc import Iterable

from rendezvous.contract import Outcome, Reply
from rendezvous.errors import UnusableReply


def to_bytes(reply: Reply) -> bytes:
    """Return *reply* as bytes, for from_bytes()."""
    head = [reply.correlation_id, reply.status, reply.outcome, reply.detail, reply.headers]
    return json.dumps(head).encode() + b"\n" + reply.body


def from_bytes(correlation_id: str, value: bytes) -> Reply:
    """
    Return the reply to *correlation_id* that *value* encodes.

    If it encodes none, or the reply to another id, return an unusable reply with the reason.
    """
    head, _, body = value.partition(b"\n")
    try:
        stored_id, status, outcome, detail, headers = json.loads(head)
        reply = Reply(stored_id, body, int(status), _pairs(headers), Outcome(outcome), str(detail))
    except (ArithmeticError, RecursionError, TypeError, ValueError):
        return Reply.unusable(UnusableReply(correlation_id, "the stored value is not a reply"))
    if stored_id != correlation_id:
        return Reply.unusable(
            UnusableReply(correlation_id, "the stored value is the reply to another id")
        )
    return reply


def _pairs(headers: Iterable[Iterable[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in headers)
