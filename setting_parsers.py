"""Parsers of settings; each raises ValueError with the expected value."""

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

#: Minimum length of SECRET_KEY, in characters.
MIN_SECRET_KEY_LENGTH = 16


def _number(kind: Callable[[str], T], noun: str, low: float, high: float) -> Callable[[str], T]:
    def parse(value: str) -> T:
        try:
            number: Any = kind(value)
        except ValueError:
            number = None
        # Written so that "nan" fails too.
        if number is None or not low <= number <= high:
            raise ValueError(f"{noun} from {low:g} to {high:g}")
        return kind(value)

    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    return _number(int, "a whole number", low, high)


def seconds(low: float, high: float) -> Callable[[str], float]:
    return _number(float, "a number of seconds", low, high)


def choice(*choices: T) -> Callable[[str], T]:
    by_text = {str(item): item for item in choices}

    def parse(value: str) -> T:
        if value not in by_text:
            raise ValueError("one of " + ", ".join(by_text))
        return by_text[value]

    return parse


def yes_or_no(value: str) -> bool:
    return choice("yes", "no")(value) == "yes"


def _list(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]


def broker_urls(value: str) -> list[str]:
    """Return the URL of each broker in *value*, with kafka:// as the default scheme."""
    return [url if "://" in url else f"kafka://{url}" for url in _list(value)]


def kafka_url(value: str) -> str:
    urls = broker_urls(value)
    if len({url.partition("://")[0] for url in urls}) != 1 or not all(map(_is_broker, urls)):
        raise ValueError(
            "a comma list of kafka://host:port or kafka+ssl://host:port, all of one kind"
        )
    return value


def _is_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        complete = parts.hostname and parts.port and not parts.path.strip("/")
    except ValueError:
        return False
    return parts.scheme in ("kafka", "kafka+ssl") and bool(complete) and "@" not in parts.netloc


def redis_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
        usable = parts.scheme == "unix" or (parts.scheme in ("redis", "rediss") and parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("redis://host:port/db, rediss://host:port/db or unix:///path")
    return value


def topic_characters(value: str) -> str:
    # Kafka's topic names: [a-zA-Z0-9._-], at most 249 characters.
    if len(value) > 200 or not re.fullmatch(r"[A-Za-z0-9._-]*", value):
        raise ValueError("letters, digits, '.', '_' and '-', at most 200 of them")
    return value


def topic(value: str) -> str:
    if value in (".", ".."):
        raise ValueError("a name other than '.' and '..'")
    return topic_characters(value)


def secret_key(value: str) -> str:
    if len(value) < MIN_SECRET_KEY_LENGTH:
        raise ValueError(f"at least {MIN_SECRET_KEY_LENGTH} random characters")
    return value


def pem(value: str) -> str:
    if "-----BEGIN " not in value or not value.isascii():
        raise ValueError("a PEM text, in ASCII, that starts with -----BEGIN")
    return value


#: An origin as browsers send it: lower case, without the default port.
_ORIGIN = re.compile(
    r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?", re.ASCII
)


def cors_origins(value: str) -> tuple[str, ...]:
    origins = _list(value)
    if origins != ["*"] and not all(map(_is_origin, origins)):
        raise ValueError("* alone, or a comma list of origins, for example https://app.example.org")
    return tuple(origins)


def _is_origin(value: str) -> bool:
    origin = _ORIGIN.fullmatch(value)
    return origin is not None and origin.groups() not in (("http", "80"), ("https", "443"))
