"""Any schema file and any body is accepted or reported."""

import json

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.routing.schema import MAX_ERRORS, BodySchema, load_schema
from gateway.routing.schema_document import SchemaError

KEYWORDS = [
    *Draft202012Validator.VALIDATORS, "$id", "$anchor", "$dynamicAnchor", "$defs", "$schema",
    "then", "else", "minContains", "maxContains", "default", "definitions", "components",
]  # fmt: skip
SCHEMA = BodySchema(
    {
        "type": ["object", "array", "number"],
        "properties": {"a": {"$ref": "#"}, "b": {"enum": [1, "b", None]}},
        "patternProperties": {"^x": {"multipleOf": 0.5}},
        "additionalProperties": {"minLength": 2},
        "items": {"anyOf": [{"$ref": "#"}, {"maximum": 3}, {"pattern": "^a"}]},
        "uniqueItems": True,
        "contains": {"not": {"const": 7}},
    }
)
texts = st.sampled_from(
    ["a", "b", "x", "#", "#/$defs/a", "#/a", "#a", "http://x/y", "x:", "[", "string", "object", ""]
) | st.text(max_size=4)  # fmt: skip
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.just(10**400)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4)
    ),
    max_leaves=12,
)
references = st.sampled_from(["#", "#/$defs/a", "#/$defs/b", "#a", "#b"] * 3 + ["x:/a#b", "b"])
names = st.sampled_from(["a", "b"])
small = st.integers(0, 3)


def keywords_over(inner):
    """Return realistic schemas with references within the document."""
    by_name = st.dictionaries(names, inner, max_size=2)
    some = st.lists(inner, min_size=1, max_size=2)
    values = {
        "$id": st.sampled_from(["x:/a", "b"]),
        **dict.fromkeys(["$ref", "$dynamicRef"], references),
        **dict.fromkeys(["properties", "patternProperties", "dependentSchemas"], by_name),
        **dict.fromkeys(["anyOf", "oneOf", "allOf", "prefixItems"], some),
        **dict.fromkeys(["items", "contains", "not", "if", "then", "propertyNames"], inner),
        **dict.fromkeys(["unevaluatedItems", "unevaluatedProperties"], inner),
        **dict.fromkeys(["minContains", "maxContains", "maxItems", "minLength"], small),
        "type": st.sampled_from(["object", "array", "number", "string"]),
        "multipleOf": st.sampled_from([0.1, 3, 1e-300]),
        "required": st.lists(names, unique=True, max_size=2),
        "uniqueItems": st.booleans(),
    }
    return st.sets(st.sampled_from(sorted(values)), max_size=3).flatmap(
        lambda chosen: st.fixed_dictionaries({name: values[name] for name in chosen})
    )


parts = keywords_over(keywords_over(st.booleans()) | st.booleans())
schemas = st.builds(
    lambda top, a, b: (
        top | {"$defs": {"a": a | {"$anchor": "a"}, "b": b | {"$dynamicAnchor": "b"}}}
    ),
    *[parts] * 3,
)
shallow = st.recursive(
    st.none() | numbers | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=8,
)
bodies = st.binary(max_size=40) | json_values.map(json.dumps).map(str.encode)


@given(bodies)
@example(b'{"a":' * 3_000)
@example(b"[" * 400 + b"]" * 400)
@example(b'["\\ud800", 1e400, -1e400]')
@example(b'{"xa": 1e400}')
def test_any_body_is_valid_or_has_errors(body):
    assert_reported(SCHEMA.errors(body))


@given(json_values, bodies)
@example({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, b"1")
@example({"$id": []}, b"1")
@example({"$id": "x:", "$ref": "#a", "$defs": {"b": {"$id": "x:", "$anchor": "a"}}}, b"1")
def test_any_document_is_refused_or_validates_any_body(document, body):
    try:
        schema = BodySchema(document)
    except SchemaError:
        return
    assert_reported(schema.errors(body))


@given(schemas, shallow.map(json.dumps).map(str.encode))
def test_any_references_are_refused_or_validate_any_body(document, body):
    try:
        schema = BodySchema(document)
    except SchemaError:
        return
    assert_reported(schema.errors(body))


@given(st.binary(max_size=40) | json_values.map(json.dumps).map(str.encode))
def test_any_file_is_a_schema_or_refused_in_one_line(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "schema.json"
    file.write_bytes(content)
    try:
        load_schema(file)
        message = "accepted"
    except SchemaError as error:
        message = str(error)
    assert message
    assert message.isprintable()


def assert_reported(errors):
    assert len(errors) <= MAX_ERRORS
    for error in errors:
        assert error["path"] == "" or error["path"].startswith("/")
        assert 0 < len(error["fault"]) <= 250
    json.dumps(errors)
