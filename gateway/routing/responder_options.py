"""Options of a route about its responder, and profiles that set several of them."""

import re
from collections.abc import Mapping
from typing import Any

#: The values of each option that has a list of them; the first is the default.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "body": ("any", "json"),
    "reply": ("wait", "none"),
    "replies": ("first", "last"),
    "reply_partition": ("own", "quarkus"),
}
_TYPES = ("content_type", "reply_content_type")
#: The options that a profile sets where the route does not set them itself.
PROFILES: Mapping[str, Mapping[str, str]] = {
    "spring": {"body": "json", "reply_content_type": "application/json"},
    "quarkus": {
        "body": "json",
        "reply_content_type": "application/json",
        "reply_partition": "quarkus",
    },
    "nestjs": {"replies": "last", "reply_content_type": "application/json"},
    "faststream": {"body": "json", "content_type": "application/json"},
}
KEYS = ("profile", *CHOICES, *_TYPES)
_MEDIA_TYPE = re.compile(
    r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?:; ?[!#$%&'*+.^`|~\w-]+=[!-~]+)*", re.ASCII
)


def with_profile(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return *table* with what its profile sets, if it has a valid one."""
    profile = table.get("profile")
    return {**(PROFILES.get(profile, {}) if isinstance(profile, str) else {}), **table}


def responder_option_errors(table: Mapping[str, Any]) -> list[str]:
    """Return the errors of these options in *table*, each with key, value and expected value."""
    errors = [
        f"{key}={table[key]!r}: expected a media type, such as 'application/json'"
        for key in _TYPES
        if key in table and not (isinstance(table[key], str) and _MEDIA_TYPE.fullmatch(table[key]))
    ]
    for key, choices in {**CHOICES, "profile": tuple(PROFILES)}.items():
        if key in table and table[key] not in choices:
            expected = ", ".join(map(repr, choices))
            errors.append(f"{key}={table[key]!r}: expected one of {expected}")
    if not errors and table.get("reply") == "none":
        if table.get("idempotency", "off") != "off":
            errors.append(
                f"idempotency={table['idempotency']!r}: a route with reply='none' has no reply to "
                "repeat; expected 'off'"
            )
        if "GET" in table.get("methods", ()):
            errors.append("reply='none': a GET needs a reply; remove one of the two")
    return errors
