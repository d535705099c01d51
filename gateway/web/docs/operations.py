"""Parts of an OpenAPI operation: parameters, responses, body schema."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from gateway.problems import (
    CallerUnknown,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    IdempotencyUnavailable,
    InsufficientScope,
    InvalidBody,
    KeptRepliesFull,
    Problem,
)
from gateway.routing.table import Route
from gateway.web.docs.components import COMPONENTS

#: A part of the description.
Json = dict[str, Any]

#: A parameter in the path of a route: converter and name.
PARAMETER = re.compile(r"<(?:([a-z]+):)?([A-Za-z_][A-Za-z0-9_]*)>")
#: The values that each converter accepts, as a JSON Schema.
_CONVERTERS: Mapping[str, Json] = {
    "string": {"type": "string", "minLength": 1},
    "path": {"type": "string", "minLength": 1, "description": "May contain slashes."},
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}
#: Header parameters that OpenAPI ignores, since it describes them elsewhere.
_NOT_PARAMETERS = frozenset({"accept", "authorization", "content-type"})


def own_operation(summary: str, operation_id: str, responses: Json) -> Json:
    """Return an operation that the gateway answers itself."""
    return {
        "operationId": operation_id,
        "tags": ["gateway"],
        "summary": summary,
        "responses": responses,
    }


def ok_json(schema: str) -> Json:
    """Return a 200 response with the component *schema*."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"200": {"description": "OK", "content": content}}


def ok_text(description: str, *mimetypes: str) -> Json:
    """Return a 200 response with text of these *mimetypes*."""
    content = {mimetype: {"schema": {"type": "string"}} for mimetype in mimetypes}
    return {"200": {"description": description, "content": content}}


def statuses_of_input(route: Route, method: str) -> set[int]:
    """Return the statuses, as HTTP defines them, of requests that *route* does not accept."""
    # 400: a path or query that is not UTF-8. 404: a parameter that its converter refuses.
    found = {400, 404} if "<" in route.path else {400}
    if method == "GET":
        return found | {412}
    return found | {415} if route.validates else found


def problems_of_input(route: Route, method: str, keeps_replies: bool) -> tuple[type[Problem], ...]:
    """
    Return the problems of requests that *route* does not accept.

    Args:
        keeps_replies: whether a reply can be fetched later.
    """
    body = (InvalidBody,) if route.validates else ()
    caller: tuple[type[Problem], ...] = (CallerUnknown,) if route.caller is not None else ()
    caller += (InsufficientScope,) if route.scopes else ()
    if method == "GET":
        return caller
    if route.idempotency == "off":
        return (*body, *caller)
    if not keeps_replies:
        return (*body, *caller, IdempotencyKeyInvalid, IdempotencyUnavailable)
    missing = (IdempotencyKeyMissing,) if route.idempotency == "required" else ()
    keys = (IdempotencyKeyInvalid, *missing, IdempotencyKeyReused, KeptRepliesFull)
    return (*body, *caller, *keys)


def replies_of(route: Route, method: str, keeps_replies: bool) -> Json:
    """
    Return the responses that are the responder's reply, or stand for it.

    Args:
        keeps_replies: whether a reply can be fetched later.
    """
    if route.reply == "none":
        return {"202": {"$ref": "#/components/responses/accepted"}}
    reply: Json = {"$ref": "#/components/responses/reply"}
    if route.reply_content_type:
        reply = COMPONENTS["responses"]["reply"]
        reply = reply | {"content": {route.reply_content_type: {"schema": {}}, **reply["content"]}}
    found = {"default": reply}
    if keeps_replies:
        found["202"] = {"$ref": "#/components/responses/pending"}
    if method == "GET":
        found["304"] = {"$ref": "#/components/responses/not-modified"}
    return found


def parameters_of(route: Route, method: str, template: str) -> list[Json]:
    """Return all parameters of *route*; those in the path are named as in *template*."""
    found = [*_path_parameters(route, template), *_header_parameters(route, method)]
    if method == "GET":
        found += [
            {"$ref": f"#/components/parameters/{name}"}
            for name in ("query", "if-none-match", "if-modified-since")
        ]
    return found


def _path_parameters(route: Route, template: str) -> list[Json]:
    """Return the parameters in the path of *route*, named as in *template*."""
    names = re.findall(r"{(.*?)}", template)
    converters = [converter or "string" for converter, _ in PARAMETER.findall(route.path)]
    return [
        {"name": name, "in": "path", "required": True, "schema": _CONVERTERS[converter]}
        for name, converter in zip(names, converters, strict=True)
    ]


def _header_parameters(route: Route, method: str) -> list[Json]:
    """Return the request headers of *route*."""
    shared = {
        "prefer": "prefer",
        "idempotency-key": f"idempotency-key-{route.idempotency}",
        "x-request-id": "request-id",
    }
    if route.idempotency == "off" or method == "GET":
        del shared["idempotency-key"]
    if route.reply == "none":
        del shared["prefer"]
    parameters: list[Json] = [
        {"$ref": f"#/components/parameters/{name}"} for name in shared.values()
    ]
    if route.caller_header is not None:
        required = {"required": True, "schema": {"type": "string", "minLength": 1}}
        parameters.append(caller_parameter(route.caller_header) | required)
    skipped = {*_NOT_PARAMETERS, *shared, (route.caller_header or "").lower()}
    skipped |= {"if-none-match", "if-modified-since"} if method == "GET" else set()
    for header in dict.fromkeys(name.lower() for name in route.request_headers):
        if header not in skipped:
            parameters.append({"name": header, "in": "header", "schema": {"type": "string"}})
    return parameters


def caller_parameter(header: str) -> Json:
    """Return the request header that names the caller."""
    return {
        "name": header.lower(),
        "in": "header",
        "description": "The user; set by the proxy in front of the gateway.",
        "schema": {"type": "string"},
    }


def problem_response(
    status: int, names: Sequence[str], *, is_exchange: bool, may_be_reply: bool
) -> Json:
    """
    Return the response of the problems with one *status*.

    Args:
        names: the component schemas of the problems.
        is_exchange: whether they can belong to a request with a correlation id.
        may_be_reply: whether a responder's reply can have the status as well.
    """
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in dict.fromkeys(names)]
    examples = {name: {"$ref": f"#/components/examples/{name}"} for name in names}
    examples.pop("about-blank", None)
    content: Json = {
        "application/problem+json": {"schema": {"anyOf": schemas}}
        | ({"examples": examples} if examples else {})
    }
    description = ", ".join(examples) or HTTPStatus(status).phrase
    if may_be_reply:
        schemas.append({"description": "The responder's own reply."})
        content["*/*"] = {"schema": {}}
        description += "; or the responder's own reply"
    headers = ["X-Correlation-ID", "Location"] if is_exchange else []
    headers += ["Retry-After"] if status in (429, 503, 504) else []
    headers += ["WWW-Authenticate"] if status == 401 else []
    headers += ["RateLimit", "RateLimit-Policy"] if status == 429 else []
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": content,
    }


def embedded_schema(schema: Any, reference: str) -> Any:
    """
    Return *schema*, the component at *reference*, with references to itself rewritten.

    Its own ``$id`` is removed, since few readers of descriptions resolve it.
    """
    if not isinstance(schema, dict):
        return schema
    own_id = str(schema.get("$id", ""))

    def rewritten(part: Any) -> Any:
        if isinstance(part, list):
            return [rewritten(item) for item in part]
        if isinstance(part, dict):
            return {name: rewritten_member(name, value) for name, value in part.items()}
        return part

    def rewritten_member(name: str, value: Any) -> Any:
        if name in ("const", "default", "enum", "examples"):
            return value
        if name != "$ref" or not isinstance(value, str):
            return rewritten(value)
        fragment = value.removeprefix(own_id)
        return reference + fragment[1:] if re.match("$|#(/|$)", fragment) else value

    return rewritten({name: value for name, value in schema.items() if name != "$id"})
