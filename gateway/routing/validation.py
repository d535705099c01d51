"""What may stand under each key of a [[route]], and what is said about anything else."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from rendezvous.contract import RESERVED_HEADERS
from rendezvous.reply_headers import LISTED_REPLY_HEADERS, needs_no_listing

METHODS = ("POST", "PUT", "PATCH", "DELETE")
IDEMPOTENCY = ("optional", "required")
MIN_TIMEOUT_S = 0.1
KEYS = (
    "path",
    "topic",
    "methods",
    "key",
    "headers",
    "response_headers",
    "timeout_s",
    "max_timeout_s",
    "max_body_bytes",
    "idempotency",
    "schema",
    "summary",
    "description",
)
_OWN_PATHS = ("/livez", "/readyz", "/replies", "/problems", "/openapi.json", "/docs")
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
_ALWAYS_TRAVEL = frozenset({"traceparent", "tracestate", "x-request-id"})


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """
    How far a route may go; by default as far as any setting does.

    Args:
        max_timeout_s: the longest that any client waits.
        max_body_bytes: MAX_BODY_BYTES.
    """

    max_timeout_s: float = 28.0
    max_body_bytes: int = 1_000_000


NO_LIMITS = RouteLimits()


def faults_of(table: dict[str, Any], limits: RouteLimits) -> list[str]:
    """Return what is wrong with *table*: key, value and expectation of each fault, in words."""
    faults = [_unknown(key) for key in sorted(set(table) - set(KEYS))]
    faults += _path_faults(table.get("path"))
    topic = table.get("topic")
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        faults.append(f"topic={topic!r}: expected letters, digits, '.', '_' and '-'")
    methods = table.get("methods", ["POST"])
    if not isinstance(methods, list) or not methods or not set(map(str, methods)) <= set(METHODS):
        faults.append(f"methods={methods!r}: expected a list of any of {', '.join(METHODS)}")
    faults += _request_header_faults(table.get("headers", []))
    faults += _response_header_faults(table.get("response_headers", []))
    faults += _record_key_faults(table.get("key"), str(table.get("path")))
    faults += _timeout_faults(table, limits.max_timeout_s)
    faults += _body_limit_faults(table, limits.max_body_bytes)
    if table.get("idempotency", "optional") not in IDEMPOTENCY:
        expected = " or ".join(map(repr, IDEMPOTENCY))
        faults.append(f"idempotency={table['idempotency']!r}: expected {expected}")
    return faults + [
        f"{key}={table[key]!r}: expected {expected}"
        for key, expected in _TEXTS.items()
        if key in table and not isinstance(table[key], str)
    ]


_TEXTS = {
    "schema": "the path of a JSON Schema file",
    "summary": "a text",
    "description": "a text",
}


def _unknown(key: str) -> str:
    alike = get_close_matches(key, KEYS, n=1)
    meant = f"did you mean {alike[0]!r}? " if alike else ""
    return f"{key!r} is not known; {meant}expected one of {', '.join(KEYS)}"


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


def _request_header_faults(headers: object) -> list[str]:
    return _list_faults("headers", headers) or [
        f"headers: {name!r} may not be listed; remove it"
        for name in _texts(headers)
        if name.lower() in _PRIVATE_HEADERS | RESERVED_HEADERS | _ALWAYS_TRAVEL
    ]


def _response_header_faults(headers: object) -> list[str]:
    faults = _list_faults("response_headers", headers)
    for name in [] if faults else _texts(headers):
        lower = name.lower()
        if needs_no_listing(lower):
            faults.append(f"response_headers: {name!r} is let through anyway; remove it")
        elif lower not in LISTED_REPLY_HEADERS:
            expected = ", ".join(sorted(LISTED_REPLY_HEADERS))
            faults.append(
                f"response_headers: {name!r} may not be listed; expected any of {expected}"
            )
    return faults


def _list_faults(key: str, headers: object) -> list[str]:
    names = _texts(headers)
    if not isinstance(headers, list) or len(names) < len(headers):
        return [f"{key}={headers!r}: expected a list of HTTP header names"]
    return [f"{key}: {name!r} is there twice; remove one" for name in _repeated(names)]


def _texts(headers: object) -> list[str]:
    """Return the header names among *headers*."""
    if not isinstance(headers, list):
        return []
    return [name for name in headers if isinstance(name, str) and _HEADER.fullmatch(name)]


def _repeated(names: list[str]) -> list[str]:
    """Return those that were there before, in any spelling: they would travel twice."""
    lower = [name.lower() for name in names]
    return [name for place, name in enumerate(names) if name.lower() in lower[:place]]


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


def _timeout_faults(table: dict[str, Any], most_s: float) -> list[str]:
    faults = [
        f"{key}={table[key]!r}: expected a number of seconds from {MIN_TIMEOUT_S:g} to {most_s:g}"
        for key in ("timeout_s", "max_timeout_s")
        if key in table and not _is_within(table[key], (int, float), MIN_TIMEOUT_S, most_s)
    ]
    if not faults and table.get("timeout_s", 0) > table.get("max_timeout_s", most_s):
        faults.append(
            f"max_timeout_s={table['max_timeout_s']!r}: expected timeout_s, which is "
            f"{table['timeout_s']!r}, or more"
        )
    return faults


def _body_limit_faults(table: dict[str, Any], most_bytes: int) -> list[str]:
    limit = table.get("max_body_bytes", 1)
    if _is_within(limit, int, 1, most_bytes):
        return []
    return [
        f"max_body_bytes={limit!r}: expected a whole number from 1 to {most_bytes}; "
        "MAX_BODY_BYTES sets the most"
    ]


def _is_within(value: object, kind: Any, low: float, high: float) -> bool:
    # A bool is an int, and "nan" is within nothing.
    return isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high
