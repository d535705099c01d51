"""Routing table: reads routes.toml and maps HTTP routes to Kafka topics."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from gateway.routing.responder_options import with_profile
from gateway.routing.schema import BodySchema, load_schema
from gateway.routing.schema_document import SchemaError
from gateway.routing.validation import NO_LIMITS, RouteLimits, route_errors


class RoutesError(Exception):
    """Raised with one line for each error in a routes file."""


@dataclass(frozen=True, slots=True)
class Route:
    """An HTTP route and its request topic."""

    path: str
    topic: str  # with KAFKA_PREFIX
    methods: tuple[str, ...] = ("POST",)
    #: "path:<parameter>", "header:<name>", "none" for no key, or None for one by which the reply
    #: comes straight.
    key: str | None = None
    headers: tuple[str, ...] = ()  # of requests; copied to the record
    timeout_s: float | None = None  # None for REPLY_TIMEOUT_S
    max_timeout_s: float | None = None  # maximum of Prefer: wait; None for timeout_s
    idempotency: str = "optional"  # or "required", or "off": the gateway ignores keys
    caller: str | None = None  # "header:<name>", whose value names the user; None for the client
    scopes: tuple[str, ...] = ()  # that a client must have
    max_body_bytes: int | None = None  # None for MAX_BODY_BYTES
    schema: BodySchema | None = None
    body: str = "any"  # or "json": anything else is refused
    content_type: str | None = None  # of records; None for that of the request
    reply: str = "wait"  # or "none": the responder sends none
    replies: str = "first"  # or "last": of several values, as NestJS sends them
    reply_partition: str = "own"  # or "quarkus": the form of the header that Quarkus reads too
    reply_content_type: str = ""  # of replies that have a body and no type
    response_headers: tuple[str, ...] = ()  # of replies, lower case, besides the standard ones
    summary: str = ""  # for the OpenAPI description
    description: str = ""

    @property
    def request_headers(self) -> tuple[str, ...]:
        """HTTP request headers copied to the record or used as its key."""
        kind, _, name = (self.key or "").partition(":")
        listed = {header.lower() for header in self.headers}
        is_another = kind == "header" and name.lower() not in listed
        return (*self.headers, name) if is_another else self.headers

    @property
    def validates(self) -> bool:
        """Whether bodies are validated: as JSON, or against the schema."""
        return self.body == "json" or self.schema is not None

    @property
    def caller_header(self) -> str | None:
        """The name of the header that names the user."""
        return None if self.caller is None else self.caller.partition(":")[2]

    def reply_timeout_s(self, default_s: float) -> float:
        """Return the reply timeout; *default_s* is REPLY_TIMEOUT_S."""
        return default_s if self.timeout_s is None else self.timeout_s

    def max_reply_timeout_s(self, default_s: float) -> float:
        """Return the longest reply timeout that a client may ask for."""
        return max(self.reply_timeout_s(default_s), self.max_timeout_s or 0)


def load_routes(
    file: Path, topic_prefix: str = "", limits: RouteLimits = NO_LIMITS
) -> tuple[Route, ...]:
    """
    Return the routes in *file*, their topics with *topic_prefix*.

    Raises:
        RoutesError: naming file, route, key and expected value of each error.
    """
    document = _document(file)
    tables = document.get("route")
    unknown = sorted(set(document) - {"route"})
    if unknown or not _are_tables(tables):
        raise RoutesError(
            f"{file}: expected one or more [[route]] tables"
            + (f" and nothing else, found {', '.join(map(repr, unknown))}" if unknown else "")
        )
    errors: list[str] = []
    schemas: list[BodySchema | None] = []
    for number, table in enumerate(tables, start=1):
        label = f"{file}: route {number} ({table.get('path', 'without path')!r})"
        schema, schema_errors = _schema(file.parent, table.get("schema"))
        schemas.append(schema)
        errors += [f"{label}: {error}" for error in route_errors(table, limits) + schema_errors]
    errors = errors or [f"{file}: {error}" for error in _duplicates(tables)]
    if errors:
        raise RoutesError("\n".join(errors))
    return tuple(
        _route(table, topic_prefix, schema) for table, schema in zip(tables, schemas, strict=True)
    )


def caller_headers_of(routes: Iterable[Route]) -> list[str]:
    """Return the headers that name the callers of *routes*, each once."""
    by_name = {r.caller_header.lower(): r.caller_header for r in routes if r.caller_header}
    return list(by_name.values())


def reply_timeouts_by_topic(routes: Iterable[Route], default_s: float) -> dict[str, float]:
    """Return for each topic the reply timeout of its slowest route, in seconds."""
    timeouts_s: dict[str, float] = {}
    for route in routes:
        timeout_s = route.reply_timeout_s(default_s)
        timeouts_s[route.topic] = max(timeouts_s.get(route.topic, 0), timeout_s)
    return timeouts_s


def _schema(folder: Path, name: object) -> tuple[BodySchema | None, list[str]]:
    """Return the schema in file *name* of *folder*, or its errors."""
    if not isinstance(name, str):
        return None, []
    try:
        return load_schema(folder / name), []
    except SchemaError as error:
        return None, [f"schema={name!r}: {error}"]


def _document(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: an impossible file name
        reason = error.strerror if isinstance(error, OSError) else error
        raise RoutesError(f"ROUTES_FILE={file} cannot be read: {reason}") from error
    try:
        document = tomllib.loads(content.decode("utf-8"))
        repr(document)  # raises for a hexadecimal number too long for any error to show
    except (ValueError, RecursionError) as error:
        # tomllib passes on the errors of very long numbers and very deep nesting.
        raise RoutesError(f"{file}: not TOML: {error}") from error
    return document


def _are_tables(tables: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(tables, list) and bool(tables) and all(isinstance(t, dict) for t in tables)


def _route(given: dict[str, Any], topic_prefix: str, schema: BodySchema | None) -> Route:
    table = with_profile(given)
    return Route(
        path=table["path"],
        topic=topic_prefix + table["topic"],
        methods=tuple(table.get("methods", ["POST"])),
        key=table.get("key"),
        headers=tuple(table.get("headers", [])),
        timeout_s=table.get("timeout_s"),
        max_timeout_s=table.get("max_timeout_s"),
        # Without a reply there is nothing to repeat to a retry.
        idempotency=table.get("idempotency", "off" if table.get("reply") == "none" else "optional"),
        caller=table.get("caller"),
        scopes=tuple(table.get("scopes", [])),
        max_body_bytes=table.get("max_body_bytes"),
        schema=schema,
        body=table.get("body", "any"),
        reply=table.get("reply", "wait"),
        replies=table.get("replies", "first"),
        reply_partition=table.get("reply_partition", "own"),
        content_type=table.get("content_type"),
        reply_content_type=table.get("reply_content_type", ""),
        response_headers=tuple(name.lower() for name in table.get("response_headers", [])),
        summary=table.get("summary", ""),
        description=table.get("description", ""),
    )


def _duplicates(tables: list[dict[str, Any]]) -> list[str]:
    seen: set[tuple[str, str]] = set()
    errors = []
    for table in tables:
        for method in table.get("methods", ["POST"]):
            if (method, table["path"]) in seen:
                errors.append(f"{method} {table['path']!r} is a duplicate; remove it")
            seen.add((method, table["path"]))
    return errors
