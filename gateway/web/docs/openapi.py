"""
The gateway's description of itself: OpenAPI 3.1, made from the routes.

Whatever status is not listed for a route is the responder's, and so may those be that are: its
replies have a status of their own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import count
from typing import Any

from gateway.problems import (
    AlreadyAnswered,
    BadReply,
    BodyTooLarge,
    BodyUnreadable,
    Forbidden,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
    InvalidBody,
    NotSent,
    Overloaded,
    Problem,
    RateLimited,
    ReplyExpired,
    ReplyStoreUnavailable,
    ReplyTimeout,
    RequestCancelled,
    ResponderError,
    ResponderSilent,
    ShuttingDown,
    TooManyInFlight,
    Unauthorized,
    UnknownReply,
)
from gateway.routing.table import Route
from gateway.web.docs.components import COMPONENTS, DESCRIPTION, problem_example, problem_schema

#: What can happen wherever a request is sent, some of it before the application sees it ...
_ANYWHERE = (BodyUnreadable, BodyTooLarge, Overloaded, ShuttingDown)
_ANYWHERE_OF_HTTP = (408, 431, 500)
#: ... to a request on its way to a responder ...
_EXCHANGE = (
    NotSent,
    ReplyTimeout,
    ReplyStoreUnavailable,
    ResponderSilent,
    BadReply,
    ResponderError,
    RequestCancelled,
)
#: ... to who asks for a reply later, and to who does not want it any more.
_STATUS = (UnknownReply, ReplyExpired, ReplyStoreUnavailable)
_FETCH = (*_STATUS, BadReply, ResponderError, RequestCancelled)
_CANCEL = (*_STATUS, AlreadyAnswered)
#: Where there are API keys: of a route, and of a reply.
_CALLER = (Unauthorized, Forbidden, RateLimited, TooManyInFlight)
_CALLER_OF_REPLY = (Unauthorized, RateLimited)

_BEARER: dict[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "description": "Whoever runs this gateway makes the keys.",
}

#: What each converter of a path lets through, as a JSON Schema.
_CONVERTERS: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string", "minLength": 1},
    "path": {"type": "string", "minLength": 1, "description": "May have slashes in it."},
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}
_PARAMETER = re.compile(r"<(?:([a-z]+):)?([A-Za-z_][A-Za-z0-9_]*)>")
#: Header parameters that OpenAPI has ignored, since it describes them elsewhere.
_DESCRIBED_ELSEWHERE = frozenset({"accept", "authorization", "content-type"})

Described = dict[str, Any]


def describe(
    routes: Sequence[Route], *, reply_timeout_status: int = 503, needs_key: bool = False
) -> Described:
    """
    Return the OpenAPI description of a gateway with these *routes*.

    Args:
        routes: the routes of routes.toml.
        reply_timeout_status: the HTTP status of a reply that did not come in time.
        needs_key: whether routes and replies are for those with an API key only.
    """
    described = _Description(reply_timeout_status, needs_key)
    for route in routes:
        described.add_route(route)
    described.add_own_paths()
    return described.document()


class _Description:
    """A description in the making."""

    def __init__(self, reply_timeout_status: int, needs_key: bool) -> None:
        self._reply_timeout_status = reply_timeout_status
        self._needs_key = needs_key
        self._paths: dict[str, Described] = {}
        self._templates: dict[str, str] = {}
        self._schemas: Described = {}
        self._examples: Described = {}
        self._names: set[str] = set()

    def document(self) -> Described:
        return {
            "openapi": "3.1.1",
            "info": {
                "title": "Rendezvous",
                "version": "1",
                "summary": "Requests that are answered by services behind Kafka.",
                "description": DESCRIPTION,
            },
            "servers": [{"url": "/"}],
            "tags": [
                {"name": "routes", "description": "Answered by the services behind Kafka."},
                {"name": "gateway", "description": "Answered by the gateway itself."},
            ],
            "paths": self._paths,
            "components": COMPONENTS
            | {"examples": self._examples, "schemas": COMPONENTS["schemas"] | self._schemas}
            | ({"securitySchemes": {"key": _BEARER}} if self._needs_key else {}),
        }

    # Routes

    def add_route(self, route: Route) -> None:
        template = self._template(route.path)
        for method in route.methods:
            operation = self._route_operation(route, method, template)
            # Of two routes that differ in the kind of a parameter only, the first is shown.
            self._paths.setdefault(template, {}).setdefault(method.lower(), operation)

    def _template(self, path: str) -> str:
        """Return *path* as OpenAPI writes it; parameters at one place have one name there."""
        place = _PARAMETER.sub("<>", path)
        return self._templates.setdefault(place, _PARAMETER.sub(r"{\2}", path))

    def _route_operation(self, route: Route, method: str, template: str) -> Described:
        blank = (*_ANYWHERE_OF_HTTP, 404) if "{" in template else _ANYWHERE_OF_HTTP
        kinds = (*_ANYWHERE, *_EXCHANGE, *_asked_of(route), *self._of_callers(_CALLER))
        return {
            "operationId": self._name(f"{method.lower()} {template}"),
            "tags": ["routes"],
            "summary": route.summary or f"{method} {template}",
            **({"description": route.description} if route.description else {}),
            "parameters": [*_path_parameters(route, template), *_header_parameters(route)],
            "requestBody": self._request_body(route),
            "responses": {
                "default": {"$ref": "#/components/responses/reply"},
                "202": {"$ref": "#/components/responses/pending"},
                **self._problems(kinds, blank, replies=True),
            },
            **self._security,
        }

    def _name(self, said: str) -> str:
        """Return a name made of the words in *said*, and another one each time."""
        words = "-".join(re.findall("[A-Za-z0-9]+", said))
        names = (words if number == 1 else f"{words}-{number}" for number in count(1))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        return name

    def _request_body(self, route: Route) -> Described:
        if route.schema is None:
            # JSON first: it is what pages offer to those who try it.
            content: Described = {"application/json": {"schema": {}}, "*/*": {"schema": {}}}
            return {"description": "Forwarded byte for byte.", "content": content}
        name = self._name(f"body of {route.path}")
        reference = f"#/components/schemas/{name}"
        self._schemas[name] = _relocated(route.schema.document, reference)
        return {"required": True, "content": {"application/json": {"schema": {"$ref": reference}}}}

    # API keys

    @property
    def _security(self) -> Described:
        return {"security": [{"key": []}]} if self._needs_key else {}

    def _of_callers(self, kinds: tuple[type[Problem], ...]) -> tuple[type[Problem], ...]:
        return kinds if self._needs_key else ()

    # Problems

    def _problems(
        self, kinds: Iterable[type[Problem]], blank: Iterable[int], *, replies: bool = False
    ) -> Described:
        """Return one response for each status; with *replies* a reply may have it as well."""
        names: dict[int, list[str]] = {}
        kinds = tuple(kinds)
        of_exchange = not set(kinds) <= set(_ANYWHERE)
        for kind in kinds:
            names.setdefault(self._status_of(kind), []).append(self._schema_of(kind))
        for status in blank:
            names.setdefault(status, []).append("about-blank")
        return {
            str(status): _problem(status, names[status], of_exchange, replies)
            for status in sorted(names)
        }

    def _status_of(self, kind: type[Problem]) -> int:
        return self._reply_timeout_status if kind is ReplyTimeout else kind.status

    def _schema_of(self, kind: type[Problem]) -> str:
        status = self._status_of(kind)
        self._schemas.setdefault(kind.kind, problem_schema(kind, status))
        self._examples.setdefault(kind.kind, problem_example(kind, status))
        return kind.kind

    # What the gateway answers itself

    def add_own_paths(self) -> None:
        self._add_replies()
        anywhere = self._problems(_ANYWHERE, _ANYWHERE_OF_HTTP)
        self._paths["/livez"] = {
            "get": _own("Whether the process lives", "getLivez", _json("alive") | anywhere)
        }
        not_ready = {"503": {"$ref": "#/components/responses/not-ready"}}
        self._paths["/readyz"] = {
            "get": _own(
                "What is missing for requests to succeed",
                "getReadyz",
                _json("readiness") | anywhere | not_ready,
            )
        }
        self._paths["/problems"] = {
            "get": _own("All types of problems", "getProblems", _TEXT | anywhere)
        }
        self._paths["/problems/{kind}"] = {
            "get": _own(
                "What a type of problem means, and whether to send the request again",
                "getProblem",
                _TEXT | self._problems(_ANYWHERE, (*_ANYWHERE_OF_HTTP, 404)),
            )
            | {"parameters": [{"$ref": "#/components/parameters/kind"}]}
        }
        self._paths["/openapi.json"] = {
            "get": _own("This description", "getOpenapi", _json("openapi") | anywhere)
        }
        self._paths["/docs"] = {
            "get": _own("This description, to browse and to try", "getDocs", _PAGE | anywhere)
        }

    def _add_replies(self) -> None:
        asked = self._of_callers(_CALLER_OF_REPLY)
        fetched = {
            "default": {"$ref": "#/components/responses/reply"},
            "202": {"$ref": "#/components/responses/pending"},
            "304": {"description": "The client has it; or the responder's own reply."},
            **self._problems((*_ANYWHERE, *_FETCH, *asked), _ANYWHERE_OF_HTTP, replies=True),
        }
        cancelled = {
            "204": {"description": "Cancelled: whoever asks for the reply is told so."},
            **self._problems((*_ANYWHERE, *_CANCEL, *asked), _ANYWHERE_OF_HTTP),
        }
        shared = ("correlation-id", "request-id")
        self._paths["/replies/{correlation_id}"] = {
            "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in shared],
            "get": _own("The reply to a request, with its own status", "getReply", fetched)
            | {"parameters": [{"$ref": "#/components/parameters/prefer"}]}
            | self._security,
            "delete": _own("Cancel a request", "cancelRequest", cancelled) | self._security,
        }


def _asked_of(route: Route) -> tuple[type[Problem], ...]:
    """Return the problems of requests that are not what *route* asks for."""
    return (
        *((InvalidBody,) if route.schema is not None else ()),
        IdempotencyKeyInvalid,
        *((IdempotencyKeyMissing,) if route.idempotency == "required" else ()),
        IdempotencyKeyReused,
    )


def _path_parameters(route: Route, template: str) -> list[Described]:
    names = re.findall(r"{(.*?)}", template)
    kinds = [kind or "string" for kind, _ in _PARAMETER.findall(route.path)]
    return [
        {"name": name, "in": "path", "required": True, "schema": _CONVERTERS[kind]}
        for name, kind in zip(names, kinds, strict=True)
    ]


def _header_parameters(route: Route) -> list[Described]:
    shared = {
        "prefer": "prefer",
        "idempotency-key": f"idempotency-key-{route.idempotency}",
        "x-request-id": "request-id",
    }
    parameters: list[Described] = [
        {"$ref": f"#/components/parameters/{name}"} for name in shared.values()
    ]
    for header in dict.fromkeys(name.lower() for name in route.request_headers):
        if header not in _DESCRIBED_ELSEWHERE | set(shared):
            parameters.append({"name": header, "in": "header", "schema": {"type": "string"}})
    return parameters


def _problem(status: int, names: Sequence[str], of_exchange: bool, replies: bool) -> Described:
    schemas = [{"$ref": f"#/components/schemas/{name}"} for name in dict.fromkeys(names)]
    examples = {name: {"$ref": f"#/components/examples/{name}"} for name in names}
    examples.pop("about-blank", None)
    content: Described = {
        "application/problem+json": {"schema": {"anyOf": schemas}}
        | ({"examples": examples} if examples else {})
    }
    said = ", ".join(name for name in names if name != "about-blank")
    description = said or HTTPStatus(status).phrase
    if replies:
        schemas.append({"description": "The responder's own reply."})
        content["*/*"] = {"schema": {}}
        description += "; or the responder's own reply"
    headers = ["X-Correlation-ID", "Location"] if of_exchange else []
    headers += ["Retry-After"] if status in (429, 503, 504) else []
    headers += ["WWW-Authenticate"] if status == 401 else []
    headers += ["RateLimit", "RateLimit-Policy"] if status == 429 else []
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": content,
    }


def _own(summary: str, operation_id: str, responses: Described) -> Described:
    return {
        "operationId": operation_id,
        "tags": ["gateway"],
        "summary": summary,
        "responses": responses,
    }


def _json(schema: str) -> Described:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"200": {"description": "OK", "content": content}}


_PAGE: Described = {
    "200": {"description": "A page", "content": {"text/html": {"schema": {"type": "string"}}}}
}
_TEXT: Described = {
    "200": {
        "description": "In words",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "text/html": {"schema": {"type": "string"}},
        },
    }
}


def _relocated(schema: Any, place: str) -> Any:
    """
    Return *schema* with its references to itself as they are at *place* in the description.

    Its own ``$id`` goes, since few readers of descriptions look for one.
    """
    if not isinstance(schema, dict):
        return schema
    own_id = str(schema.get("$id", ""))
    bare = {name: value for name, value in schema.items() if name != "$id"}

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return [moved(item) for item in part]
        return {n: moved_member(n, v) for n, v in part.items()} if isinstance(part, dict) else part

    def moved_member(name: str, value: Any) -> Any:
        if name in ("const", "default", "enum", "examples"):
            return value
        if name != "$ref" or not isinstance(value, str):
            return moved(value)
        fragment = value.removeprefix(own_id)
        return place + fragment[1:] if re.match("$|#(/|$)", fragment) else value

    return moved(bare)
