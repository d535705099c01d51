"""
The TOML file of the clients with API keys: reading and validation.

No error shows a possible secret. A key may have been put where a name belongs, so an error shows a
value only if it cannot be a key or a hash.
"""

import math
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeGuard

from gateway.clients.api_keys import HASH_PREFIX, ApiKeys, hash_of
from gateway.clients.client import Client, Rate
from rendezvous.process.log_text import KEY_PREFIX

_FIELDS = ("name", "keys", "routes", "scopes", "rate", "in_flight_share", "admin")
#: Shorter than a key and than a hash: neither is a valid name.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
NAME_EXPECTED = "letters, digits, '.', '_' and '-', at most 40 of them"
#: RFC 6749, section 3.3, and shorter than a key.
_SCOPE = re.compile(r"[!#-\[\]-~]{1,40}", re.ASCII)
_HASH = re.compile(HASH_PREFIX + r"[0-9a-f]{64}", re.ASCII)
_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min)", re.ASCII)
_WINDOWS_S = {"s": 1, "min": 60}
#: Hashes of what people write instead of a key. A hash does not show whether its key is random.
_GUESSABLE = frozenset(
    map(
        hash_of,
        ("", "admin", "api-key", "apikey", "changeme", "demo", "dev", "key", "password", "secret",
         "test", "token", KEY_PREFIX),
    )
)  # fmt: skip
#: Texts that an error may show: too short for a key or a hash, or a path.
_SHOWABLE = re.compile(r"[A-Za-z0-9/._-]{1,20}|/[!-~]{0,40}", re.ASCII)
#: The position in an error of tomllib; the rest of the error may quote the file.
_POSITION = re.compile(r"\(at [a-z0-9, ]+\)\Z")

_Table = dict[str, Any]


class ApiKeysError(Exception):
    """Raised with one line for each error."""


def load_api_keys(file: str, text: str, paths: Collection[str]) -> ApiKeys | None:
    """
    Return the keys in *file* (API_KEYS_FILE) or in *text* (API_KEYS).

    None when both are empty: then no client needs a key.

    Args:
        paths: paths of the existing routes.

    Raises:
        ApiKeysError: naming file or variable, client, field and expected value; no secret.
    """
    if not file and not text:
        return None
    source = file or "API_KEYS"
    tables = _tables(source, _read(file) if file else text)
    labels = [f"{source}: client {n}{_shown_name(t)}" for n, t in enumerate(tables, start=1)]
    errors = [
        f"{label}: {error}"
        for label, table in zip(labels, tables, strict=True)
        for error in _errors(table, paths)
    ]
    errors = errors or list(_duplicates(labels, tables))
    if errors:
        raise ApiKeysError("\n".join(errors))
    return ApiKeys([(stored, _client(table)) for table in tables for stored in table["keys"]])


def is_client_name(name: object) -> bool:
    """Return whether *name* is a valid name of a client."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and KEY_PREFIX not in name


def _read(file: str) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiKeysError(f"{file}: not TOML: not UTF-8 at byte {error.start}") from None
    except (OSError, ValueError) as error:  # ValueError: an impossible file name
        reason = error.strerror if isinstance(error, OSError) else error
        raise ApiKeysError(f"API_KEYS_FILE={file!r} cannot be read: {reason}") from None


def _tables(source: str, text: str) -> list[_Table]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # tomllib passes on the errors of very long numbers and very deep nesting. Not chained: its
        # message may quote a secret.
        position = _POSITION.search(str(error))
        shown = f" {position[0]}" if position else ""
        raise ApiKeysError(f"{source}: not TOML{shown}") from None
    tables = document.get("client")
    if (
        set(document) != {"client"}
        or not isinstance(tables, list)
        or not tables
        or not all(isinstance(table, dict) for table in tables)
    ):
        raise ApiKeysError(f"{source}: expected one or more [[client]] tables and nothing else")
    return tables


def _client(table: _Table) -> Client:
    rate = _RATE.fullmatch(table["rate"]) if "rate" in table else None
    return Client(
        name=table["name"],
        routes=frozenset(table["routes"]) if "routes" in table else None,
        scopes=frozenset(table.get("scopes", ())),
        rate=Rate(int(rate[1]), _WINDOWS_S[rate[2]]) if rate else None,
        in_flight_share=float(table.get("in_flight_share", 1.0)),
        is_admin=table.get("admin", False),
    )


def _shown_name(table: _Table) -> str:
    name = table.get("name")
    return f" ({name!r})" if is_client_name(name) else ""


def _errors(table: _Table, paths: Collection[str]) -> Iterator[str]:
    for name in table:
        if name not in _FIELDS:
            shown = f"{name!r}" if _SHOWABLE.fullmatch(name) else "a field"
            yield f"{shown} is unknown; expected one of {', '.join(_FIELDS)}"
    if not is_client_name(table.get("name")):
        yield f"name: expected {NAME_EXPECTED}"
    yield from _key_errors(table.get("keys"))
    if "routes" in table:
        yield from _route_errors(table["routes"], paths)
    if "scopes" in table:
        yield from _scope_errors(table["scopes"])
    if "rate" in table:
        yield from _rate_errors(table["rate"])
    yield from _value_errors(table)


def _value_errors(table: _Table) -> Iterator[str]:
    share = table.get("in_flight_share", 1)
    if not _is_number(share) or not 0 < share <= 1:
        yield f"in_flight_share{_shown(share)}: expected a number above 0 and up to 1"
    if not isinstance(table.get("admin", False), bool):
        yield f"admin{_shown(table['admin'])}: expected true or false"


def _key_errors(keys: object) -> Iterator[str]:
    expected = f'"{HASH_PREFIX}" and 64 of 0-9a-f, as python -m gateway.keys prints them'
    if not isinstance(keys, list) or not keys:
        yield f"keys: expected a list of one or more of {expected}"
        return
    for number, stored in enumerate(keys, start=1):
        if isinstance(stored, str) and stored.startswith(KEY_PREFIX):
            yield f"keys: item {number} is a key, not its hash: expected {expected}"
        elif not isinstance(stored, str) or not _HASH.fullmatch(stored):
            yield f"keys: item {number}: expected {expected}"
        elif stored in _GUESSABLE:
            yield f"keys: item {number} is the hash of a word: expected {expected}"


def _route_errors(routes: object, paths: Collection[str]) -> Iterator[str]:
    known = ", ".join(sorted(paths))
    if not isinstance(routes, list) or not routes:
        yield f"routes: expected a list of one or more of {known}"
        return
    for number, path in enumerate(routes, start=1):
        if not isinstance(path, str) or path not in paths:
            yield f"routes: item {number}{_shown(path)}: expected one of {known}"


def _scope_errors(scopes: object) -> Iterator[str]:
    expected = 'a list of scopes of at most 40 characters, such as "orders:write"'
    if not isinstance(scopes, list):
        yield f"scopes: expected {expected}"
        return
    for number, scope in enumerate(scopes, start=1):
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope) or KEY_PREFIX in scope:
            yield f"scopes: item {number}: expected {expected}"


def _rate_errors(rate: object) -> Iterator[str]:
    if not isinstance(rate, str) or not _RATE.fullmatch(rate):
        yield f'rate{_shown(rate)}: expected a number of requests as "100/s" or "6000/min"'


def _duplicates(labels: list[str], tables: list[_Table]) -> Iterator[str]:
    names: set[str] = set()
    hashes: set[str] = set()
    for label, table in zip(labels, tables, strict=True):
        if table["name"] in names:
            yield f"{label}: name: another client has this name; choose another"
        names.add(table["name"])
        for number, stored in enumerate(table["keys"], start=1):
            if stored in hashes:
                yield f"{label}: keys: item {number} is a duplicate; remove it"
            hashes.add(stored)


def _shown(value: object) -> str:
    """Return ``=value`` for an error line; empty if *value* may be a secret."""
    if isinstance(value, str) and _SHOWABLE.fullmatch(value) and KEY_PREFIX not in value:
        return f"={value!r}"
    return f"={value:g}" if _is_number(value) and abs(value) < 1e6 else ""


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)
