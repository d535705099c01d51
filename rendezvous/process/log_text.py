"""Makes text safe for log lines: no forged lines or fields, no credentials."""

import re

#: Start of every API key, so that people and secret scanners recognize one.
KEY_PREFIX = "rdv_"
#: A key anywhere in a text.
KEY_PATTERN = re.compile(KEY_PREFIX + r"[A-Za-z0-9_-]{16,}")
#: Start of every JSON Web Token: of a JSON object, in base64url.
TOKEN_PREFIX = "eyJ"
#: A token anywhere in a text.
TOKEN_PATTERN = re.compile(TOKEN_PREFIX + r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")
#: A value that field() returns unchanged: ASCII without space, quote and backslash.
_PLAIN_FIELD = re.compile(r"[!#-\[\]-~]+")


def line(text: str) -> str:
    """
    Return *text* with a backslash escape for each unprintable character.

    They are line ends of all kinds, control characters, and those that reorder or hide text.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def field(value: object) -> str:
    r"""Return *value* as one field of a line: no spaces, escaped quotes; ``-`` for nothing."""
    text = "" if value is None else str(value)
    if _PLAIN_FIELD.fullmatch(text):
        return text
    return quoted(text).replace(" ", r"\x20") or "-"


def quoted(text: str) -> str:
    """Return *text* for a place between double quotes."""
    return line(text.replace("\\", "\\\\").replace('"', '\\"'))


def without_keys(text: str) -> str:
    """Return *text* with stars for any API key and token."""
    if TOKEN_PREFIX in text:
        text = TOKEN_PATTERN.sub(f"{TOKEN_PREFIX}***", text)
    return KEY_PATTERN.sub(f"{KEY_PREFIX}***", text) if KEY_PREFIX in text else text
