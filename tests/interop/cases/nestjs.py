"""Cases of NestJS."""

from tests.interop.cases.suite import BINARY, FORM, JSON, TEXT, UTF8, Case, Suite
from tests.interop.frameworks import NPM

_ROUTE = 'profile = "nestjs"\n'
_ADA = b'{"name":"Ada"}'
_FAILED = "502 responder-error Internal server error"
_NOT_RPC = "Nest hides exceptions other than RpcException; throw one, or map them in a filter"
_PARSER = "Nest parses objects and arrays only; the rest is a string"


def _case(name: str, label: str, expected: str, reason: str = "", body: bytes = b"{}") -> Case:
    return Case(f"nestjs.{name}", label, body, JSON, expected, reason)


_CASES = (
    _case("object", "returns an object", f'200 {JSON} {{"hello":"Ada","items":[1,2]}}', body=_ADA),
    _case("array", "returns an array", f'200 {JSON} [{{"id":1}},{{"id":2}}]'),
    Case("nestjs.string", "returns a string", b"hello", TEXT, f"200 {UTF8} hello hello"),
    _case("number", "returns a number", f"200 {JSON} 42"),
    _case("boolean", "returns false", f"200 {JSON} false"),
    _case("null", "returns null", "204 -"),
    _case("undefined", "returns nothing", "204 -"),
    _case("emptystring", 'returns ""', "200 -"),
    _case("buffer", "returns a Buffer", f"200 {BINARY} 4 bytes 0001feff"),
    _case("promise", "async handler", f'200 {JSON} {{"async":true}}'),
    _case("of", "Observable of(1, 2, 3)", f"200 {JSON} 3"),
    _case("interval", "Observable, three values 100 ms apart", f'200 {JSON} {{"n":2}}'),
    _case("empty", "Observable without a value", "204 -"),
    _case(
        "thenfails",
        "Observable: a value, then an error",
        "502 responder-error second part is missing",
    ),
    _case("message", "returns {key, value, headers}", f'201 {JSON} {{"id":1}}'),
    _case("rpcexception", "throws RpcException(text)", "502 responder-error Invalid credentials."),
    _case(
        "rpcexceptionobject",
        "throws RpcException({statusCode: 404})",
        f'404 {JSON} {{"statusCode":404,"message":"no such hero"}}',
    ),
    _case("error", "throws Error", _FAILED),
    _case("httpexception", "throws NotFoundException", _FAILED, _NOT_RPC),
    _case("retriable", "throws KafkaRetriableException once", f"200 {UTF8} at the second delivery"),
    _case(
        "typed",
        "what the handler gets",
        f'200 {JSON} {{"type":"object","got":{{"a":1}}}}',
        body=b'{"a":1}',
    ),
    Case(
        "nestjs.typed",
        "what the handler gets: a form",
        b"a=1",
        FORM,
        f'200 {JSON} {{"type":"string","got":"a=1"}}',
    ),
    _case(
        "typed",
        "what the handler gets: JSON string",
        f'200 {JSON} {{"type":"string","got":"\\"text\\""}}',
        _PARSER,
        b'"text"',
    ),
    _case(
        "typed",
        "what the handler gets: a number",
        f'200 {JSON} {{"type":"string","got":"42"}}',
        _PARSER,
        b"42",
    ),
    Case(
        "nestjs.typed",
        "what the handler gets: nothing",
        b"",
        None,
        f'200 {JSON} {{"type":"string","got":""}}',
        _PARSER,
    ),
    Case(
        "nestjs.typed",
        "what the handler gets: bytes",
        b"\x00\x01\xff",
        BINARY,
        f'200 {JSON} {{"type":"Buffer","got":{{"type":"Buffer","data":[0,1,255]}}}}',
    ),
    _case("context", "headers as the handler sees them", f'200 {JSON} {{"seenKey":...'),
)
_TEXT = dict.fromkeys(
    ("nestjs.string", "nestjs.emptystring", "nestjs.retriable"),
    f'{_ROUTE}reply_content_type = "{UTF8}"\n',
)
NESTJS = Suite(
    "nestjs",
    ("node", "npm"),
    f"{NPM} && npx tsc",
    "node dist/responder.js",
    _CASES,
    {case.topic: _ROUTE for case in _CASES}
    | _TEXT
    | {"nestjs.buffer": f'{_ROUTE}reply_content_type = "{BINARY}"\n'},
)
