"""Validation of the [[route]] tables of routes.toml."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from gateway.routing.responder_options import KEYS as RESPONDER_KEYS
from gateway.routing.responder_options import responder_option_errors
from rendezvous.contract import RESERVED_HEADERS
from rendezvous.reply_headers import LISTED_REPLY_HEADERS, needs_no_listing

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
IDEMPOTENCY = ("optional", "required", "off")
MIN_TIMEOUT_S = 0.1
KEYS = (
    "path",
    "topic",
    "methods",
    "key",
    "caller",
    "scopes",
    "headers",
    "response_headers",
    "timeout_s",
    "max_timeout_s",
    "max_body_bytes",
    "idempotency",
    "schema",
    *RESPONDER_KEYS,
    "summary",
    "description",
)
_OWN_PATHS = ("/livez", "/readyz", "/replies", "/problems", "/openapi.json", "/docs", "/live")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
_PARAMETER = re.compile(r"<(?:(?:string|int|float|path|uuid):)?([A-Za-z_][A-Za-z0-9_]*)>")
#: Constants of Python: werkzeug compiles each rule, with its parameters as names.
_NO_PARAMETERS = frozenset({"None", "True", "False"})
#: Not literal in a path: it is compared with the decoded path of a request, without its query. So
#: these are taken for an encoded character, a query or a Windows path by mistake.
_NOT_IN_PATH = re.compile(r"[?#%\\\x00-\x1f\x7f]")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,200}", re.ASCII)
#: Request headers that are never forwarded: they concern only the client and this gateway.
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
#: Credentials: not allowed as record key either.
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
#: Headers of one request or attempt, which cannot name the caller.
_REQUEST_HEADERS = frozenset(
    {"accept", "content-encoding", "expect", "idempotency-key", "prefer", "user-agent"}
)
#: Forwarded without being listed; listed, they would be forwarded twice.
_ALWAYS_FORWARDED = frozenset({"traceparent", "tracestate", "x-request-id"})


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """Upper limits of a route; by default those of the settings."""

    max_timeout_s: float = 28.0
    max_body_bytes: int = 1_000_000


NO_LIMITS = RouteLimits()


def route_errors(table: dict[str, Any], limits: RouteLimits) -> list[str]:
    """Return the errors of *table*, each with key, value and expected value."""
    errors = [_unknown(key) for key in sorted(set(table) - set(KEYS))]
    errors += _path_errors(table.get("path"))
    topic = table.get("topic")
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        errors.append(f"topic={topic!r}: expected letters, digits, '.', '_' and '-'")
    errors += _method_errors(table)
    errors += _request_header_errors(table.get("headers", []))
    errors += _response_header_errors(table.get("response_headers", []))
    errors += _record_key_errors(table.get("key"), str(table.get("path")))
    errors += _caller_errors(table.get("caller"))
    errors += responder_option_errors(table)
    errors += _scope_errors(table.get("scopes", []))
    errors += _timeout_errors(table, limits.max_timeout_s)
    errors += _body_limit_errors(table, limits.max_body_bytes)
    if table.get("idempotency", "optional") not in IDEMPOTENCY:
        expected = ", ".join(map(repr, IDEMPOTENCY))
        errors.append(f"idempotency={table['idempotency']!r}: expected one of {expected}")
    return errors + [
        f"{key}={table[key]!r}: expected {expected}"
        for key, expected in _TEXTS.items()
        if key in table and not isinstance(table[key], str)
    ]


_TEXTS = {
    "schema": "the path of a JSON Schema file",
    "summary": "a text",
    "description": "a text",
}


def _method_errors(table: dict[str, Any]) -> list[str]:
    methods = table.get("methods", ["POST"])
    expected = f"expected a list of any of {', '.join(METHODS)}"
    if methods == "HEAD" or (isinstance(methods, list) and "HEAD" in methods):
        return [f"methods={methods!r}: {expected}; a route with GET answers HEAD too"]
    if not isinstance(methods, list) or not methods or not set(map(str, methods)) <= set(METHODS):
        return [f"methods={methods!r}: {expected}"]
    if set(methods) != {"GET"}:
        return []
    given = {"schema": "schema" in table, "idempotency": table.get("idempotency") == "required"}
    return [
        f"{key}={table[key]!r}: a route with GET alone cannot have it; remove it"
        for key, is_given in given.items()
        if is_given
    ]


def _unknown(key: str) -> str:
    similar = get_close_matches(key, KEYS, n=1)
    meant = f"did you mean {similar[0]!r}? " if similar else ""
    return f"{key!r} is unknown; {meant}expected one of {', '.join(KEYS)}"


def is_own_path(path: str) -> bool:
    """Return whether the gateway serves *path* itself, so that it cannot be a route's."""
    return any(path == own or path.startswith(own + "/") for own in _OWN_PATHS)


def _path_errors(path: object) -> list[str]:
    if not isinstance(path, str) or not path.startswith("/"):
        return [f"path={path!r}: expected a path that starts with '/'"]
    if is_own_path(path):
        return [f"path={path!r}: the gateway serves this path itself; choose another"]
    rest = _PARAMETER.sub("", path)
    if set("<>{}") & set(rest):
        return [f"path={path!r}: expected parameters as <name>"]
    if found := _NOT_IN_PATH.search(rest):
        return [
            f"path={path!r}: {found.group()!r} cannot be in it; write a path without query, decoded"
        ]
    parts = path[1:].split("/")
    if "" in parts[:-1] or {".", ".."} & set(parts):
        return [f"path={path!r}: no part of it can be empty, '.' or '..': clients resolve these"]
    parameters = _PARAMETER.findall(path)
    if names := sorted(_NO_PARAMETERS & set(parameters)):
        return [f"path={path!r}: a parameter cannot be named {names[0]}; choose another name"]
    if len(set(parameters)) < len(parameters):
        return [f"path={path!r}: expected each parameter once"]
    return []


def _request_header_errors(headers: object) -> list[str]:
    return _list_errors("headers", headers) or [
        f"headers: {name!r} may not be listed; remove it"
        for name in _header_names(headers)
        if name.lower() in _PRIVATE_HEADERS | RESERVED_HEADERS | _ALWAYS_FORWARDED
    ]


def _response_header_errors(headers: object) -> list[str]:
    errors = _list_errors("response_headers", headers)
    for name in [] if errors else _header_names(headers):
        lower = name.lower()
        if needs_no_listing(lower):
            errors.append(f"response_headers: {name!r} is always sent to clients; remove it")
        elif lower not in LISTED_REPLY_HEADERS:
            expected = ", ".join(sorted(LISTED_REPLY_HEADERS))
            errors.append(
                f"response_headers: {name!r} may not be listed; expected any of {expected}"
            )
    return errors


def _list_errors(key: str, headers: object) -> list[str]:
    names = _header_names(headers)
    if not isinstance(headers, list) or len(names) < len(headers):
        return [f"{key}={headers!r}: expected a list of HTTP header names"]
    return [f"{key}: {name!r} is a duplicate; remove it" for name in _duplicates(names)]


def _header_names(headers: object) -> list[str]:
    """Return the valid header names in *headers*."""
    if not isinstance(headers, list):
        return []
    return [name for name in headers if isinstance(name, str) and _HEADER.fullmatch(name)]


def _duplicates(names: list[str]) -> list[str]:
    """Return the names that repeat an earlier one in any case."""
    lower = [name.lower() for name in names]
    return [name for index, name in enumerate(names) if name.lower() in lower[:index]]


def _record_key_errors(key: object, path: str) -> list[str]:
    if key in (None, "none"):
        return []
    kind, _, name = str(key).partition(":")
    if kind == "header" and name.lower() in _SECRET_HEADERS:
        return [f"key={key!r}: this header is never forwarded; choose another"]
    if kind == "header" and _HEADER.fullmatch(name):
        return []
    if kind == "path" and name in _PARAMETER.findall(path):
        return []
    return [f"key={key!r}: expected 'header:<name>', 'path:<a parameter of the path>' or 'none'"]


def _caller_errors(caller: object) -> list[str]:
    if caller is None:
        return []
    kind, _, name = str(caller).partition(":")
    if not isinstance(caller, str) or kind != "header" or not _HEADER.fullmatch(name):
        return [f"caller={caller!r}: expected 'header:<name>', such as 'header:X-User'"]
    refused = _PRIVATE_HEADERS | RESERVED_HEADERS | _ALWAYS_FORWARDED | _REQUEST_HEADERS
    if name.lower() in refused:
        return [
            f"caller={caller!r}: this header cannot name the caller; choose one that the proxy "
            "in front of the gateway sets, such as 'header:X-User'"
        ]
    return []


def _scope_errors(scopes: object) -> list[str]:
    if isinstance(scopes, list) and all(map(is_scope, scopes)):
        return []
    return [f"scopes={scopes!r}: expected a list of scopes, such as 'orders:write'"]


def is_scope(value: object) -> bool:
    """Return whether *value* can be a scope (RFC 6749, section 3.3)."""
    return isinstance(value, str) and bool(_SCOPE.fullmatch(value))


def _timeout_errors(table: dict[str, Any], max_s: float) -> list[str]:
    errors = [
        f"{key}={table[key]!r}: expected a number of seconds from {MIN_TIMEOUT_S:g} to {max_s:g}"
        for key in ("timeout_s", "max_timeout_s")
        if key in table and not _is_within(table[key], (int, float), MIN_TIMEOUT_S, max_s)
    ]
    if not errors and table.get("timeout_s", 0) > table.get("max_timeout_s", max_s):
        errors.append(
            f"max_timeout_s={table['max_timeout_s']!r}: expected at least timeout_s, "
            f"{table['timeout_s']!r}"
        )
    return errors


def _body_limit_errors(table: dict[str, Any], max_bytes: int) -> list[str]:
    limit = table.get("max_body_bytes", 1)
    if _is_within(limit, int, 1, max_bytes):
        return []
    return [
        f"max_body_bytes={limit!r}: expected a whole number from 1 to {max_bytes}; "
        "MAX_BODY_BYTES is the limit"
    ]


def _is_within(value: object, kind: Any, low: float, high: float) -> bool:
    # A bool is an int, and "nan" is within nothing.
    return isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high
