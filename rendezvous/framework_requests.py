"""
Requests as other frameworks write them: ids, reply partitions, and what their replies need.

Standard library only: part of the wire contract, see contract.py.
"""

import json
import re
from dataclasses import dataclass
from hashlib import sha256

from rendezvous.errors import MalformedRecord
from rendezvous.framework_replies import first_line, json_of
from rendezvous.reply_headers import MAX_HEADER_BYTES, Headers, listed_names, text_headers

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
_SPRING_PARTITION = "kafka_replyPartition"
#: Names of the reply partition, ours first.
PARTITION_HEADERS = (REPLY_PARTITION, _SPRING_PARTITION, "REPLY_PARTITION")
FRAMEWORK_HEADERS = (*ID_HEADERS, *REPLY_TOPIC_HEADERS, *PARTITION_HEADERS)
#: The names of the id in a request of a gateway, or of a service that writes records as we do.
_OUR_NAMES = ({CORRELATION_ID}, set(ID_HEADERS))

#: What can be a correlation id as it is. Anything else must not reach a log or a header.
_TEXT_ID = re.compile(r"[!-~]{1,200}", re.ASCII)
#: Beginnings of the texts that stand for other ids. An id that begins so is not taken as it is, so
#: that no two ids have the same text.
_HEX, _DIGEST = "hex:", "sha256:"
#: Maximum size of an id that is not such a text, in bytes: its text has at most 200 characters.
MAX_BINARY_ID_BYTES = 98
#: Unix time in ms. Python's int() accepts more, also numbers that no clock can be compared with.
_DEADLINE = re.compile(rb"[0-9]{1,15}")
#: The number of a partition, below 2^31.
_DIGITS = re.compile(rb"[0-9]{1,9}")
_PARTITION_BYTES = 4

#: NestJS: ends a call; what it reads is whether the header is there.
_NEST_LAST = ("kafka_nest-is-disposed", b"\0")
_NEST_ERROR = "kafka_nest-err"
#: Headers of an error text, by the name of the id: of the replyErrorChecker in the documentation
#: of Spring, and of the ReplyFailureHandler in that of Quarkus.
_ERROR_TEXTS = {_SPRING_ID: "serverSentAnError", _QUARKUS_ID: "REPLY_ERROR"}


@dataclass(frozen=True, slots=True)
class ForeignRequester:
    """
    What distinguishes a requester that is not a gateway: its ids, and how it reads replies.

    Args:
        id_headers: the id as it came, under each name under which it came.
        is_nest: whether it is NestJS.
        sent_ms: timestamp of its record (Unix time in ms), if it has one.
    """

    id_headers: tuple[tuple[str, bytes], ...]
    is_nest: bool = False
    sent_ms: int | None = None

    def reply_headers(self, status: int, body: bytes) -> list[tuple[str, bytes]]:
        """Return the headers that tell it which request a reply answers, and whether it failed."""
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

    def journal_id(self, *request: object) -> str:
        """Return a text that only a redelivery of the same *request* has: its ids may repeat."""
        same = repr((self.id_headers, self.sent_ms, *request))
        return _DIGEST + sha256(same.encode()).hexdigest()


def id_in(headers: Headers) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """
    Return the correlation id as text, and its headers.

    The text of an id that is not printable ASCII is made of its hexadecimal digits.

    Raises:
        MalformedRecord: when there is not one id, or it is too long.
    """
    found = dict.fromkeys((n, v) for n, v in headers if v is not None and n in ID_HEADERS)
    values = {value for _, value in found}
    if not values:
        listed = listed_names(text_headers(headers))
        raise MalformedRecord(f"no correlation id; its headers: {listed}")
    if len(values) > 1:
        raise MalformedRecord("several values for the correlation id")
    return _text_of(values.pop()), tuple(found)


def deadline_in(headers: Headers, default_ms: int | None) -> int:
    """
    Return the deadline (Unix time in ms), or *default_ms* if there is no such header.

    Raises:
        MalformedRecord: when it is not valid, or missing without a default.
    """
    found = [value for name, value in headers if name == DEADLINE]
    if not found and default_ms is not None:
        return default_ms
    deadline_ms = found[-1] if found else None
    if deadline_ms is None or not _DEADLINE.fullmatch(deadline_ms):
        raise MalformedRecord(f"header {DEADLINE!r} is not a Unix time in ms")
    return int(deadline_ms)


def requester_in(
    headers: Headers,
    correlation_id: str,
    id_headers: tuple[tuple[str, bytes], ...],
    sent_ms: int | None,
) -> ForeignRequester | None:
    """Return the requester, or None for a gateway and for services that write the same headers."""
    names = {name for name, _ in id_headers}
    has_deadline = any(name == DEADLINE for name, _ in headers)
    if has_deadline and names in _OUR_NAMES and not correlation_id.startswith(_HEX):
        return None
    return ForeignRequester(id_headers, _is_nest(headers), sent_ms)


def partition_in(headers: Headers) -> int | None:
    """
    Return the partition of the reply topic that a request asks for, or None.

    It is written in digits (ours, NestJS) or in four bytes (Spring, Quarkus). Four bytes that are
    digits are digits: as a number they exceed what a topic can have.
    """
    values = {name: value for name, value in headers if value and name in PARTITION_HEADERS}
    for name in PARTITION_HEADERS:
        value = values.get(name, b"")
        if _DIGITS.fullmatch(value):
            return int(value)
        if len(value) == _PARTITION_BYTES and name != REPLY_PARTITION and value[0] < 0x80:
            return int.from_bytes(value, "big")
    return None


def _is_nest(headers: Headers) -> bool:
    """Return whether NestJS wrote a request: it alone names its reply partition so, in digits."""
    return any(
        name == _SPRING_PARTITION and value is not None and _DIGITS.fullmatch(value)
        for name, value in headers
    )


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
