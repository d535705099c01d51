"""Cases of Quarkus."""

from tests.interop.cases.suite import (
    BINARY,
    BINARY_ROUTE,
    JSON,
    TAKES_ANY,
    TEXT,
    TEXT_ROUTE,
    TIMEOUT,
    UTF8,
    Case,
    Suite,
)
from tests.interop.frameworks import MAVEN, QUARKUS_RUN

_ROUTE = 'profile = "quarkus"\n'
_ADA = b'{"name":"Ada"}'
_ANSWER = f'200 {JSON} {{"hello":"Ada","length":3}}'
_SILENT = (
    "Quarkus sends nothing; catch the exception and return a Message with the header status "
    "or REPLY_ERROR"
)
_HELLO = f"200 {UTF8} HELLO"


def _text(name: str, label: str, expected: str, reason: str = "", body: bytes = b"hello") -> Case:
    return Case(f"quarkus.{name}", label, body, TEXT, expected, reason)


_CASES = (
    _text("text", "String -> String", _HELLO),
    _text(
        "number",
        "String -> int",
        f"200 {BINARY} 4 bytes 00000005",
        "Quarkus serializes an int as four bytes; return a String",
    ),
    Case("quarkus.pojo", "POJO -> POJO", _ADA, JSON, _ANSWER),
    Case(
        "quarkus.bytes",
        "byte[]",
        bytes(range(256)),
        BINARY,
        f"200 {BINARY} 256 bytes 0001020304050607",
    ),
    _text("uni", "Uni<String>", _HELLO),
    _text("message", "Message with OutgoingKafkaRecordMetadata", f"201 {TEXT} HELLO"),
    _text("record", "Record<String, String>", _HELLO),
    _text("nocontent", "Message with status 204", "204 -"),
    _text(
        "list", "List<String>, ObjectMapperSerializer", f'200 {JSON} ["a","b","c"]', body=b"a,b,c"
    ),
    _text("replyerror", "header REPLY_ERROR", "502 responder-error..."),
    _text(
        "null",
        "returns null",
        TIMEOUT,
        "Quarkus sends nothing for null; return a Message with the header status 204",
    ),
    _text(
        "multi",
        "Multi, several values",
        TIMEOUT,
        "a stream loses the metadata of its request, hence the id; return one value",
    ),
    _text("ignores", "throws, failure-strategy=ignore", TIMEOUT, _SILENT, b"boom"),
    _text("ignores", "throws not, after that", _HELLO),
    _text("dlq", "throws, failure-strategy=dead-letter-queue", TIMEOUT, _SILENT, b"boom"),
    _text("throws", "throws, failure-strategy=fail (default)", TIMEOUT, _SILENT, b"boom"),
    _text(
        "throws",
        "throws not, after that",
        TIMEOUT,
        "the default strategy stops the channel for good; failure-strategy=ignore goes on",
    ),
    Case("quarkus.pojofail", "POJO, body is no JSON", b"no json", JSON, "400 invalid-body..."),
    Case("quarkus.pojofail", "POJO, after that", _ADA, JSON, _ANSWER),
)
QUARKUS = Suite(
    "quarkus",
    ("java", "mvn"),
    MAVEN,
    QUARKUS_RUN,
    _CASES,
    {case.topic: _ROUTE + TEXT_ROUTE for case in _CASES}
    | dict.fromkeys(("quarkus.pojo", "quarkus.pojofail"), _ROUTE)
    | {"quarkus.list": f"{_ROUTE}{TAKES_ANY}"}
    | dict.fromkeys(("quarkus.bytes", "quarkus.number"), _ROUTE + BINARY_ROUTE),
)
