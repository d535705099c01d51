"""Cases of Spring Boot."""

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
from tests.interop.frameworks import MAVEN, SPRING_RUN

_ADA = b'{"name":"Ada"}'
_JSON_ROUTE = 'profile = "spring"\n'
_SILENT_FAILURE = (
    "Spring logs an exception and sends nothing; an error handler of the listener that returns a "
    "Message with the header status replies"
)
_ANSWER = f'200 {JSON} {{"hello":"Ada","length":3}}'
_NO_JSON = "400 invalid-body..."

_CASES = (
    Case("spring.text", "String -> String", b"hello", TEXT, f"200 {UTF8} HELLO"),
    Case("spring.text", "String, UTF-8", "grüße €".encode(), TEXT, f"200 {UTF8} GRÜSSE €"),
    Case("spring.text", "empty body", b"", None, "200 -"),
    Case(
        "spring.text",
        "bytes that are no UTF-8",
        b"\xff\xfe\x00a",
        BINARY,
        f"200 {UTF8} 8 bytes efbfbdefbfbd0041",
        "StringDeserializer replaces such bytes; ByteArrayDeserializer keeps them",
    ),
    Case(
        "spring.headers",
        "headers as the listener sees them",
        b"x",
        TEXT,
        f"200 {UTF8} REPLY_CORRELATION_ID: byte[]...",
    ),
    Case(
        "spring.null",
        "returns null",
        b"null",
        TEXT,
        TIMEOUT,
        "Spring sends nothing for null; return a Message with the header status 204",
    ),
    Case("spring.throws", "throws, DefaultErrorHandler", b"boom", TEXT, TIMEOUT, _SILENT_FAILURE),
    Case("spring.text", "after a failing one", b"again", TEXT, f"200 {UTF8} AGAIN"),
    Case(
        "spring.errorhandler",
        "KafkaListenerErrorHandler returns a String",
        b"boom",
        TEXT,
        f"200 {UTF8} FAILED: no stock",
        "a reply like any other; return a Message with the header status",
    ),
    Case(
        "spring.errormessage",
        "KafkaListenerErrorHandler returns Message, status 422",
        b"boom",
        TEXT,
        f"422 {UTF8} no stock",
    ),
    Case(
        "spring.serversentanerror",
        "header serverSentAnError",
        b"boom",
        TEXT,
        "502 responder-error...",
    ),
    Case(
        "spring.message",
        "Message<?>, @SendTo without a value",
        b"hello",
        TEXT,
        f"201 {TEXT} HELLO",
    ),
    Case("spring.messageraw", "Message<?> without @SendTo", b"hello", TEXT, f"200 {UTF8} HELLO"),
    Case(
        "spring.contenttype",
        "Message with MessageHeaders.CONTENT_TYPE",
        b"hello",
        TEXT,
        f'200 {JSON} {{"hello":"hello"}}',
    ),
    Case(
        "spring.httpstatus",
        "Message with status HttpStatus.CREATED",
        b"hello",
        TEXT,
        f"201 {UTF8} hello",
    ),
    Case("spring.nocontent", "Message with status HttpStatus.NO_CONTENT", b"x", TEXT, "204 -"),
    Case("spring.json", "POJO, JacksonJsonDeserializer", _ADA, JSON, _ANSWER),
    Case("spring.json", "POJO, body is no JSON", b"no json", JSON, _NO_JSON),
    Case("spring.json", "POJO, after that", _ADA, JSON, _ANSWER),
    Case("spring.jsonconverter", "POJO, JacksonJsonMessageConverter", _ADA, JSON, _ANSWER),
    Case("spring.jsonconverter", "converter, body is no JSON", b"no json", JSON, _NO_JSON),
    Case(
        "spring.typed",
        "JacksonJsonDeserializer without default type",
        _ADA,
        JSON,
        TIMEOUT,
        "it needs the header `__TypeId__` of a Spring producer; set VALUE_DEFAULT_TYPE",
    ),
    Case(
        "spring.bytes",
        "byte[]",
        bytes(range(256)),
        BINARY,
        f"200 {BINARY} 256 bytes 0001020304050607",
    ),
    Case(
        "spring.list",
        "List<String>, splitIterables by default",
        b"a,b,c",
        TEXT,
        TIMEOUT,
        "Spring sends each element as a record without an id; splitIterables = false",
    ),
    Case(
        "spring.listwhole",
        "List<String>, splitIterables = false, JSON",
        b"a,b,c",
        TEXT,
        f'200 {JSON} ["a","b","c"]',
    ),
    Case(
        "spring.unserializable",
        "POJO with Boot's StringSerializer",
        b"hello",
        TEXT,
        TIMEOUT,
        "the reply cannot be serialized, and Spring sends nothing; set a JSON serializer",
    ),
    Case("spring.async", "CompletableFuture<String>", b"hello", TEXT, f"200 {UTF8} HELLO"),
    Case("spring.asyncfails", "CompletableFuture fails", b"hello", TEXT, TIMEOUT, _SILENT_FAILURE),
    Case(
        "spring.batch",
        "batch listener, @SendTo",
        b"hello",
        TEXT,
        TIMEOUT,
        "replies of a batch have no id; return Messages that carry it",
    ),
    Case(
        "spring.batchmessages",
        "batch listener, Collection<Message<?>>",
        b"hello",
        TEXT,
        f"200 {UTF8} HELLO",
    ),
    Case("spring.fixed", '@SendTo("replies")', b"hello", TEXT, f"200 {UTF8} HELLO"),
    Case(
        "spring.dlt",
        "DeadLetterPublishingRecoverer to the reply topic",
        b"boom",
        TEXT,
        "502 responder-error...",
    ),
    Case(
        "spring.copyheaders",
        "Message that copies all request headers",
        b"hello",
        TEXT,
        f"200 {TEXT} HELLO",
    ),
    Case("spring.intkey", "IntegerDeserializer for keys", b"hello", TEXT, f"200 {UTF8} HELLO"),
)
_TAKE_JSON = ("spring.json", "spring.jsonconverter", "spring.typed")
SPRING = Suite(
    "spring",
    ("java", "mvn"),
    MAVEN,
    SPRING_RUN,
    _CASES,
    {case.topic: _JSON_ROUTE + TEXT_ROUTE for case in _CASES}
    | dict.fromkeys(_TAKE_JSON, _JSON_ROUTE)
    | dict.fromkeys(("spring.contenttype", "spring.listwhole"), _JSON_ROUTE + TAKES_ANY)
    | {
        "spring.bytes": _JSON_ROUTE + BINARY_ROUTE,
        "spring.intkey": _JSON_ROUTE + TEXT_ROUTE + 'key = "none"\n',
    },
)
