"""
The OpenAPI 3.1 description of the gateway, generated from its routes.

A responder's reply has a status of its own: it may be one that is not listed for the route, and
any that is.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import count

from gateway.problems import (
    AlreadyAnswered,
    BadReply,
    BodyTooLarge,
    BodyUnreadable,
    Forbidden,
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
    TokenKeysUnavailable,
    TooManyInFlight,
    Unauthorized,
    UnknownReply,
)
from gateway.routing.table import Route, caller_headers_of
from gateway.web.docs.components import (
    API_KEY,
    COMPONENTS,
    DESCRIPTION,
    TOKEN,
    problem_example,
    problem_schema,
)
from gateway.web.docs.operations import (
    PARAMETER,
    Json,
    caller_parameter,
    embedded_schema,
    ok_json,
    ok_text,
    own_operation,
    parameters_of,
    problem_response,
    problems_of_input,
    replies_of,
    statuses_of_input,
)

#: Problems of every operation; some are raised before the application receives the request.
_ANY = (BodyUnreadable, BodyTooLarge, Overloaded, ShuttingDown)
_ANY_HTTP_STATUSES = (408, 431, 500)
#: Problems of requests that are sent to a responder.
_EXCHANGE = (
    NotSent,
    ReplyTimeout,
    ReplyStoreUnavailable,
    ResponderSilent,
    BadReply,
    ResponderError,
    RequestCancelled,
)
#: Problems of fetching a reply, and of cancelling its request.
_REPLY = (UnknownReply, ReplyExpired, ReplyStoreUnavailable)
_FETCH = (*_REPLY, BadReply, ResponderError, RequestCancelled)
_CANCEL = (*_REPLY, AlreadyAnswered)
#: Problems of API keys and tokens, on routes and on replies.
_KEY_ON_ROUTE = (Unauthorized, Forbidden, RateLimited, TooManyInFlight)
_KEY_ON_REPLY = (Unauthorized, RateLimited)


def describe(
    routes: Sequence[Route],
    *,
    reply_timeout_status: int = 503,
    takes_keys: bool = False,
    takes_tokens: bool = False,
    keeps_replies: bool = True,
) -> Json:
    """
    Return the OpenAPI description of a gateway with these *routes*.

    Args:
        reply_timeout_status: the HTTP status of a reply timeout.
        takes_keys: whether clients may have API keys.
        takes_tokens: whether clients may have tokens; without either, everybody may call.
        keeps_replies: whether a reply can be fetched later.
    """
    schemes = ({"key": API_KEY} if takes_keys else {}) | ({"token": TOKEN} if takes_tokens else {})
    description = _Description(reply_timeout_status, schemes, keeps_replies)
    for route in routes:
        description.add_route(route)
    if keeps_replies:
        description.add_replies(caller_headers_of(routes))
    description.add_own_paths()
    return description.document()


class _Description:
    """Collects paths and components."""

    def __init__(self, reply_timeout_status: int, schemes: Json, keeps_replies: bool) -> None:
        self._reply_timeout_status = reply_timeout_status
        self._schemes = schemes  # of security, by name
        self._keeps_replies = keeps_replies
        self._paths: dict[str, Json] = {}
        self._templates: dict[str, str] = {}
        self._schemas: Json = {}
        self._examples: Json = {}
        self._names: set[str] = set()

    def document(self) -> Json:
        return {
            "openapi": "3.1.1",
            "info": {
                "title": "Rendezvous",
                "version": "1",
                "summary": "HTTP requests, answered by services behind Kafka.",
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
            | ({"securitySchemes": self._schemes} if self._schemes else {}),
        }

    # Routes

    def add_route(self, route: Route) -> None:
        template = self._template(route.path)
        for method in route.methods:
            operation = self._route_operation(route, method, template)
            # Of two routes that differ only in the converter of a parameter, the first is shown.
            self._paths.setdefault(template, {}).setdefault(method.lower(), operation)

    def _template(self, path: str) -> str:
        """Return *path* as OpenAPI writes it; parameters at one position share one name."""
        positions = PARAMETER.sub("<>", path)
        return self._templates.setdefault(positions, PARAMETER.sub(r"{\2}", path))

    def _route_operation(self, route: Route, method: str, template: str) -> Json:
        http_statuses = {*_ANY_HTTP_STATUSES, *statuses_of_input(route, method)}
        of_input = problems_of_input(route, method, self._keeps_replies)
        of_exchange = _EXCHANGE if route.reply == "wait" else (NotSent,)
        kinds = (*_ANY, *of_exchange, *of_input, *self._if_secured(_KEY_ON_ROUTE))
        return {
            "operationId": self._unique_name(f"{method.lower()} {template}"),
            "tags": ["routes"],
            "summary": route.summary or f"{method} {template}",
            **({"description": route.description} if route.description else {}),
            "parameters": parameters_of(route, method, template),
            **({"requestBody": self._request_body(route)} if method != "GET" else {}),
            "responses": {
                **replies_of(route, method, self._keeps_replies),
                **self._problems(kinds, http_statuses, may_be_reply=route.reply == "wait"),
            },
            **self._security(route.scopes),
        }

    def _unique_name(self, text: str) -> str:
        """Return an unused name made of the words of *text*."""
        words = "-".join(re.findall("[A-Za-z0-9]+", text))
        names = (words if number == 1 else f"{words}-{number}" for number in count(1))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        return name

    def _request_body(self, route: Route) -> Json:
        if route.schema is None:
            # JSON first: Swagger UI preselects it.
            content: Json = {"application/json": {"schema": {}}}
            if route.body == "json":
                return {"required": True, "description": "Any JSON.", "content": content}
            content["*/*"] = {"schema": {}}
            return {"description": "Forwarded byte for byte.", "content": content}
        name = self._unique_name(f"body of {route.path}")
        reference = f"#/components/schemas/{name}"
        self._schemas[name] = embedded_schema(route.schema.document, reference)
        return {"required": True, "content": {"application/json": {"schema": {"$ref": reference}}}}

    # API keys and tokens

    def _security(self, scopes: Sequence[str] = ()) -> Json:
        return (
            {"security": [{name: list(scopes)} for name in self._schemes]} if self._schemes else {}
        )

    def _if_secured(self, kinds: tuple[type[Problem], ...]) -> tuple[type[Problem], ...]:
        kinds = (*kinds, TokenKeysUnavailable) if "token" in self._schemes else kinds
        return kinds if self._schemes else ()

    # Problems

    def _problems(
        self,
        kinds: Iterable[type[Problem]],
        http_statuses: Iterable[int],
        *,
        may_be_reply: bool = False,
    ) -> Json:
        """Return one response for each status of the problems; see problem_response()."""
        names: dict[int, list[str]] = {}
        kinds = tuple(kinds)
        for kind in kinds:
            names.setdefault(self._status_of(kind), []).append(self._component_of(kind))
        for status in http_statuses:
            names.setdefault(status, []).append("about-blank")
        is_exchange = not set(kinds) <= set(_ANY)
        return {
            str(status): problem_response(
                status, names[status], is_exchange=is_exchange, may_be_reply=may_be_reply
            )
            for status in sorted(names)
        }

    def _status_of(self, kind: type[Problem]) -> int:
        return self._reply_timeout_status if kind is ReplyTimeout else kind.status

    def _component_of(self, kind: type[Problem]) -> str:
        status = self._status_of(kind)
        self._schemas.setdefault(kind.kind, problem_schema(kind, status))
        self._examples.setdefault(kind.kind, problem_example(kind, status))
        return kind.kind

    # Answered by the gateway itself

    def add_replies(self, caller_headers: Iterable[str]) -> None:
        with_key = self._if_secured(_KEY_ON_REPLY)
        fetched = {
            "default": {"$ref": "#/components/responses/reply"},
            "202": {"$ref": "#/components/responses/pending"},
            "304": {"description": "Not modified; or the responder's own reply."},
            **self._problems((*_ANY, *_FETCH, *with_key), _ANY_HTTP_STATUSES, may_be_reply=True),
        }
        cancelled = {
            "204": {"description": "Cancelled; fetching the reply returns request-cancelled."},
            **self._problems((*_ANY, *_CANCEL, *with_key), _ANY_HTTP_STATUSES),
        }
        shared = ("correlation-id", "request-id")
        self._paths["/replies/{correlation_id}"] = {
            "parameters": [
                *({"$ref": f"#/components/parameters/{name}"} for name in shared),
                *map(caller_parameter, caller_headers),
            ],
            "get": own_operation("Fetch a reply, with its own status", "getReply", fetched)
            | {"parameters": [{"$ref": "#/components/parameters/prefer"}]}
            | self._security(),
            "delete": own_operation("Cancel a request", "cancelRequest", cancelled)
            | self._security(),
        }

    def add_own_paths(self) -> None:
        text = ok_text("Text or a page", "text/plain", "text/html")
        not_ready = {"503": {"$ref": "#/components/responses/not-ready"}}
        if "/" not in self._paths:
            welcome = ok_json("welcome")
            welcome["200"]["content"]["text/html"] = {"schema": {"type": "string"}}
            self._add_get("/", "getWelcome", "Where everything is", welcome)
        self._add_get("/livez", "getLivez", "Liveness probe", ok_json("alive"))
        self._add_get(
            "/readyz", "getReadyz", "Readiness probe", ok_json("readiness"), replaced=not_ready
        )
        self._paths["/readyz"]["get"]["parameters"] = [{"$ref": "#/components/parameters/local"}]
        self._add_get("/problems", "getProblems", "List the problem types", text)
        self._add_get(
            "/problems/{kind}", "getProblem", "Explain a problem type", text, http_statuses=(404,)
        )
        self._paths["/problems/{kind}"]["get"]["parameters"] = [
            {"$ref": "#/components/parameters/kind"}
        ]
        self._add_get("/openapi.json", "getOpenapi", "This description", ok_json("openapi"))
        self._add_get(
            "/docs", "getDocs", "This description in Swagger UI", ok_text("A page", "text/html")
        )

    def _add_get(
        self,
        path: str,
        operation_id: str,
        summary: str,
        success: Json,
        *,
        http_statuses: Sequence[int] = (),
        replaced: Json | None = None,
    ) -> None:
        problems = self._problems(_ANY, (*_ANY_HTTP_STATUSES, *http_statuses))
        responses = success | problems | (replaced or {})
        self._paths[path] = {"get": own_operation(summary, operation_id, responses)}
