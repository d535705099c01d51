"""
The clients with API keys, as TOML: read and checked.

No line about a fault shows what may be a secret. Somebody may have put a key where a name belongs,
so a text is repeated only where a key or its hash could not be mistaken for what is expected.
"""

import math
import re
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, TypeGuard

from gateway.clients.api_keys import HASH_PREFIX, KEY_PREFIX, ApiKeys
from gateway.clients.client import Client, Rate

_KEYS = ("name", "keys", "routes", "rate", "in_flight_share")
#: Shorter than a key and than a hash: neither passes for a name.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
NAME_EXPECTED = "letters, digits, '.', '_' and '-', at most 40 of them"
_HASH = re.compile(HASH_PREFIX + r"[0-9a-f]{64}", re.ASCII)
_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min)", re.ASCII)
_WINDOWS_S = {"s": 1, "min": 60}
#: What a text of ours may look like, and neither a key nor a hash.
_HARMLESS = re.compile(r"[A-Za-z0-9/._-]{1,20}|/[!-~]{0,40}", re.ASCII)
#: All that is told of what tomllib says: the rest may quote the file.
_PLACE = re.compile(r"\(at [a-z0-9, ]+\)\Z")

_Table = dict[str, Any]


class ApiKeysError(Exception):
    """Raised with one line for each fault."""


def load_api_keys(file: str, text: str, paths: Collection[str]) -> ApiKeys | None:
    """
    Return the keys of *file* (API_KEYS_FILE) or *text* (API_KEYS), whichever is not empty.

    None when both are, so that nobody is asked for a key.

    Args:
        paths: the routes that there are.

    Raises:
        ApiKeysError: naming file or variable, each client, key and expectation; no secret.
    """
    if not file and not text:
        return None
    source = file or "API_KEYS"
    tables = _tables(source, _content(file) if file else text)
    places = [f"{source}: client {n}{_shown_name(t)}" for n, t in enumerate(tables, start=1)]
    faults = [
        f"{place}: {fault}"
        for place, table in zip(places, tables, strict=True)
        for fault in _faults(table, paths)
    ]
    faults += _repeated(places, tables) if not faults else []
    if faults:
        raise ApiKeysError("\n".join(faults))
    return ApiKeys([(kept, _client(table)) for table in tables for kept in table["keys"]])


def is_client_name(name: object) -> bool:
    """Say whether a client may be called *name*."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name)) and KEY_PREFIX not in name


def _content(file: str) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ApiKeysError(f"{file}: not TOML: not UTF-8 at byte {error.start}") from None
    except (OSError, ValueError) as error:  # ValueError: no file can have that name
        reason = error.strerror if isinstance(error, OSError) else error
        raise ApiKeysError(f"API_KEYS_FILE={file!r} cannot be read: {reason}") from None


def _tables(source: str, text: str) -> list[_Table]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # tomllib lets through what endless digits and endless nesting raise. Not chained: what it
        # says may quote a secret.
        place = _PLACE.search(str(error))
        raise ApiKeysError(f"{source}: not TOML {place[0] if place else ''}".rstrip()) from None
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
        rate=Rate(int(rate[1]), _WINDOWS_S[rate[2]]) if rate else None,
        in_flight_share=float(table.get("in_flight_share", 1.0)),
    )


def _shown_name(table: _Table) -> str:
    name = table.get("name")
    return f" ({name!r})" if is_client_name(name) else ""


def _faults(table: _Table, paths: Collection[str]) -> Iterator[str]:
    for key in table:
        if key not in _KEYS:
            shown = f"{key!r}" if _HARMLESS.fullmatch(key) else "a key of the table"
            yield f"{shown} is not known; expected one of {', '.join(_KEYS)}"
    if not is_client_name(table.get("name")):
        yield f"name: expected {NAME_EXPECTED}"
    yield from _key_faults(table.get("keys"))
    if "routes" in table:
        yield from _route_faults(table["routes"], paths)
    if "rate" in table:
        yield from _rate_faults(table["rate"])
    share = table.get("in_flight_share", 1)
    if not _is_number(share) or not 0 < share <= 1:
        yield f"in_flight_share{_shown(share)}: expected a number above 0 and up to 1"


def _key_faults(keys: object) -> Iterator[str]:
    expected = f'"{HASH_PREFIX}" and 64 of 0-9a-f, as python -m gateway.keys prints them'
    if not isinstance(keys, list) or not keys:
        yield f"keys: expected a list of one or more of {expected}"
        return
    for number, kept in enumerate(keys, start=1):
        if isinstance(kept, str) and kept.startswith(KEY_PREFIX):
            yield f"keys: number {number} is a key itself; its hash belongs here: {expected}"
        elif not isinstance(kept, str) or not _HASH.fullmatch(kept):
            yield f"keys: number {number}: expected {expected}"


def _route_faults(routes: object, paths: Collection[str]) -> Iterator[str]:
    known = ", ".join(sorted(paths))
    if not isinstance(routes, list) or not routes:
        yield f"routes: expected a list of one or more of {known}"
        return
    for number, path in enumerate(routes, start=1):
        if not isinstance(path, str) or path not in paths:
            yield f"routes: number {number}{_shown(path)}: expected one of {known}"


def _rate_faults(rate: object) -> Iterator[str]:
    if not isinstance(rate, str) or not _RATE.fullmatch(rate):
        yield f'rate{_shown(rate)}: expected a number of requests as "100/s" or "6000/min"'


def _repeated(places: list[str], tables: list[_Table]) -> Iterator[str]:
    names: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for place, table in zip(places, tables, strict=True):
        if table["name"] in names:
            yield f"{place}: name: another client has it already; choose another"
        names[table["name"]] = place
        for number, kept in enumerate(table["keys"], start=1):
            if kept in hashes:
                yield f"{place}: keys: number {number} is there twice; remove one"
            hashes[kept] = place


def _shown(value: object) -> str:
    """Return what to show of *value*: nothing, where it may be a secret."""
    if isinstance(value, str) and _HARMLESS.fullmatch(value) and KEY_PREFIX not in value:
        return f"={value!r}"
    return f"={value:g}" if _is_number(value) and abs(value) < 1e6 else ""


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)
