"""Which HTTP routes exist and which topic each of them feeds: routes.toml, read and checked."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from replies.contract import RESERVED_HEADERS

METHODS = ("POST", "PUT", "PATCH", "DELETE")
_KEYS = {"path", "topic", "methods", "key", "headers"}
_OWN_PATHS = ("/livez", "/readyz", "/replies", "/problems")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
_PARAMETER = re.compile(r"<(?:(?:string|int|float|path|uuid):)?([A-Za-z_][A-Za-z0-9_]*)>")
#: Never let through, whatever routes.toml says: they are between the client and this gateway.
_PRIVATE_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: What proves who somebody is: not even where it would be hard to see, in the key of a record.
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
#: Let through without being listed: listed too, they would travel twice.
_ALWAYS_TRAVEL = frozenset({"traceparent", "tracestate"})


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


def load_routes(file: Path, topic_prefix: str = "") -> tuple[Route, ...]:
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
    for number, table in enumerate(tables, start=1):
        place = f"{file}: route {number} ({table.get('path', 'without path')!r})"
        faults += [f"{place}: {fault}" for fault in _faults(table)]
    faults += [f"{file}: {fault}" for fault in _repeated(tables)] if not faults else []
    if faults:
        raise RoutesError("\n".join(faults))
    return tuple(_route(table, topic_prefix) for table in tables)


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


def _route(table: dict[str, Any], topic_prefix: str) -> Route:
    return Route(
        path=table["path"],
        topic=topic_prefix + table["topic"],
        methods=tuple(table.get("methods", ["POST"])),
        key=table.get("key"),
        headers=tuple(table.get("headers", [])),
    )


def _faults(table: dict[str, Any]) -> list[str]:
    faults = [
        f"{key!r} is not known; expected one of {', '.join(sorted(_KEYS))}"
        for key in sorted(set(table) - _KEYS)
    ]
    faults += _path_faults(table.get("path"))
    topic = table.get("topic")
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        faults.append(f"topic={topic!r}: expected letters, digits, '.', '_' and '-'")
    methods = table.get("methods", ["POST"])
    if not isinstance(methods, list) or not methods or not set(map(str, methods)) <= set(METHODS):
        faults.append(f"methods={methods!r}: expected a list of any of {', '.join(METHODS)}")
    faults += _header_faults(table.get("headers", []))
    faults += _record_key_faults(table.get("key"), str(table.get("path")))
    return faults


def _path_faults(path: object) -> list[str]:
    if not isinstance(path, str) or not path.startswith("/"):
        return [f"path={path!r}: expected a path that starts with '/'"]
    if any(path == own or path.startswith(own + "/") for own in _OWN_PATHS):
        return [f"path={path!r}: the gateway answers that path itself; choose another"]
    rest = _PARAMETER.sub("", path)
    if "<" in rest or ">" in rest:
        return [f"path={path!r}: expected parameters as <name>"]
    parameters = _PARAMETER.findall(path)
    if len(set(parameters)) < len(parameters):
        return [f"path={path!r}: expected each parameter once"]
    return []


def _header_faults(headers: object) -> list[str]:
    if not isinstance(headers, list) or not all(
        isinstance(name, str) and _HEADER.fullmatch(name) for name in headers
    ):
        return [f"headers={headers!r}: expected a list of HTTP header names"]
    return [
        f"headers: {name!r} may not be listed; remove it"
        for name in headers
        if name.lower() in _PRIVATE_HEADERS | RESERVED_HEADERS | _ALWAYS_TRAVEL
    ]


def _record_key_faults(key: object, path: str) -> list[str]:
    if key is None:
        return []
    kind, _, name = str(key).partition(":")
    if kind == "header" and name.lower() in _SECRET_HEADERS:
        return [f"key={key!r}: that header never travels; choose another"]
    if kind == "header" and _HEADER.fullmatch(name):
        return []
    if kind == "path" and name in _PARAMETER.findall(path):
        return []
    return [f"key={key!r}: expected 'header:<name>' or 'path:<a parameter of the path>'"]


def _repeated(tables: list[dict[str, Any]]) -> list[str]:
    seen: set[tuple[str, str]] = set()
    repeated = []
    for table in tables:
        for method in table.get("methods", ["POST"]):
            if (method, table["path"]) in seen:
                repeated.append(f"{method} {table['path']!r} is there twice; remove one")
            seen.add((method, table["path"]))
    return repeated
