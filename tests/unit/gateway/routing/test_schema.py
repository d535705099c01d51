"""JSON Schemas of routes: which are taken, and what is said about bodies that do not fit."""

import json
import socket

import pytest

from gateway.routing import schema
from gateway.routing import schema_limits as schema_keywords
from gateway.routing.schema import MAX_FAULTS, BodySchema
from gateway.routing.schema_document import DIALECT, SchemaFault

ORDER = {
    "$schema": DIALECT,
    "type": "object",
    "properties": {"item": {"type": "string"}, "quantity": {"type": "integer", "minimum": 1}},
    "required": ["item"],
    "additionalProperties": False,
}


def faults(document, body):
    return BodySchema(document).faults(body if isinstance(body, bytes) else body.encode())


def words(document, body):
    return [fault["fault"] for fault in faults(document, body)]


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
def test_each_fault_has_its_place_and_its_words(body, found):
    assert [(fault["path"], fault["fault"]) for fault in faults(ORDER, body)] == found


def test_a_place_is_a_json_pointer():
    document = {"items": {"additionalProperties": {"type": "null"}}}

    assert [fault["path"] for fault in faults(document, '[{}, {"a/b~c": 1}]')] == ["/1/a~1b~0c"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON: Expecting value"),
        (b"item=tea", "not JSON: Expecting value"),
        (b'{"item": "tea"', "not JSON: Expecting"),
        (b'{"item": "tea"} x', "not JSON: Extra data"),
        (b'{"item": NaN}', "not JSON: NaN is no number of JSON"),
        (b'{"item": "\xff"}', "not JSON: 'utf-8' codec"),
        ('{"item": "tea"}'.encode("utf-16"), "not JSON: "),
        (b'{"item": "tea", "item": 7}', 'not JSON: member "item" is there twice'),
        (b'{"item": ' + b"9" * 5_000 + b"}", "not JSON: "),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_json_is_a_fault_of_the_whole(body, said):
    (fault,) = faults(ORDER, body)

    assert fault["path"] == ""
    assert fault["fault"].startswith(said)


def test_what_a_responder_could_read_otherwise_is_not_let_through():
    """Of two members of one name it might take the other than we have looked at."""
    assert faults({}, '{"a": {"b": 1, "b": 2}}')


def test_no_more_faults_are_told_than_anybody_reads():
    assert len(faults({"items": {"type": "null"}}, json.dumps([0] * 100))) == MAX_FAULTS


def test_what_is_told_of_a_large_body_is_small():
    body = json.dumps({"x" * 10_000: "y" * 10_000, "item": ["z" * 10_000]})

    assert all(len(fault["fault"]) <= 200 for fault in faults(ORDER, body))


@pytest.mark.parametrize(
    ("document", "body", "said"),
    [
        ({"type": ["string", "null"]}, "1", 'expected the type ["string", "null"]'),
        ({"enum": ["a", None]}, "1", 'expected one of ["a", null]'),
        ({"const": {"a": True}}, "1", 'expected {"a": true}'),
        ({"anyOf": [{"type": "null"}, False]}, "1", "fits none of the alternatives"),
        ({"properties": {"a": False}}, '{"a": 1}', "is not expected here"),
        (False, "1", "is not expected here"),
        ({"items": False}, "[1]", "has too many items"),
        ({"unevaluatedItems": False}, "[1]", "has too many items"),
        ({"pattern": "^a{2}$"}, '"b"', 'expected a text that matches "^a{2}$"'),
        ({"propertyNames": {"maxLength": 1}}, '{"ab": 1}', "expected 1 characters or fewer"),
        ({"contains": {"type": "null"}}, "[1]", "has no item that fits"),
        ({"if": True, "then": {"minItems": 1}}, "[]", "expected 1 items or more"),
    ],
)
def test_the_words_are_those_of_json(document, body, said):
    assert words(document, body) == [said]


def test_a_format_is_an_annotation():
    assert faults({"format": "date"}, '"no date"') == []


@pytest.mark.parametrize(
    ("body", "is_fine"),
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
def test_items_are_unique_as_json_sees_them(body, is_fine):
    assert (faults({"uniqueItems": True}, body) == []) is is_fine


@pytest.mark.parametrize(
    "items",
    [[{"a": n} for n in range(50_000)], [n * (2**61 - 1) for n in range(40_000)]],
    ids=["objects", "numbers of one hash"],
)
def test_unique_items_take_no_more_than_linear_time(items):
    assert faults({"uniqueItems": True}, json.dumps(items)) == []


@pytest.mark.parametrize("keyword", ["unevaluatedItems", "unevaluatedProperties"])
def test_what_would_take_square_time_is_refused(keyword):
    body = {"unevaluatedItems": [0] * 6_000, "unevaluatedProperties": dict.fromkeys(range(6_000))}

    assert words({keyword: {}}, json.dumps(body[keyword])) == [
        "takes too long to check; send less, or simpler"
    ]


def test_work_without_end_is_ended(monkeypatch):
    """Each level of the body is looked at twice as often as the one above."""
    monkeypatch.setattr(schema_keywords, "MAX_WORK_S", 0.2)
    twice = {"$schema": DIALECT, "allOf": [{"properties": {"c": {"$ref": "#"}}}] * 2}

    assert words(twice, '{"c":' * 30 + "{}" + "}" * 30) == [
        "takes too long to check; send less, or simpler"
    ]


@pytest.mark.parametrize("document", [{"items": {"$ref": "#"}}, {"items": {"$dynamicRef": "#"}}])
def test_a_body_that_is_nested_too_deeply_for_its_schema_is_told_so(document):
    assert faults(document, "[" * 40 + "]" * 40) == []
    assert words(document, "[" * 900 + "]" * 900) == ["nested too deeply"]


def test_a_panic_of_the_library_is_told_as_what_it_is(monkeypatch):
    """It comes as no Exception, and would take the thread of the request with it."""
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})

    def no_frames_left():
        raise panic("__eq__ failed!: RecursionError")

    order = BodySchema(ORDER)
    monkeypatch.setattr(schema, "begin_work", no_frames_left)

    assert [fault["fault"] for fault in order.faults(b"{}")] == ["nested too deeply"]
    with pytest.raises(SchemaFault, match="leads into itself"):
        BodySchema(ORDER)


def test_nothing_else_that_ends_a_process_is_held_up(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    order = BodySchema(ORDER)
    monkeypatch.setattr(schema, "begin_work", interrupt)

    with pytest.raises(KeyboardInterrupt):
        order.faults(b"{}")


@pytest.mark.parametrize("number", ["1e400", "9" * 4_000])
def test_numbers_that_cannot_be_reckoned_with_are_told(number):
    assert words({"multipleOf": 0.1}, number) == ["holds a number that cannot be reckoned with"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (7, "expected an object, or true or false"),
        (None, "expected an object, or true or false"),
        ([], "expected an object, or true or false"),
        ({"type": "strin"}, "/type: 'strin' is not valid"),
        ({"properties": {"a": {"minimum": "1"}}}, "/properties/a/minimum: '1' is not of type"),
        ({"pattern": "("}, "/pattern: '(' is not a 'regex'"),
        ({"patternProperties": {"[": {}}}, "is not a 'regex'"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, "$schema is 'http://json-schema"),
        ({"$defs": {"a": {"$schema": DIALECT}}}, "at its top only"),
        ({"$ref": "#/$defs/none"}, "$ref '#/$defs/none' leads nowhere within it"),
        ({"$ref": "#none"}, "$ref '#none' leads nowhere within it"),
        ({"$ref": "#/stuff", "stuff": {"type": 7}}, "/type: 7 is not valid"),
        ({"$ref": "#/stuff", "stuff": "text"}, "is not of type 'object', 'boolean'"),
        ({"$ref": "#/stuff", "stuff": {"$ref": "http://x/"}}, "$ref 'http://x/' leads nowhere"),
        ({"$ref": "http://[x"}, "$ref 'http://[x' leads nowhere"),
        ({"$ref": DIALECT}, "leads nowhere within it; nothing is fetched"),
        ({"$ref": "#"}, "leads into itself without end"),
        ({"allOf": [{"$ref": "#"}]}, "leads into itself without end"),
        ({"not": {"$dynamicRef": "#"}}, "leads into itself without end"),
    ],
)
def test_a_faulty_schema_is_told(document, said):
    with pytest.raises(SchemaFault) as caught:
        BodySchema(document)

    assert said in str(caught.value)


@pytest.mark.parametrize("where", ["http://127.0.0.1:9/s", "https://127.0.0.1/s", "file:///s", "s"])
@pytest.mark.parametrize("place", ["$ref", "$dynamicRef"])
def test_no_reference_is_ever_followed_out_of_the_document(where, place, monkeypatch):
    def connect(*_):
        raise AssertionError("it went out to look")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("urllib.request.urlopen", connect)

    with pytest.raises(SchemaFault, match="nothing is fetched"):
        BodySchema({"properties": {"a": {place: where}}})


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
    assert faults(document, '"a"') == []
    assert len(faults(document, "1")) == 1


@pytest.mark.parametrize("document", [{"const": {"$ref": "http://x/"}}, {"default": {"$ref": 7}}])
def test_what_only_looks_like_a_reference_is_none(document):
    assert BodySchema(document)


def test_a_member_may_be_called_as_a_keyword():
    document = {"properties": {"$ref": {"type": "string"}, "$schema": {"type": "string"}}}

    assert faults(document, '{"$ref": "http://x/", "$schema": "a"}') == []
