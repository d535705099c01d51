"""
Replies as other frameworks write them: failures, statuses and content types.

Standard library only: part of the wire contract, see contract.py. Texts of exceptions of Java are
for the log alone; clients get a plain detail.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rendezvous.errors import MalformedRecord, UnusableReply
from rendezvous.reply_headers import MAX_HEADERS_BYTES, Headers, text_headers

#: Names of the HTTP status in a reply: ours, Zilla's, RIG's.
STATUS_HEADERS = ("status", ":status", "rig-response-code")
#: Three digits, as Spring writes a status also with its phrase or as a JSON string.
_STATUS = re.compile(
    r"(?P<quote>\"?)(?P<code>[2-5][0-9]{2})(?: [A-Za-z][A-Za-z_' -]{0,60})?(?P=quote)", re.ASCII
)

_FIELDS = "reason detail exception attempts topic partition offset timestamp time"
#: Headers that our responder adds to a request that it dead-letters: why, and what it was.
DEAD_LETTER_HEADERS = tuple(f"dead-letter-{name}" for name in _FIELDS.split())

_NEST_ERROR = "kafka_nest-err"
#: Header of the last record of a stream in NestJS, which may have its last value.
_NEST_DISPOSED = "kafka_nest-is-disposed"
#: Headers by which Quarkus (by convention), SlimMessageBus and Watermill report a failure.
_ERROR_TEXTS = ("REPLY_ERROR", "Error", "_watermill_requestreply_error")
_WATERMILL_FLAG = "_watermill_requestreply_has_error"
#: Header of the replyErrorChecker in the documentation of Spring.
_SPRING_ERROR = "serverSentAnError"
#: Headers that Spring's DeadLetterPublishingRecoverer adds to those of a request that failed.
_DEAD_LETTER = "kafka_dlt-"
_DEAD_LETTER_EXCEPTIONS = ("kafka_dlt-exception-", "kafka_dlt-key-exception-")
#: Header of a request that our responder dead-lettered.
_OUR_DEAD_LETTER = "dead-letter-reason"
_EXCEPTION_CLASSES = ("kafka_dlt-exception-cause-fqcn", "kafka_dlt-exception-fqcn")
_EXCEPTION_MESSAGE = "kafka_dlt-exception-message"

#: Spring's content type, in JSON or not.
_SPRING_CONTENT_TYPE = "contentType"
_MEDIA_TYPE = re.compile(
    r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}[ \t]*(?:;[\t -~]{0,500})?", re.ASCII
)
#: Maximum length of the text of an error, in characters.
_MAX_TEXT = 500
_NO_TEXT = "the responder reported a failure without a text; see its log"


class StreamPart(StrEnum):
    """Which part of a stream of records a reply is, where the last value is the answer."""

    VALUE = "value"  # another may follow
    LAST = "last"  # the last value, or a failure
    END = "end"  # no value; the last one came before


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that a framework reports; with a status it is an HTTP response."""

    detail: str
    status: int | None = None
    body: bytes = b""  # JSON, if there is a status


def failure_in(text: Mapping[str, list[str]], request_headers: Sequence[str]) -> Failure | None:
    """
    Return the failure that a reply with the headers *text* reports, or None.

    Args:
        request_headers: names that only a request has, unless a reply copies them.

    Raises:
        MalformedRecord: when it is a request that was dead-lettered, not a reply.
    """
    if _OUR_DEAD_LETTER in text:
        raise MalformedRecord("a request that was dead-lettered, not a reply")
    is_dead_letter = any(name.startswith(_DEAD_LETTER) for name in text)
    if is_dead_letter and any(name in text for name in request_headers):
        # Its headers are those of the request; a status among them is not the responder's.
        return _failure_of_dead_letter(text)
    if any(name in text for name in STATUS_HEADERS):
        return None
    if is_dead_letter and _has_exception(text):
        return _failure_of_dead_letter(text)
    return _failure_of_other_headers(text)


def failure_report(headers: Headers) -> str:
    """Return the error in the headers of a failed reply, for a log: one line, in quotes."""
    text = text_headers(headers)
    for name in _EXCEPTION_CLASSES:
        if name in text:
            message = text.get(_EXCEPTION_MESSAGE, [""])[-1]
            return repr(first_line(f"{first_line(text[name][-1])}: {message}").rstrip(": "))
    for name in (_SPRING_ERROR, _NEST_ERROR, *_ERROR_TEXTS):
        if name in text:
            return repr(first_line(f"{name}: {text[name][-1]}"))
    return repr("")


def status_in(correlation_id: str, text: Mapping[str, list[str]], default: int) -> int:
    """
    Return the HTTP status of a reply with the headers *text*.

    Raises:
        UnusableReply: when its status is not valid.
    """
    for name in STATUS_HEADERS:
        for value in text.get(name, ()):
            found = _STATUS.fullmatch(value)
            if found:
                return int(found["code"])
            raise UnusableReply(
                correlation_id,
                f"header {name!r} is {value[:40]!r}, not an HTTP status from 200 to 599",
            )
    return default


def part_in(value: bytes | None, text: Mapping[str, list[str]]) -> StreamPart:
    """Return which part a reply with this *value* and the headers *text* is, if no failure."""
    if _NEST_DISPOSED not in text:
        return StreamPart.VALUE
    return StreamPart.END if value is None else StreamPart.LAST


def with_content_type(headers: Headers, text: Mapping[str, list[str]]) -> Headers:
    """Return *headers* with the content type of Spring if they have no other."""
    if _SPRING_CONTENT_TYPE not in text or any(
        name.lower() == "content-type" and (value or b"").strip() for name, value in headers
    ):
        return headers
    raw = text[_SPRING_CONTENT_TYPE][-1].strip()
    value = json_of(raw) if raw.startswith('"') else raw
    if not isinstance(value, str) or not _MEDIA_TYPE.fullmatch(value):
        return headers
    return [*headers, ("content-type", value.encode())]


def _failure_of_other_headers(text: Mapping[str, list[str]]) -> Failure | None:
    if _SPRING_ERROR in text:
        return Failure(f"the responder reported an error ({_SPRING_ERROR}); see its log")
    if _NEST_ERROR in text:
        return _failure_of_nest(text[_NEST_ERROR][-1])
    for name in _ERROR_TEXTS:
        if name in text:
            return Failure(f"{name}: {first_line(text[name][-1])}")
    if text.get(_WATERMILL_FLAG, [""])[-1] == "1":
        return Failure(_WATERMILL_FLAG)
    return None


def _has_exception(text: Mapping[str, list[str]]) -> bool:
    return any(name.startswith(_DEAD_LETTER_EXCEPTIONS) for name in text)


def _failure_of_dead_letter(text: Mapping[str, list[str]]) -> Failure:
    if not _has_exception(text):
        raise MalformedRecord("a request that was dead-lettered, not a reply")
    return Failure("the responder failed and dead-lettered the request; see its log")


def _failure_of_nest(error: str) -> Failure:
    value = json_of(error)
    if isinstance(value, dict):
        for name in ("statusCode", "status"):
            status = value.get(name)
            if isinstance(status, int) and 400 <= status <= 599:
                return Failure(_NO_TEXT, status, error.encode())
        value = value.get("message")
    elif value is None and not error.lstrip().startswith(("{", "[")):
        value = error
    return Failure((first_line(value) if isinstance(value, str) else "") or _NO_TEXT)


def json_of(text: str) -> object:
    """Return the value of *text* in JSON, or None."""
    if len(text) > MAX_HEADERS_BYTES:
        return None
    try:
        return json.loads(text, parse_constant=_refuse)
    except (RecursionError, ValueError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def first_line(text: str) -> str:
    """Return the first line of *text*, without the stack trace that can follow."""
    # JSON can have halves of a surrogate pair, which no log and no page can have.
    lines = text.strip()[:_MAX_TEXT].encode("utf-8", "replace").decode().splitlines()
    return lines[0].strip() if lines else ""
