"""Parsers of settings; each raises ValueError with the expected value. And a mask for URLs."""

import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

#: Minimum strength of SECRET_KEY, in bits as secret_bits() estimates them.
MIN_SECRET_BITS = 128
#: Minimum length of SECRET_KEY_OLD, in characters: that of SECRET_KEY in earlier releases.
MIN_OLD_SECRET_LENGTH = 16


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


def share(high: float) -> Callable[[str], float]:
    return _number(float, "a number", 0, high)


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


def http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("https://host/path, or http://host/path")
    return value


def oauth_extensions(value: str) -> tuple[tuple[str, str], ...]:
    # RFC 7628, section 3.1: names of letters, values of visible characters.
    if not all(re.fullmatch(r"[A-Za-z]+=[\x21-\x7e]+", item) for item in _list(value)):
        raise ValueError("a comma list of name=value, for example logicalCluster=lkc-1")
    pairs = (item.partition("=") for item in _list(value))
    return tuple((name, text) for name, _, text in pairs)


#: A Redis Cluster, or Sentinels: user, hosts, path, query.
_REDIS_GROUP = re.compile(r"rediss?\+(cluster|sentinel)://(?:[^/?]*@)?([^/?@]*)(/[^?]*)?(?:\?.*)?")


def redis_url(value: str) -> str:
    group = _REDIS_GROUP.fullmatch(value)
    try:
        if group is None:
            usable = _is_redis(value)
        else:
            kind, hosts, path = group.groups(default="")
            rules = {"cluster": r"/?0?", "sentinel": r"/[^/]+(/[0-9]*)?"}
            usable = bool(re.fullmatch(rules[kind], path)) and all(
                _is_redis(f"redis://{host}") for host in hosts.split(",")
            )
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(
            "redis://host:port/db, rediss://host:port/db, unix:///path, "
            "redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/service/db"
        )
    return value


def _is_redis(url: str) -> bool:
    parts = urlsplit(url)
    _ = parts.port
    return parts.scheme == "unix" or bool(parts.scheme in ("redis", "rediss") and parts.hostname)


def topic_characters(value: str) -> str:
    # Kafka's topic names: [a-zA-Z0-9._-], at most 249 characters.
    if len(value) > 200 or not re.fullmatch(r"[A-Za-z0-9._-]*", value):
        raise ValueError("letters, digits, '.', '_' and '-', at most 200 of them")
    return value


def topic(value: str) -> str:
    if value in (".", ".."):
        raise ValueError("a name other than '.' and '..'")
    return topic_characters(value)


def topic_patterns(value: str) -> tuple[str, ...]:
    names = _list(value)
    if not names or not all(re.fullmatch(r"[A-Za-z0-9._*-]{1,249}", n, re.ASCII) for n in names):
        raise ValueError("a comma list of topics; * stands for any characters, as in *.reply")
    return tuple(names)


def module_names(value: str) -> tuple[str, ...]:
    names = _list(value)
    parts = [part for name in names for part in name.split(".")]
    if not names or not all(part.isidentifier() for part in parts):
        raise ValueError("a comma list of Python modules, for example my_service.handlers")
    return tuple(names)


def secret_key(value: str) -> str:
    if not _is_utf8(value) or secret_bits(value) < MIN_SECRET_BITS:
        raise ValueError(
            f"at least {MIN_SECRET_BITS} random bits, no words and no repetition; make one with "
            "python -c 'import secrets; print(secrets.token_hex(32))'"
        )
    return value


def old_secret_key(value: str) -> str:
    # Not checked like a new one: a weak key must be replaceable, too.
    if len(value) < MIN_OLD_SECRET_LENGTH or not _is_utf8(value):
        raise ValueError(
            f"the SECRET_KEY that is being replaced, at least {MIN_OLD_SECRET_LENGTH} characters"
        )
    return value


#: What people write instead of a key. At least six letters, since a random key may contain less.
_WELL_KNOWN = re.compile(
    "change.?me|secret|passw(?:or)?d|example|default|insecure|qwerty|replace|letmein|placeholder"
    "|production|development|testing|rendezvous|correlation",
    re.IGNORECASE,
)
#: Alphabets of random keys, the smallest first.
_ALPHABETS = (
    (16, re.compile(r"[0-9a-fA-F]*", re.ASCII)),
    (36, re.compile(r"[0-9a-z]*|[0-9A-Z]*", re.ASCII)),
    (64, re.compile(r"[0-9a-zA-Z+/_-]*", re.ASCII)),
    (94, re.compile(r".*", re.DOTALL)),
)
#: Fewer different characters than this are the alphabet themselves; 32 random hexadecimal digits
#: have fewer once in 30 million keys.
_FEW_CHARACTERS = 8
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]{1,4}", re.ASCII)
_BETWEEN_WORDS = re.compile(r"[ ,._-]+")
#: Words that a passphrase is drawn from, as many as on the list of Diceware.
_WORDS = 7776


def secret_bits(value: str) -> float:
    """
    Return an upper estimate of the random bits in *value*.

    Each character counts log2 of the size of its alphabet: hexadecimal digits (16), digits and
    letters of one case (36), base64 (64), or all visible ASCII (94). Well-known words, repetition,
    padding and sequences as "abcd" or "4321" do not count, and of a text of several words each word
    counts 12.9 bits.
    """
    text = _WELL_KNOWN.sub("", _unit(value.rstrip("=")))
    words = [word for word in _BETWEEN_WORDS.split(text) if word]
    if len(words) > 1 and all(map(_WORD.fullmatch, words)):
        return len(words) * math.log2(_WORDS)
    different = len(set(text))
    size = next(size for size, alphabet in _ALPHABETS if alphabet.fullmatch(text))
    if different < _FEW_CHARACTERS:
        size = max(different, 1)
    return (len(text) - _predictable(text)) * math.log2(size)


def _unit(text: str) -> str:
    """Return the part of *text* of which the whole is a repetition."""
    # Up to half: of random keys every 16th ends with the character that it begins with.
    periods = (n for n in range(1, len(text) // 2 + 1) if text[n:] == text[:-n])
    return text[: next(periods, len(text))]


def _predictable(text: str) -> int:
    """Return how many characters continue a sequence, if most of *text* does."""
    steps = [ord(second) - ord(first) for first, second in pairwise(text)]
    continued = sum(abs(step) <= 1 for step in steps)
    # Of random digits a fifth continue one by chance.
    return continued if 4 * continued >= 3 * len(steps) else 0


def printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("a text of printable characters")
    return value


def printable_list(value: str) -> tuple[str, ...]:
    return tuple(_list(printable(value)))


#: Of JSON Web Tokens, with a public key. With "none" or a secret (HS...) everybody could sign.
_JWT_FAMILIES, _JWT_BITS = ("RS", "PS", "ES"), ("256", "384", "512")
JWT_ALGORITHMS = (*(kind + bits for kind in _JWT_FAMILIES for bits in _JWT_BITS), "EdDSA")


def jwt_algorithms(value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_list(value)))
    if not names or not set(names) <= set(JWT_ALGORITHMS):
        raise ValueError("a comma list of any of " + ", ".join(JWT_ALGORITHMS))
    return names


def rate(value: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9][0-9]{0,8})/(s|min)", value, re.ASCII)
    if found is None:
        raise ValueError("a number of requests as 100/s or 6000/min")
    return int(found[1]), {"s": 1, "min": 60}[found[2]]


def utf8(value: str) -> str:
    if not _is_utf8(value):
        raise ValueError("a text in UTF-8")
    return value


def _is_utf8(value: str) -> bool:
    # The environment may hold other bytes, which Python represents by lone surrogates.
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


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


#: Scheme and user before a password. In any other text the password may start anywhere.
_USER = re.compile(
    r"((?:rediss?(?:\+cluster|\+sentinel)?|kafka(?:\+ssl)?|https?)://[^:/?#@]*):.*", re.DOTALL
)


def masked_url(url: str) -> str:
    """Return *url*, valid or not, with stars for passwords and the query."""
    before, at, host = url.rpartition("@")
    if "?" in before:
        return "***"  # the apparent host may be part of the password
    host, question, _ = host.partition("?")
    shown = f"{host}?***" if question else host
    if not at:
        return shown
    user = _USER.fullmatch(before)
    return f"{user[1]}:***@{shown}" if user else f"***@{shown}"
