"""Cases of FastStream, with aiokafka and with confluent-kafka."""

from tests.interop.cases.suite import BINARY, FORM, JSON, TEXT, TIMEOUT, Case, Suite
from tests.interop.frameworks import PIP, PYTHON_RUN

_ROUTE = 'profile = "faststream"\n'
_TAKES = 'body = "any"\ncontent_type = "{}"\n'
_ADA = b'{"name":"Ada"}'
_SILENT = (
    "FastStream logs the exception and sends nothing; an ExceptionMiddleware with publish=True "
    "replies, with KafkaResponse(..., headers={'status': '422'})"
)


def _cases(name: str) -> tuple[Case, ...]:
    def case(topic: str, label: str, expected: str, reason: str = "", body: bytes = b"{}") -> Case:
        return Case(f"{name}.{topic}", label, body, JSON, expected, reason)

    hello = f'200 {JSON} {{"hello":"Ada"}}'
    utf8 = "; charset=utf-8"
    return (
        case("dict", "dict -> dict", hello, body=_ADA),
        Case(
            f"{name}.dict",
            "dict, curl's default content type",
            _ADA,
            FORM,
            "415 about:blank...",
            'the client learns at once; a route with body = "any" accepts it as JSON',
        ),
        Case(f"{name}.dict", "dict, no content type", _ADA, None, hello),
        Case(f"{name}.dict", "dict, application/json; charset=utf-8", _ADA, JSON + utf8, hello),
        case("dict", "dict, body is no JSON", "400 invalid-body...", body=b"no json"),
        case("model", "pydantic model", f'200 {JSON} {{"name":"ADA"}}', body=_ADA),
        case(
            "model",
            "pydantic model, does not fit",
            TIMEOUT,
            "FastStream logs a body that does not fit and sends nothing; a route with a schema "
            "refuses it with 400",
            b'{"nam":"Ada"}',
        ),
        Case(f"{name}.str", "str -> str", b"hello", TEXT, f"200 {TEXT} HELLO"),
        Case(f"{name}.str", "str, charset=utf-8", b"hello", TEXT + utf8, f"200 {TEXT} HELLO"),
        Case(
            f"{name}.bytes",
            "bytes",
            bytes(range(256)),
            BINARY,
            "200 - 256 bytes 0001020304050607",
        ),
        case("int", "int", f"200 {JSON} 42", body=b"41"),
        case("none", "returns None", "200 -" if name == "faststream" else "204 -"),
        case("raises", "raises", TIMEOUT, _SILENT),
        case(
            "handled",
            "raises, ExceptionMiddleware publishes",
            f'200 {JSON} {{"error":"no stock"}}',
            "a reply like any other; let the middleware return a KafkaResponse with the header "
            "status",
        ),
        case("response", "KafkaResponse with status, x-custom", f'422 {JSON} {{"why":"no stock"}}'),
        case("tombstone", "KafkaResponse(None, key=...)", "204 -"),
        case("echo", "Any, JSON string", f"200 {TEXT} text", body=b'"text"'),
    )


def _suite(name: str, run: str) -> Suite:
    cases = _cases(name)
    options = {case.topic: _ROUTE for case in cases} | {
        f"{name}.str": _ROUTE + _TAKES.format(TEXT),
        f"{name}.bytes": _ROUTE + _TAKES.format(BINARY),
    }
    source = f"{Suite.PARENT}/faststream"
    return Suite(name, (), PIP, run, cases, options, source=source)


FASTSTREAM = (
    _suite("faststream", PYTHON_RUN),
    _suite("faststreamconfluent", f"{PYTHON_RUN} confluent"),
)
