"""Which HTTP routes exist and which topic each of them feeds: routes.toml, read and checked."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from gateway.routing.schema import BodySchema, load_schema
from gateway.routing.schema_document import SchemaFault
from gateway.routing.validation import NO_LIMITS, RouteLimits, faults_of


class RoutesError(Exception):
    """Raised with one line for each fault of a routes file."""


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP route and the topic that it feeds."""

    path: str
    topic: str  # with KAFKA_PREFIX
    methods: tuple[str, ...] = ("POST",)
    key: str | None = None  # "path:<parameter>", "header:<name>", or None for the correlation id
    headers: tuple[str, ...] = ()
    timeout_s: float | None = None  # how long clients wait; None for REPLY_TIMEOUT_S
    max_timeout_s: float | None = None  # how long they may ask to wait; None for no longer
    idempotency: str = "optional"  # whether requests need an Idempotency-Key, or "required"
    max_body_bytes: int | None = None  # None for MAX_BODY_BYTES
    schema: BodySchema | None = None  # what bodies must fit
    response_headers: tuple[str, ...] = ()  # of replies, lower case, besides the standard ones
    summary: str = ""  # for the description of the API, as is ...
    description: str = ""

    @property
    def request_headers(self) -> tuple[str, ...]:
        """The HTTP headers that mean something to it: those that travel, and the record key."""
        kind, _, name = (self.key or "").partition(":")
        listed = {header.lower() for header in self.headers}
        is_another = kind == "header" and name.lower() not in listed
        return (*self.headers, name) if is_another else self.headers

    def reply_timeout_s(self, default_s: float) -> float:
        """Return how long clients wait where they say nothing; *default_s* is REPLY_TIMEOUT_S."""
        return default_s if self.timeout_s is None else self.timeout_s

    def max_reply_timeout_s(self, default_s: float) -> float:
        """Return how long clients may ask to wait; never less than they wait anyway."""
        return max(self.reply_timeout_s(default_s), self.max_timeout_s or 0)


def load_routes(
    file: Path, topic_prefix: str = "", limits: RouteLimits = NO_LIMITS
) -> tuple[Route, ...]:
    """
    Return the routes of *file*, their topics with *topic_prefix* in front.

    Raises:
        RoutesError: naming the file and each faulty route, key and expectation.
    """
    document = _document(file)
    tables = document.get("route")
    unknown = sorted(set(document) - {"route"})
    if unknown or not _are_tables(tables):
        raise RoutesError(
            f"{file}: expected one or more [[route]] tables"
            + (f" and nothing else, found {', '.join(map(repr, unknown))}" if unknown else "")
        )
    faults: list[str] = []
    schemas: list[BodySchema | None] = []
    for number, table in enumerate(tables, start=1):
        place = f"{file}: route {number} ({table.get('path', 'without path')!r})"
        schema, schema_faults = _schema(file.parent, table.get("schema"))
        schemas.append(schema)
        faults += [f"{place}: {fault}" for fault in faults_of(table, limits) + schema_faults]
    faults += [f"{file}: {fault}" for fault in _repeated(tables)] if not faults else []
    if faults:
        raise RoutesError("\n".join(faults))
    return tuple(
        _route(table, topic_prefix, schema) for table, schema in zip(tables, schemas, strict=True)
    )


def reply_timeouts_by_topic(routes: Iterable[Route], default_s: float) -> dict[str, float]:
    """Return for each topic how long clients wait for replies from it, over its slowest route."""
    waits: dict[str, float] = {}
    for route in routes:
        waits[route.topic] = max(waits.get(route.topic, 0), route.reply_timeout_s(default_s))
    return waits


def _schema(folder: Path, name: object) -> tuple[BodySchema | None, list[str]]:
    """Return the schema in file *name* of *folder*, if that is one, or what is wrong with it."""
    if not isinstance(name, str):
        return None, []
    try:
        return load_schema(folder / name), []
    except SchemaFault as fault:
        return None, [f"schema={name!r}: {fault}"]


def _document(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no file can have that name
        reason = error.strerror if isinstance(error, OSError) else error
        raise RoutesError(f"ROUTES_FILE={file} cannot be read: {reason}") from error
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # tomllib lets through what endless digits and endless nesting raise.
        raise RoutesError(f"{file}: not TOML: {error}") from error


def _are_tables(tables: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(tables, list) and bool(tables) and all(isinstance(t, dict) for t in tables)


def _route(table: dict[str, Any], topic_prefix: str, schema: BodySchema | None) -> Route:
    return Route(
        path=table["path"],
        topic=topic_prefix + table["topic"],
        methods=tuple(table.get("methods", ["POST"])),
        key=table.get("key"),
        headers=tuple(table.get("headers", [])),
        timeout_s=table.get("timeout_s"),
        max_timeout_s=table.get("max_timeout_s"),
        idempotency=table.get("idempotency", "optional"),
        max_body_bytes=table.get("max_body_bytes"),
        schema=schema,
        response_headers=tuple(name.lower() for name in table.get("response_headers", [])),
        summary=table.get("summary", ""),
        description=table.get("description", ""),
    )


def _repeated(tables: list[dict[str, Any]]) -> list[str]:
    seen: set[tuple[str, str]] = set()
    repeated = []
    for table in tables:
        for method in table.get("methods", ["POST"]):
            if (method, table["path"]) in seen:
                repeated.append(f"{method} {table['path']!r} is there twice; remove one")
            seen.add((method, table["path"]))
    return repeated
