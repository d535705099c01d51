"""The OpenAPI description, generated from the routes."""

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.routing.schema import BodySchema
from gateway.routing.table import Route
from gateway.routing.validation import METHODS
from gateway.web.docs.openapi import describe

ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"item": {"$ref": "#/$defs/item"}, "$ref": {"type": "string"}},
    "$defs": {"item": {"type": "string", "enum": ["#/$defs/item"]}},
    "examples": [{"item": {"$ref": "#/$defs/item"}}],
}
ROUTES = (
    Route("/echo", "echo", METHODS),
    Route(
        "/shops/<int:shop>/orders/<path:order_id>",
        "orders",
        ("PUT",),
        "header:X-Shop",
        ("X-Tenant", "Accept", "prefer", "x-user"),
        idempotency="required",
        caller="header:X-User",
        schema=BodySchema(ORDER),
        summary="Order something",
        description="Delivered by post.",
    ),
    Route("/shops/<uuid:other>/orders/<rest>", "orders", ("DELETE",)),
    Route("/shops/<shop>/orders/<order_id>", "orders", ("PUT",), summary="shadowed"),
)


@pytest.fixture(scope="module")
def described():
    return describe(ROUTES)


def parameters_of(described, operation):
    for parameter in operation["parameters"]:
        yield resolve(described, parameter)


def resolve(described, part):
    for step in part.get("$ref", "#").split("/")[1:]:
        described = described[step]
    return described if "$ref" in part else part


def test_the_description_is_valid_openapi_3_1(described):
    OpenAPIV31SpecValidator(described).validate()

    assert described["openapi"].startswith("3.1")
    assert described["servers"] == [{"url": "/"}]


def test_the_description_is_json_and_schemas_are_not_modified(described):
    before = json.dumps(ORDER)

    assert json.loads(json.dumps(describe(ROUTES))) == described
    assert json.dumps(ORDER) == before


def test_every_method_of_every_route_is_described(described):
    assert set(described["paths"]["/echo"]) == {"get", "post", "put", "patch", "delete"}
    assert set(described["paths"]["/shops/{shop}/orders/{order_id}"]) == {"put", "delete"}


def test_operation_ids_are_unique():
    described = describe([*ROUTES, Route("/a/b", "a"), Route("/a-b", "a"), Route("/", "a")])
    names = [
        operation["operationId"]
        for methods in described["paths"].values()
        for name, operation in methods.items()
        if name != "parameters"
    ]

    assert len(set(names)) == len(names)


def test_an_operation_lists_the_parameters_of_its_route(described):
    operation = described["paths"]["/shops/{shop}/orders/{order_id}"]["put"]
    parameters = {p["name"]: p for p in parameters_of(described, operation)}

    assert operation["summary"] == "Order something"
    assert operation["description"] == "Delivered by post."
    assert set(parameters) == {
        "shop", "order_id", "Prefer", "Idempotency-Key", "X-Request-ID", "x-tenant", "x-shop",
        "x-user",
    }  # fmt: skip
    assert parameters["shop"]["schema"]["type"] == "integer"
    assert parameters["order_id"]["required"]
    assert parameters["Idempotency-Key"]["required"] is True


def test_optional_parameters_are_not_required(described):
    operation = described["paths"]["/echo"]["post"]

    assert not any(p.get("required") for p in parameters_of(described, operation))
    assert not operation["requestBody"].get("required")
    assert list(operation["requestBody"]["content"]) == ["application/json", "*/*"]


def test_references_within_a_schema_resolve_in_the_description(described):
    operation = described["paths"]["/shops/{shop}/orders/{order_id}"]["put"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    found = resolve(described, schema)
    item = resolve(described, found["properties"]["item"])

    assert item["type"] == "string"
    assert item["enum"] == ["#/$defs/item"]
    assert found["properties"]["$ref"] == {"type": "string"}
    assert found["examples"] == ORDER["examples"]


@pytest.mark.parametrize("schema", [True, False, {}, {"type": "object"}])
def test_a_schema_without_references_is_unchanged(schema):
    described = describe([Route("/a", "a", schema=BodySchema(schema))])

    OpenAPIV31SpecValidator(described).validate()
    assert described["components"]["schemas"]["body-of-a"] == schema


def test_routes_with_similar_paths_have_separate_schemas():
    paths = ("/a-b", "/a/b", "/pending")
    described = describe([Route(path, "a", schema=BodySchema({"title": path})) for path in paths])

    for path in paths:
        content = described["paths"][path]["post"]["requestBody"]["content"]
        assert resolve(described, content["application/json"]["schema"]) == {"title": path}
    assert "title" not in described["components"]["schemas"]["pending"]


TREE = "https://a.example/tree"


@pytest.mark.parametrize(
    ("own_id", "reference"),
    [({}, "#"), ({"$id": TREE}, "#"), ({"$id": TREE}, TREE), ({"$id": TREE}, f"{TREE}#")],
)
def test_a_recursive_schema_resolves_in_the_description(own_id, reference):
    tree = {"type": "object", "additionalProperties": {"$ref": reference}} | own_id
    described = describe([Route("/a", "a", schema=BodySchema(tree))])

    OpenAPIV31SpecValidator(described).validate()
    assert described["components"]["schemas"]["body-of-a"]["additionalProperties"] == {
        "$ref": "#/components/schemas/body-of-a"
    }


@pytest.mark.parametrize("status", [503, 504])
def test_a_reply_timeout_has_the_configured_status(status):
    described = describe(ROUTES, reply_timeout_status=status)
    responses = described["paths"]["/echo"]["post"]["responses"]

    assert "reply-timeout" in responses[str(status)]["description"]
    assert described["components"]["schemas"]["reply-timeout"]["properties"]["status"] == {
        "const": status
    }


def test_a_reply_may_have_any_status_and_content_type(described):
    responses = described["paths"]["/echo"]["post"]["responses"]

    assert resolve(described, responses["default"])["content"] == {"*/*": {"schema": {}}}
    for status, response in responses.items():
        assert "*/*" in resolve(described, response)["content"], status


def test_with_api_keys_routes_and_replies_require_one():
    described = describe(ROUTES, takes_keys=True)
    paths = described["paths"]

    assert described["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for operation in (
        paths["/echo"]["post"],
        paths["/replies/{correlation_id}"]["get"],
        paths["/replies/{correlation_id}"]["delete"],
    ):
        assert operation["security"] == [{"key": []}]
        assert {"401", "429"} <= set(operation["responses"])
    for path in ("/livez", "/readyz", "/problems", "/problems/{kind}", "/openapi.json", "/docs"):
        assert "security" not in paths[path]["get"]
        assert "401" not in paths[path]["get"]["responses"]


def test_with_tokens_routes_name_the_scopes_that_they_require():
    routes = (*ROUTES, Route("/scoped", "scoped", scopes=("orders:write",)))
    described = describe(routes, takes_keys=True, takes_tokens=True)
    paths, schemes = described["paths"], described["components"]["securitySchemes"]

    assert schemes["token"]["bearerFormat"] == "JWT"
    assert paths["/echo"]["post"]["security"] == [{"key": []}, {"token": []}]
    scoped = paths["/scoped"]["post"]
    assert scoped["security"] == [{"key": ["orders:write"]}, {"token": ["orders:write"]}]
    assert "schemas/insufficient-scope" in json.dumps(scoped["responses"]["403"])
    assert "schemas/insufficient-scope" not in json.dumps(paths["/echo"])
    for path, method in (("/echo", "post"), ("/replies/{correlation_id}", "get")):
        unavailable = json.dumps(paths[path][method]["responses"]["503"])
        assert "schemas/token-keys-unavailable" in unavailable


def test_without_api_keys_the_description_does_not_mention_them(described):
    assert "securitySchemes" not in described["components"]
    assert "401" not in described["paths"]["/echo"]["post"]["responses"]


def test_the_header_that_names_the_caller_is_required_on_its_route_and_not_elsewhere(described):
    paths = described["paths"]
    order = paths["/shops/{shop}/orders/{order_id}"]["put"]
    required = [
        [p["required"] for p in parameters_of(described, part) if p["name"] == "x-user"]
        for part in (order, paths["/echo"]["post"])
    ]
    of_replies = parameters_of(described, paths["/replies/{correlation_id}"])
    kinds = json.dumps(order["responses"]["400"])

    assert required == [[True], []]
    assert [p.get("required", False) for p in of_replies if p["name"] == "x-user"] == [False]
    assert "schemas/caller-unknown" in kinds
    assert "schemas/caller-unknown" not in json.dumps(paths["/echo"])


ANY_OPERATION = {"unreadable-body", "too-large", "overloaded", "shutting-down", "about-blank"}
ANY_EXCHANGE = {"reply-store-unavailable", "bad-reply", "responder-error", "request-cancelled"}


@pytest.mark.parametrize(
    ("path", "method", "kinds"),
    [
        ("/echo", "post", ANY_EXCHANGE | {
            "not-sent", "reply-timeout", "responder-silent",
            "idempotency-key-invalid", "idempotency-key-reused", "kept-replies-full",
        }),
        ("/replies/{correlation_id}", "get", ANY_EXCHANGE | {"unknown-reply", "reply-expired"}),
        ("/replies/{correlation_id}", "delete", {
            "unknown-reply", "reply-expired", "already-answered", "reply-store-unavailable",
        }),
        ("/livez", "get", set()),
        ("/docs", "get", set()),
    ],
)  # fmt: skip
def test_an_operation_lists_its_problem_types(described, path, method, kinds):
    responses = described["paths"][path][method]["responses"]
    named = {
        schema["$ref"].rpartition("/")[2]
        for response in responses.values()
        for content in [response.get("content", {}).get("application/problem+json")]
        if content is not None
        for schema in content["schema"]["anyOf"]
        if "$ref" in schema
    }

    assert named == kinds | ANY_OPERATION


def test_a_route_without_idempotency_has_no_key_and_no_problem_of_one():
    described = describe((Route("/a", "topic", idempotency="off"),))
    operation = described["paths"]["/a"]["post"]

    assert "idempotency-key" not in str(operation["parameters"])
    assert "idempotency-key" not in str(operation["responses"]["400"])
    assert "422" not in operation["responses"]
    assert "kept-replies-full" not in str(operation["responses"])
    OpenAPIV31SpecValidator(described).validate()


def test_a_route_describes_what_it_takes_and_returns():
    picky = Route("/a", "topic", body="json", reply_content_type="application/x-own")
    described = describe((picky, Route("/b", "topic")))
    json_only, anything = (described["paths"][path]["post"] for path in ("/a", "/b"))

    assert list(json_only["requestBody"]["content"]) == ["application/json"]
    assert list(json_only["responses"]["default"]["content"]) == ["application/x-own", "*/*"]
    assert "invalid-body" in str(json_only["responses"]["400"])
    assert "415" in json_only["responses"]
    assert "415" not in anything["responses"]
    OpenAPIV31SpecValidator(described).validate()


def test_a_get_has_a_query_conditions_and_neither_body_nor_idempotency_key(described):
    operation = described["paths"]["/echo"]["get"]
    found = {p["name"]: p["in"] for p in parameters_of(described, operation)}

    assert found["query"] == "query"
    assert found["If-None-Match"] == found["If-Modified-Since"] == "header"
    assert "Idempotency-Key" not in found
    assert "requestBody" not in operation
    assert {"202", "304", "412"} <= set(operation["responses"])
    assert not {"415", "422"} & set(operation["responses"])
    assert "304" not in described["paths"]["/echo"]["post"]["responses"]


def test_a_route_without_replies_describes_its_202_and_no_reply():
    described = describe((Route("/a", "topic", reply="none", idempotency="off"),), takes_keys=True)
    operation = described["paths"]["/a"]["post"]
    responses = operation["responses"]

    assert "default" not in responses
    accepted = resolve(described, responses["202"])["content"]["application/json"]["schema"]
    assert resolve(described, accepted)["properties"]["status"] == {"const": "accepted"}
    assert [p["name"] for p in parameters_of(described, operation)] == ["X-Request-ID"]
    assert "not-sent" in str(responses["503"])
    for absent in ("reply-timeout", "responder-silent", "the responder's own reply"):
        assert absent not in str(responses)
    OpenAPIV31SpecValidator(described).validate()
