"""JSON Schemas of routes: accepted schemas, and the errors of bodies."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.problems import Overloaded, Sent
from gateway.routing import schema, schema_limits
from gateway.routing.schema import MAX_ERRORS, BodySchema
from gateway.routing.schema_document import DIALECT, SchemaError
from tests.fakes import raising

ORDER = {
    "$schema": DIALECT,
    "type": "object",
    "properties": {"item": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
    "required": ["item"],
    "additionalProperties": False,
}


def errors(document, body):
    return BodySchema(document).errors(body if isinstance(body, bytes) else body.encode())


def messages(document, body):
    return [error["fault"] for error in errors(document, body)]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('{"item": "tea"}', []),
        ('{"item": "tea", "quantity": 2.0}', []),
        ('{"item": 7}', [("/item", 'expected the type "string"')]),
        ("{}", [("", "'item' is a required property")]),
        ("[]", [("", 'expected the type "object"')]),
        ('{"item": "tea", "quantity": 0}', [("/quantity", "expected 1 or more")]),
        (
            '{"quantity": true, "item": null}',
            [("/item", 'expected the type "string"'), ("/quantity", 'expected the type "integer"')],
        ),
        (
            '{"item": "tea", "more": 1}',
            [("", "Additional properties are not allowed ('more' was unexpected)")],
        ),
    ],
)
def test_an_error_has_a_path_and_a_message(body, found):
    assert [(error["path"], error["fault"]) for error in errors(ORDER, body)] == found


def test_a_path_is_a_json_pointer():
    document = {"items": {"additionalProperties": {"type": "null"}}}

    assert [error["path"] for error in errors(document, '[{}, {"a/b~c": 1}]')] == ["/1/a~1b~0c"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON: Expecting value"),
        (b"item=tea", "not JSON: Expecting value"),
        (b'{"item": "tea"', "not JSON: Expecting"),
        (b'{"item": "tea"} x', "not JSON: Extra data"),
        (b'{"item": NaN}', "not JSON: NaN is not a JSON number"),
        (b'{"item": "\xff"}', "not JSON: 'utf-8' codec"),
        ('{"item": "tea"}'.encode("utf-16"), "not JSON: "),
        # The responder might use the member that was not validated.
        (b'{"item": "tea", "item": 7}', 'not JSON: member "item" is a duplicate'),
        (b'{"a": {"b": 1, "b": 2}}', 'not JSON: member "b" is a duplicate'),
        (b'{"item": ' + b"9" * 5_000 + b"}", "not JSON: "),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_not_json_has_one_error_at_the_top_level(body, message):
    (error,) = errors(ORDER, body)

    assert error["path"] == ""
    assert error["fault"].startswith(message)


def test_the_number_of_errors_is_limited():
    assert len(errors({"items": {"type": "null"}}, json.dumps([0] * 100))) == MAX_ERRORS


def test_the_messages_for_a_large_body_are_short():
    body = json.dumps({"x" * 10_000: "y" * 10_000, "item": ["z" * 10_000]})

    assert all(len(error["fault"]) <= 200 for error in errors(ORDER, body))


@pytest.mark.parametrize(
    ("document", "body", "message"),
    [
        ({"type": ["string", "null"]}, "1", 'expected the type ["string", "null"]'),
        ({"enum": ["a", None]}, "1", 'expected one of ["a", null]'),
        ({"const": {"a": True}}, "1", 'expected {"a": true}'),
        ({"anyOf": [{"type": "null"}, False]}, "1", "matches none of the alternatives"),
        ({"properties": {"a": False}}, '{"a": 1}', "is not allowed here"),
        (False, "1", "is not allowed here"),
        ({"items": False}, "[1]", "has too many items"),
        ({"unevaluatedItems": False}, "[1]", "has too many items"),
        ({"pattern": "^a{2}$"}, '"b"', 'expected a text that matches "^a{2}$"'),
        ({"propertyNames": {"maxLength": 1}}, '{"ab": 1}', "expected 1 characters or fewer"),
        ({"contains": {"type": "null"}}, "[1]", "has no item that matches"),
        ({"if": True, "then": {"minItems": 1}}, "[]", "expected 1 items or more"),
    ],
)
def test_messages_use_the_terms_of_json(document, body, message):
    assert messages(document, body) == [message]


def test_a_format_is_an_annotation():
    assert errors({"format": "date"}, '"no date"') == []


@pytest.mark.parametrize(
    ("body", "is_valid"),
    [
        ('[1, true, "1", null, 0, false]', True),
        ("[1, 1.0]", False),
        ("[[], {}]", True),
        ('[{"a": [1], "b": 2}, {"b": 2, "a": [1]}]', False),
        ('[{"a": [1]}, {"a": [true]}]', True),
        ("[[[1]], [[1]]]", False),
        ("[1e400, -1e400, 0.5]", True),
        ("[0, -0.0]", False),
        ("[[1], 1]", True),
    ],
)
def test_unique_items_compares_json_values(body, is_valid):
    assert (errors({"uniqueItems": True}, body) == []) is is_valid


@pytest.mark.parametrize(
    "items",
    [[{"a": n} for n in range(50_000)], [n * (2**61 - 1) for n in range(40_000)]],
    ids=["objects", "numbers with the same hash"],
)
def test_unique_items_takes_linear_time(items):
    assert errors({"uniqueItems": True}, json.dumps(items)) == []


@pytest.mark.parametrize("keyword", ["unevaluatedItems", "unevaluatedProperties"])
def test_a_large_body_for_a_quadratic_keyword_is_an_error(keyword):
    body = {"unevaluatedItems": [0] * 6_000, "unevaluatedProperties": dict.fromkeys(range(6_000))}

    assert messages({keyword: {}}, json.dumps(body[keyword])) == [
        "takes too long to validate; send a smaller or simpler body"
    ]


def test_validation_ends_at_the_work_limit(monkeypatch):
    """Each level of the body is validated twice as often as the one above."""
    monkeypatch.setattr(schema_limits, "MAX_WORK_S", 0.2)
    twice = {"$schema": DIALECT, "allOf": [{"properties": {"c": {"$ref": "#"}}}] * 2}

    assert messages(twice, '{"c":' * 30 + "{}" + "}" * 30) == [
        "takes too long to validate; send a smaller or simpler body"
    ]


@pytest.mark.parametrize("document", [{"items": {"$ref": "#"}}, {"items": {"$dynamicRef": "#"}}])
def test_a_body_that_is_nested_too_deeply_is_an_error(document):
    assert errors(document, "[" * 40 + "]" * 40) == []
    assert messages(document, "[" * 900 + "]" * 900) == ["nested too deeply"]


def test_a_panic_below_jsonschema_is_reported_as_depth(monkeypatch):
    """It is not an Exception, and would end the thread of the request."""
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    order = BodySchema(ORDER)
    monkeypatch.setattr(schema, "begin_work", raising(panic("__eq__ failed!: RecursionError")))

    assert [error["fault"] for error in order.errors(b"{}")] == ["nested too deeply"]
    with pytest.raises(SchemaError, match="refers to itself"):
        BodySchema(ORDER)


def test_other_base_exceptions_are_passed_on(monkeypatch):
    order = BodySchema(ORDER)
    monkeypatch.setattr(schema, "begin_work", raising(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        order.errors(b"{}")


@pytest.mark.parametrize("number", ["1e400", "9" * 4_000])
def test_a_number_out_of_range_is_an_error(number):
    assert messages({"multipleOf": 0.1}, number) == ["has a number that is out of range"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (7, "expected an object, or true or false"),
        (None, "expected an object, or true or false"),
        ([], "expected an object, or true or false"),
        ({"type": "strin"}, "/type: 'strin' is not valid"),
        ({"properties": {"a": {"minimum": "1"}}}, "/properties/a/minimum: '1' is not of type"),
        ({"pattern": "("}, "/pattern: '(' is not a 'regex'"),
        ({"patternProperties": {"[": {}}}, "is not a 'regex'"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "$schema is 'http://json-schema"),
        ({"$defs": {"a": {"$schema": DIALECT}}}, "at the top level only"),
        ({"$ref": "#/$defs/none"}, "$ref '#/$defs/none' is not in this document"),
        ({"$ref": "#none"}, "$ref '#none' is not in this document"),
        ({"$ref": "#/stuff", "stuff": {"type": 7}}, "/type: 7 is not valid"),
        ({"$ref": "#/stuff", "stuff": "text"}, "is not of type 'object', 'boolean'"),
        ({"$ref": "#/stuff", "stuff": {"$ref": "http://x/"}}, "$ref 'http://x/' is not in"),
        ({"$ref": "http://[x"}, "$ref 'http://[x' is not in"),
        ({"$ref": DIALECT}, "is not in this document, and nothing is fetched"),
        ({"$ref": "#"}, "refers to itself endlessly"),
        ({"allOf": [{"$ref": "#"}]}, "refers to itself endlessly"),
        ({"not": {"$dynamicRef": "#"}}, "refers to itself endlessly"),
    ],
)
def test_an_invalid_schema_is_refused_with_the_reason(document, message):
    with pytest.raises(SchemaError) as caught:
        BodySchema(document)

    assert message in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/s", "https://127.0.0.1/s", "file:///s", "s"])
@pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
def test_a_reference_to_another_document_is_refused_and_not_fetched(url, keyword, monkeypatch):
    connect = raising(AssertionError("fetched"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("urllib.request.urlopen", connect)

    with pytest.raises(SchemaError, match="nothing is fetched"):
        BodySchema({"properties": {"a": {keyword: url}}})


@pytest.mark.parametrize(
    "document",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"$ref": "#a", "$defs": {"a": {"$anchor": "a", "type": "string"}}},
        {"$id": "http://x/a", "$ref": "b", "$defs": {"b": {"$id": "b", "type": "string"}}},
        {"$ref": "#/components/a", "components": {"a": {"type": "string"}}},
    ],
)
def test_references_within_the_document_are_followed(document):
    assert errors(document, '"a"') == []
    assert len(errors(document, "1")) == 1


@pytest.mark.parametrize("document", [{"const": {"$ref": "http://x/"}}, {"default": {"$ref": 7}}])
def test_ref_in_an_annotation_is_not_a_reference(document):
    assert BodySchema(document)


def test_a_member_may_have_the_name_of_a_keyword():
    document = {"properties": {"$ref": {"type": "string"}, "$schema": {"type": "string"}}}

    assert errors(document, '{"$ref": "http://x/", "$schema": "a"}') == []


#: Exponential in the module re; the module regex detects some, and its time limit ends the others.
CATASTROPHIC = ["^(a+)+$", "^([a-z]|[a-z0-9])+$"]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
@pytest.mark.parametrize("keyword", ["pattern", "patternProperties", "additionalProperties"])
def test_a_catastrophic_pattern_ends_in_time(pattern, keyword):
    text = "a" * 40 + "!"
    document = {
        "pattern": {"pattern": pattern},
        "patternProperties": {"patternProperties": {pattern: {}}},
        "additionalProperties": {
            "patternProperties": {pattern: {}},
            "additionalProperties": False,
        },
    }[keyword]
    body = json.dumps(text if keyword == "pattern" else {text: 1})
    found = BodySchema(document)
    began_s = time.monotonic()
    found.errors(body.encode())

    assert time.monotonic() - began_s < 5


def test_a_pattern_that_takes_too_long_is_an_error():
    fault = "takes too long to validate; send a smaller or simpler body"
    document = {"pattern": CATASTROPHIC[1]}

    assert messages(document, json.dumps("a" * 40 + "!")) == [fault]
    assert messages(document, json.dumps("a" * 40)) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"x-a": 1, "b": 2}, []),
        ({"x-a": "no", "b": 2}, ["/x-a"]),
        ({"c": 1}, [""]),
        ([{"c": 1}], []),
        ("text", []),
    ],
)
def test_members_match_patterns_or_names(body, found):
    document = {
        "properties": {"b": {}},
        "patternProperties": {"^x-": {"type": "integer"}},
        "additionalProperties": False,
    }

    assert [error["path"] for error in errors(document, json.dumps(body))] == found


def test_additional_members_match_their_schema():
    document = {"patternProperties": {"^x-": {}}, "additionalProperties": {"type": "integer"}}

    assert [e["path"] for e in errors(document, '{"x-a": "", "b": 1, "c": ""}')] == ["/c"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            {"allOf": [{"patternProperties": {"a": {}}}], "unevaluatedProperties": False},
            "cannot have unevaluatedProperties",
        ),
        ({"pattern": "(?P<a>x)(?P<a>y"}, "pattern"),
    ],
)
def test_a_schema_whose_patterns_cannot_be_limited_is_refused(document, reason):
    with pytest.raises(SchemaError, match=reason):
        BodySchema(document)


def test_bodies_are_validated_one_at_a_time(monkeypatch):
    found = BodySchema({"type": "integer"})
    running = threading.Semaphore(1)

    def validate(instance):
        assert running.acquire(blocking=False), "two at once"
        time.sleep(0.01)
        running.release()
        return []

    monkeypatch.setattr(found, "_errors_of", validate)
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: found.errors(b"1"), range(8))) == [[]] * 8


def test_a_body_that_waits_too_long_for_its_turn_is_refused(monkeypatch):
    monkeypatch.setattr(schema, "MAX_TURN_WAIT_S", 0.01)
    found = BodySchema({"type": "integer"})
    with schema._turn, pytest.raises(Overloaded) as caught:
        found.errors(b"1")

    assert caught.value.sent is Sent.NO
    assert found.errors(b"1") == []
