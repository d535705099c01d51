"""What the record of a request takes over from HTTP: body, headers and key."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.clients.client import request_id_of
from gateway.problems import HttpProblem, InvalidBody, Sent
from gateway.routing import json_body
from gateway.routing.table import Route
from gateway.web.request import (
    BodyLimit,
    Environ,
    as_text,
    environ_key,
    header_text,
    read_body,
    utf8_text,
)
from gateway.web.trace import REQUEST_ID, trace_headers
from rendezvous.contract import PATH_PARAMETER

#: Methods without a body. The responder answers GET; a HEAD gets that response without its body.
BODILESS = ("GET", "HEAD")
_ENCODING = "content-encoding"
_CONTENT_ENCODING = environ_key(_ENCODING)
_JSON = "application/json"
#: The value of a record where records are JSON and the request has no body.
_NO_JSON = b"null"


class Content(NamedTuple):
    """The value of a record, and its type."""

    body: bytes
    content_type: str | None


class RouteRecords:
    """
    Makes the parts of the records of one route.

    Args:
        max_body_bytes: the largest body that is forwarded, if the route does not set it.
    """

    def __init__(self, route: Route, max_body_bytes: int) -> None:
        self._route = route
        self._limit = BodyLimit.of(route, max_body_bytes)
        names = dict.fromkeys(name.lower() for name in route.headers)
        # Without its encoding a body cannot be read.
        self._copied = [(name, environ_key(name)) for name in names | {_ENCODING: None}]

    def content(self, environ: Environ) -> Content:
        """
        Return the validated body and its content type.

        Raises:
            Problem: when the route does not take this body.
        """
        route, method = self._route, environ["REQUEST_METHOD"]
        body = read_body(environ, self._limit)
        if method in BODILESS and body:
            raise HttpProblem(
                400,
                "Bad Request",
                f"{method} {route.path} takes no body; send it as the query, or with another "
                "method",
                {},
                Sent.NO,
            )
        if method in BODILESS or (method == "DELETE" and not body and route.schema is None):
            return Content(_NO_JSON, _JSON) if route.body == "json" else Content(b"", None)
        self._validate(body, environ)
        return Content(body, route.content_type or header_text(environ, "CONTENT_TYPE"))

    def headers(
        self, environ: Environ, parameters: Mapping[str, object]
    ) -> Iterator[tuple[str, str]]:
        """Yield the copied headers, the parameters in the path, and those of traces."""
        for name, key in self._copied:
            if key in environ:
                yield name, as_text(environ[key])
        for name, value in parameters.items():
            yield PATH_PARAMETER + name, str(value)
        get = environ.get
        yield from trace_headers(get("HTTP_TRACEPARENT", ""), get("HTTP_TRACESTATE", ""))
        request_id = request_id_of(environ)
        if request_id is not None:
            yield REQUEST_ID.lower(), request_id

    def key(self, environ: Environ, parameters: Mapping[str, object]) -> bytes | None:
        """Return the record key that the route chooses, or None."""
        if self._route.key is None or self._route.key == "none":
            return None
        kind, _, name = self._route.key.partition(":")
        if kind == "path":
            return str(parameters[name]).encode()
        value = environ.get(environ_key(name))
        if value is None:
            return None
        return utf8_text(value, f"the header {name}, the record key,").encode()

    def _validate(self, body: bytes, environ: Environ) -> None:
        route = self._route
        if not route.validates:
            return
        json_body.check_encoding(environ.get(_CONTENT_ENCODING), route.path)
        if route.body == "json":
            json_body.check_type(header_text(environ, "CONTENT_TYPE"), route.path)
            if route.schema is None:  # which parses it anyway
                json_body.check_json(body, route.path)
        errors = [] if route.schema is None else route.schema.errors(body)
        if errors:
            raise InvalidBody(
                f"the body does not match the schema of {route.path}; see faults", errors
            )
