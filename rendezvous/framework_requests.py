"""
Requests as other frameworks write them: ids, reply partitions, and what their replies need.

Standard library only: part of the wire contract, see contract.py.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from rendezvous.errors import MalformedRecord
from rendezvous.framework_replies import first_line, json_of
from rendezvous.reply_headers import (
    MAX_HEADER_BYTES,
    Headers,
    listed_names,
    single_value,
    text_headers,
)

CORRELATION_ID = "correlation-id"
REPLY_TOPIC = "reply-topic"
REPLY_PARTITION = "reply-partition"
DEADLINE = "deadline"

_SPRING_ID = "kafka_correlationId"
_QUARKUS_ID = "REPLY_CORRELATION_ID"
#: Names of the correlation id: ours, Spring's and NestJS's, Quarkus's, FastStream's.
ID_HEADERS = (CORRELATION_ID, _SPRING_ID, _QUARKUS_ID, "correlation_id")
#: Names of the reply topic, in the same order.
REPLY_TOPIC_HEADERS = (REPLY_TOPIC, "kafka_replyTopic", "REPLY_TOPIC", "reply_to")
_SPRING_PARTITION = NEST_PARTITION = "kafka_replyPartition"
_QUARKUS_PARTITION = "REPLY_PARTITION"
#: Names of the reply partition, ours first.
PARTITION_HEADERS = (REPLY_PARTITION, _SPRING_PARTITION, _QUARKUS_PARTITION)
FRAMEWORK_HEADERS = (*ID_HEADERS, *REPLY_TOPIC_HEADERS, *PARTITION_HEADERS)
#: The names of the id in a request of a gateway, or of a service that writes records as we do.
_OUR_NAMES = ({CORRELATION_ID}, set(ID_HEADERS))
_ID_NAMES = frozenset(ID_HEADERS)

#: What can be a correlation id as it is. Anything else must not reach a log or a header.
_TEXT_ID = re.compile(r"[!-~]{1,200}", re.ASCII)
#: Beginnings of the texts that stand for other ids. An id that begins so is not taken as it is, so
#: that no two ids have the same text.
_HEX, _DIGEST = "hex:", "sha256:"
#: Maximum size of an id that is not such a text, in bytes: its text has at most 200 characters.
MAX_BINARY_ID_BYTES = 98
#: Unix time in ms. Python's int() accepts more, also numbers that no clock can be compared with.
_DEADLINE = re.compile(rb"[0-9]{1,15}")
#: What Kafka accepts as the name of a topic.
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
#: The number of a partition, below 2^31.
_DIGITS = re.compile(rb"[0-9]{1,9}")
#: The largest partition whose bytes are UTF-8, as all headers have to be.
_MAX_UTF8_PARTITION = 127
_PARTITION_BYTES = 4

#: NestJS: ends a call; what it reads is whether the header is there.
_NEST_LAST = ("kafka_nest-is-disposed", b"\0")
_NEST_ERROR = "kafka_nest-err"
#: Headers of an error text, by the name of the id: of the replyErrorChecker in the documentation
#: of Spring, and of the ReplyFailureHandler in that of Quarkus.
_ERROR_TEXTS = {_SPRING_ID: "serverSentAnError", _QUARKUS_ID: "REPLY_ERROR"}


#: The last value of each header.
LastValues = Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class ForeignRequester:
    """
    A requester that is not a gateway: its ids, and how it reads replies.

    Args:
        id_headers: the id as it came, under each name under which it came.
        is_nest: whether it is NestJS.
    """

    id_headers: tuple[tuple[str, bytes], ...]
    is_nest: bool = False

    def reply_headers(self, status: int, body: bytes) -> list[tuple[str, bytes]]:
        """Return the headers of its reply: the id, and whether it failed."""
        headers = list(self.id_headers)
        if self.is_nest:
            headers.append(_NEST_LAST)
        if status < 400:
            return headers
        if self.is_nest:
            return [*headers, (_NEST_ERROR, _nest_error(status, body))]
        text = _error_text(status, _json_object(body), body).encode()
        names = (_ERROR_TEXTS.get(name) for name, _ in self.id_headers)
        return headers + [(name, text) for name in names if name is not None]


def id_in(headers: Headers) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """
    Return the correlation id as text, and its headers.

    The text of an id that is not printable ASCII is made of its hexadecimal digits.

    Raises:
        MalformedRecord: when there is not one id, or it is too long.
    """
    found = [(n, v) for n, v in headers if n in _ID_NAMES and v is not None]
    values = {value for _, value in found}
    if not values:
        listed = listed_names(text_headers(headers))
        raise MalformedRecord(f"no correlation id; its headers: {listed}")
    if len(values) > 1:
        raise MalformedRecord("several values for the correlation id")
    return _text_of(values.pop()), tuple(dict.fromkeys(found))


def digest_of(*facts: object) -> str:
    """Return a text that stands for *facts* and is the text of no correlation id."""
    return _DIGEST + sha256(repr(facts).encode()).hexdigest()


def reply_topic_in(text: Mapping[str, list[str]], *, can_miss: bool) -> str:
    """
    Return the reply topic in the headers *text*; an empty one if it is missing and can be.

    Raises:
        MalformedRecord: when there is not one valid topic.
    """
    if can_miss and text.keys().isdisjoint(REPLY_TOPIC_HEADERS):
        return ""
    reply_topic = single_value(text, REPLY_TOPIC_HEADERS, "reply topic")
    if not _TOPIC.fullmatch(reply_topic):
        raise MalformedRecord("the reply topic is not valid")
    return reply_topic


def deadline_in(last: LastValues, default_ms: int | None) -> int:
    """
    Return the deadline (Unix time in ms), or *default_ms* if there is no such header.

    Raises:
        MalformedRecord: when it is not valid, or missing without a default.
    """
    if default_ms is not None and DEADLINE not in last:
        return default_ms
    deadline_ms = last.get(DEADLINE)
    if deadline_ms is None or not _DEADLINE.fullmatch(deadline_ms):
        raise MalformedRecord(f"header {DEADLINE!r} is not a Unix time in ms")
    return int(deadline_ms)


def requester_in(
    last: LastValues,
    correlation_id: str,
    id_headers: tuple[tuple[str, bytes], ...],
) -> ForeignRequester | None:
    """Return the requester, or None for a gateway and for services that write the same headers."""
    is_ours = dict(id_headers).keys() in _OUR_NAMES and not correlation_id.startswith(_HEX)
    if is_ours and DEADLINE in last:
        return None
    # It alone writes its reply partition under this name in digits.
    is_nest = _DIGITS.fullmatch(last.get(_SPRING_PARTITION) or b"") is not None
    return ForeignRequester(id_headers, is_nest)


def quarkus_partition(partition: int | None) -> list[tuple[str, bytes]]:
    """Return the header by which Quarkus replies to *partition*; none if it is not UTF-8."""
    if partition is None or partition > _MAX_UTF8_PARTITION:
        return []
    return [(_QUARKUS_PARTITION, partition.to_bytes(_PARTITION_BYTES, "big"))]


def partition_in(last: LastValues) -> int | None:
    """
    Return the partition of the reply topic that a request asks for, or None.

    It is written in digits (ours, NestJS) or in four bytes (Spring, Quarkus). Four bytes that are
    digits are digits: as a number they exceed what a topic can have.
    """
    for name in PARTITION_HEADERS:
        value = last.get(name) or b""
        if _DIGITS.fullmatch(value):
            return int(value)
        if len(value) == _PARTITION_BYTES and name != REPLY_PARTITION and value[0] < 0x80:
            return int.from_bytes(value, "big")
    return None


def _text_of(raw: bytes) -> str:
    text = raw.decode("ascii", "replace")
    if _TEXT_ID.fullmatch(text) and not text.startswith((_HEX, _DIGEST)):
        return text
    if not 1 <= len(raw) <= MAX_BINARY_ID_BYTES:
        raise MalformedRecord(
            f"the correlation id has {len(raw)} bytes; the maximum is 200 characters of ASCII or "
            f"{MAX_BINARY_ID_BYTES} bytes"
        )
    return _HEX + raw.hex()


def _nest_error(status: int, body: bytes) -> bytes:
    """Return the error of a failed reply as NestJS's filters of exceptions read it."""
    fields = _json_object(body)
    base = {"statusCode": status, "message": _error_text(status, fields, body)}
    error = json.dumps(base | fields).encode()
    return error if len(error) <= MAX_HEADER_BYTES else json.dumps(base).encode()


def _error_text(status: int, fields: dict[str, object], body: bytes) -> str:
    """Return what a failed reply says, in one line."""
    named = (fields.get(name) for name in ("detail", "message", "title"))
    text = next((value for value in named if isinstance(value, str)), "")
    if not fields:
        text = body[:MAX_HEADER_BYTES].decode("utf-8", "replace")
    return first_line(text) or f"status {status}"


def _json_object(body: bytes) -> dict[str, object]:
    """Return the JSON object in *body*, or an empty one."""
    if len(body) > MAX_HEADER_BYTES:
        return {}
    value = json_of(body.decode("utf-8", "replace"))
    return value if isinstance(value, dict) else {}
