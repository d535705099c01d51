"""Decodes the records of the reply topic, also those whose value is not kept."""

from collections.abc import Callable
from typing import Any

from rendezvous.contract import Reply
from rendezvous.errors import UnusableReply
from rendezvous.kafka_client.patches.bounded_batches import DroppedValue


def excess_of(record: Any, max_reply_bytes: int) -> str | None:
    """Return why the value of *record* is not kept, or None when it is."""
    if isinstance(record.value, DroppedValue):
        return record.value.reason
    size = len(record.value or b"")
    if size <= max_reply_bytes:
        return None
    return f"it has {size} bytes; the maximum is {max_reply_bytes} (MAX_REPLY_BYTES)"


def id_in_key(key: bytes) -> str:
    """Return the correlation id in a record key, which it is while no gateway reads a partition."""
    return key.decode("utf-8", "replace")


def reply_in(record: Any, excess: str | None, id_of: Callable[[bytes], str] = id_in_key) -> Reply:
    """
    Return the reply in *record*; an unusable one when it cannot be an HTTP response.

    Args:
        excess: why the value is not kept; see excess_of().
        id_of: returns the id of the request with a record key: the headers are lost with a value
            that was not decompressed.

    Raises:
        MalformedRecord: when it does not name exactly one request.
    """
    try:
        if excess is None:
            return Reply.decode(record.value, record.headers)
        raise UnusableReply(_id_in(record, id_of), f"the reply was dropped: {excess}")
    except UnusableReply as error:
        return Reply.unusable(error)


def _id_in(record: Any, id_of: Callable[[bytes], str]) -> str:
    if record.headers or not record.key:
        return Reply.decode(b"", record.headers).correlation_id
    return id_of(record.key)
