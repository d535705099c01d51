"""
What the bodies of a route must look like: a JSON Schema (Draft 2020-12).

Nothing is ever fetched: a ``$ref`` leads to a place in the same document. The work for one body is
bounded, but for that of a single regular expression, which is its author's affair. ``format`` is
an annotation only, as the draft has it.
"""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from jsonschema.exceptions import ValidationError
from referencing import Registry

from gateway.routing.schema_document import SchemaFault, pointer, see_all_of
from gateway.routing.schema_limits import BoundedValidator, TooCostly, TooDeep, begin_work, is_panic

#: Of the faults of a body no more are told.
MAX_FAULTS = 20
_MAX_WORDS = 200
#: Of every kind, to find a schema that leads into itself.
_SAMPLES: tuple[Any, ...] = (None, True, 0, 0.5, "", [], {}, [None], {"": None})


class BodySchema:
    """
    A schema, ready to be held against bodies.

    Args:
        document: the schema as it was parsed.

    Raises:
        SchemaFault: when it is none, or leads out of the document.
    """

    def __init__(self, document: Any) -> None:
        self.document = document
        try:
            see_all_of(document)
            # Without its dialect, which would have the library choose its own validator.
            bare = document
            if isinstance(document, dict):
                bare = {name: value for name, value in document.items() if name != "$schema"}
            self._validator = BoundedValidator(bare, registry=Registry())
            for sample in _SAMPLES:
                self._faults_of(sample)
        except TooCostly as error:
            raise SchemaFault("it branches without end") from error
        except BaseException as error:
            if not _is_depth(error):
                raise
            reason = "it leads into itself without end, or is nested too deeply"
            raise SchemaFault(reason) from None  # the trace is as long as it is deep

    def faults(self, body: bytes) -> list[dict[str, str]]:
        """
        Return what is wrong with *body*, each with the JSON pointer of its place and in words.

        At most MAX_FAULTS of them; none when it fits.
        """
        try:
            return self._faults_of(_parsed(body.decode("utf-8")))
        except ValueError as error:
            return [_fault((), f"not JSON: {error}")]
        except ArithmeticError:
            return [_fault((), "holds a number that cannot be reckoned with")]
        except TooCostly:
            return [_fault((), "takes too long to check; send less, or simpler")]
        except BaseException as error:
            if not _is_depth(error):
                raise
            return [_fault((), "nested too deeply")]

    def _faults_of(self, instance: Any) -> list[dict[str, str]]:
        begin_work()
        found = islice(self._validator.iter_errors(instance), MAX_FAULTS)
        return [_fault(error.absolute_path, _words(error)) for error in found]


def _is_depth(error: BaseException) -> bool:
    return isinstance(error, (RecursionError, TooDeep)) or is_panic(error)


def load_schema(file: Path) -> BodySchema:
    """
    Return the schema in *file*.

    Raises:
        SchemaFault: with the reason, in one line, why there is none.
    """
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no file can have that name
        reason = error.strerror if isinstance(error, OSError) else error
        raise SchemaFault(f"it cannot be read: {reason}") from error
    try:
        return BodySchema(_parsed(content.decode("utf-8")))
    except SchemaFault as error:
        raise SchemaFault(_one_line(str(error))) from error
    except (ValueError, RecursionError) as error:
        raise SchemaFault(_one_line(f"it is not JSON: {error}")) from error


def _one_line(words: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in words)


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_no_number)


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        # The responder might read the other one, at which nobody has looked.
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"member {json.dumps(twice)[:_MAX_WORDS]} is there twice")
    return members


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _fault(path: Iterable[str | int], words: str) -> dict[str, str]:
    return {"path": pointer(path), "fault": words}


#: In the terms of JSON; the words of the library are those of Python, and repeat the body.
_WORDS = {
    "type": "expected the type {}",
    "enum": "expected one of {}",
    "const": "expected {}",
    "minimum": "expected {} or more",
    "maximum": "expected {} or less",
    "exclusiveMinimum": "expected more than {}",
    "exclusiveMaximum": "expected less than {}",
    "multipleOf": "expected a multiple of {}",
    "minLength": "expected {} characters or more",
    "maxLength": "expected {} characters or fewer",
    "minItems": "expected {} items or more",
    "maxItems": "expected {} items or fewer",
    "items": "has too many items",
    "unevaluatedItems": "has too many items",
    "minContains": "expected {} fitting items or more",
    "maxContains": "expected {} fitting items or fewer",
    "minProperties": "expected {} members or more",
    "maxProperties": "expected {} members or fewer",
    "pattern": "expected a text that matches {}",
    "uniqueItems": "has an item twice",
    "contains": "has no item that fits",
    "anyOf": "fits none of the alternatives",
    "oneOf": "expected to fit exactly one of the alternatives",
    "not": "is what it must not be",
}
#: Where the library's words name members, and not what they hold.
_AS_TOLD = ("required", "dependentRequired", "additionalProperties", "unevaluatedProperties")


def _words(error: ValidationError) -> str:
    keyword = str(error.validator)
    if keyword in _AS_TOLD:
        return _cut(error.message)
    if error.validator is None:
        return "is not expected here"
    words = _WORDS.get(keyword, f"does not fit {keyword}")
    return words.format(_cut(json.dumps(error.validator_value)))


def _cut(words: str) -> str:
    return words if len(words) <= _MAX_WORDS else words[: _MAX_WORDS - 3] + "..."
