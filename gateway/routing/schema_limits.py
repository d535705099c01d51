"""JSON Schema validation with limits on work and depth per body."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

#: Maximum processor time for one body, in seconds.
MAX_WORK_S = 2.0
#: Maximum processor time for one match of a regular expression, in seconds. Some expressions take
#: time that is exponential in the length of the text; the module re has no limit.
MAX_MATCH_S = 0.1
#: Number of compiled regular expressions that are kept.
MAX_PATTERNS = 1_000
#: Keywords whose time in jsonschema is quadratic, and the maximum size of what they check.
_QUADRATIC = ("unevaluatedItems", "unevaluatedProperties")
MAX_QUADRATIC_MEMBERS = 5_000
#: Maximum nesting of keywords. Each takes up to five of Python's 1,000 stack frames; without any
#: left, the Rust code below jsonschema panics instead of raising RecursionError.
MAX_DEPTH = 100

Keyword = Callable[[Any, Any, Any, Any], Any]

_work = threading.local()


class TooCostly(Exception):
    """Raised when a body needs more than the maximum work."""


class TooDeep(Exception):
    """Raised when keywords are nested too deeply."""


def begin_work() -> None:
    """Start the work limit of one body, for this thread."""
    _work.end_s = time.thread_time() + MAX_WORK_S
    _work.depth = 0


def is_panic(error: BaseException) -> bool:
    """Return whether *error* is a panic of the Rust code below jsonschema."""
    return type(error).__module__ == "pyo3_runtime"


def _limited(name: str, keyword: Keyword) -> Keyword:
    """Return *keyword* with the limits."""

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        is_large = isinstance(instance, (list, dict)) and len(instance) > MAX_QUADRATIC_MEMBERS
        if (name in _QUADRATIC and is_large) or time.thread_time() > _work.end_s:
            raise TooCostly
        if _work.depth >= MAX_DEPTH:
            raise TooDeep
        _work.depth += 1
        try:
            yield from keyword(validator, value, instance, schema) or ()
        finally:
            _work.depth -= 1

    return check


def _unique_items(_: Any, required: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    # In linear time: jsonschema compares each object with each other one.
    if required and isinstance(instance, list) and len(set(map(_key, instance))) < len(instance):
        yield ValidationError("")


def _key(value: Any) -> Any:
    """Return a hashable for comparing JSON values: 1 equals 1.0 and not true."""
    if isinstance(value, dict):
        return frozenset((name, _key(member)) for name, member in value.items())
    if isinstance(value, list):
        return (list, *map(_key, value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    # As text: a client can choose many numbers with the same hash.
    is_whole = isinstance(value, int) or value.is_integer()
    return float, str(int(value) if is_whole else value)


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _is_match(pattern, instance):
        yield ValidationError("")


def _pattern_properties(
    validator: Any, patterns: dict[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    for pattern, schema in patterns.items() if isinstance(instance, dict) else ():
        for name, member in instance.items():
            if _is_match(pattern, name):
                yield from validator.descend(member, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = {name: member for name, member in instance.items() if name not in named}
    for pattern in patterns:
        extra = {name: member for name, member in extra.items() if not _is_match(pattern, name)}
    # Without the patterns: the library would match them again.
    bare = {"properties": named}
    yield from ADDITIONAL_PROPERTIES(validator, allowed, extra, bare) or ()


def _is_match(pattern: str, text: str) -> bool:
    try:
        return compiled(pattern).search(text, timeout=MAX_MATCH_S, concurrent=True) is not None
    except TimeoutError as error:
        raise TooCostly from error


@lru_cache(MAX_PATTERNS)
def compiled(pattern: str) -> Any:
    """Return *pattern* compiled; raises regex.error."""
    return regex.compile(pattern)


ADDITIONAL_PROPERTIES = Draft202012Validator.VALIDATORS["additionalProperties"]
_KEYWORDS = dict(Draft202012Validator.VALIDATORS) | {
    "uniqueItems": _unique_items,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
#: Draft202012Validator that raises TooCostly or TooDeep; call begin_work() first.
LimitedValidator = extend(
    Draft202012Validator, {name: _limited(name, word) for name, word in _KEYWORDS.items()}
)
