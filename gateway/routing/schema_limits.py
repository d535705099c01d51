"""The keywords of JSON Schema, with a bound on the work for one body."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

#: So long one body may be looked at, in seconds of processor time.
MAX_WORK_S = 2.0
#: The library's time for these grows with the square of what they look at.
_SQUARE = ("unevaluatedItems", "unevaluatedProperties")
MAX_SQUARE_MEMBERS = 5_000
#: So many keywords may lead to one another. Each takes up to five frames, and Python has 1,000:
#: once they are used up, what the library is built on panics instead of raising RecursionError.
MAX_DEPTH = 100

Keyword = Callable[[Any, Any, Any, Any], Any]

_work = threading.local()


class TooCostly(Exception):
    """Raised when a body has been looked at for too long."""


class TooDeep(Exception):
    """Raised when too many keywords lead to one another."""


def begin_work() -> None:
    """Let this thread look at a body for MAX_WORK_S from now."""
    _work.until_s = time.thread_time() + MAX_WORK_S
    _work.depth = 0


def is_panic(error: BaseException) -> bool:
    """Say whether *error* is how the library's Rust says that there are no frames left."""
    return type(error).__module__ == "pyo3_runtime"


def _bounded(name: str, keyword: Keyword) -> Keyword:
    """Return *keyword*, which ends the work when there has been too much of it."""

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        is_much = isinstance(instance, (list, dict)) and len(instance) > MAX_SQUARE_MEMBERS
        if (name in _SQUARE and is_much) or time.thread_time() > _work.until_s:
            raise TooCostly
        if _work.depth >= MAX_DEPTH:
            raise TooDeep
        _work.depth += 1
        try:
            yield from keyword(validator, value, instance, schema) or ()
        finally:
            _work.depth -= 1

    return check


def _unique_items(_: Any, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    # The library compares each object with each other one.
    if wanted and isinstance(instance, list) and len(set(map(_key, instance))) < len(instance):
        yield ValidationError("")


def _key(value: Any) -> Any:
    """Return what is equal for equal values of JSON, where 1 is 1.0 and not true."""
    if isinstance(value, dict):
        return frozenset((name, _key(member)) for name, member in value.items())
    if isinstance(value, list):
        return (list, *map(_key, value))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    # As a text: whoever sends numbers could choose many of one hash.
    is_whole = isinstance(value, int) or value.is_integer()
    return float, str(int(value) if is_whole else value)


_KEYWORDS = dict(Draft202012Validator.VALIDATORS) | {"uniqueItems": _unique_items}
#: Checks as Draft202012Validator does; raises TooCostly or TooDeep. begin_work() comes first.
BoundedValidator = extend(
    Draft202012Validator, {name: _bounded(name, word) for name, word in _KEYWORDS.items()}
)
