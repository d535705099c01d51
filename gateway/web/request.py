"""
The header lines of the request at hand, as WSGI hands them over (PEP 3333).

Werkzeug's own view of them goes through a proxy and a copy of the name for each question; an
exchange asks ten.
"""

from collections.abc import Mapping
from typing import Any

Environ = Mapping[str, Any]


def environ_key(name: str) -> str:
    """Return under which key of a WSGI environment the header *name* is."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def header_text(environ: Environ, key: str) -> str | None:
    """Return the header under *key* as the text it is: UTF-8 if it can be, else Latin-1."""
    value = environ.get(key)
    return None if value is None else as_text(value)


def as_text(value: str) -> str:
    """Return what PEP 3333 hands over as Latin-1 as UTF-8, when that is what it is."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
