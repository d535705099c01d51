"""
Body schema of a route: JSON Schema, Draft 2020-12.

Nothing is fetched: a ``$ref`` points into the same document. The work for one body is limited, that
of a regular expression included, and one body is validated at a time.
``format`` is an annotation only, as the draft says.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from jsonschema.exceptions import ValidationError
from referencing import Registry

from gateway.problems import Overloaded, Sent
from gateway.routing.schema_document import SchemaError, check_document, json_pointer
from gateway.routing.schema_limits import (
    LimitedValidator,
    TooCostly,
    TooDeep,
    begin_work,
    is_panic,
)

#: Maximum time to wait until the bodies before are validated, in seconds. Validation is in Python:
#: several at once would only delay each other, and everything else in the process.
MAX_TURN_WAIT_S = 2.0
#: Maximum size of a body that is validated, in bytes, unless its route sets another.
MAX_VALIDATED_BYTES = 100_000
_turn = threading.Lock()
#: Maximum number of errors reported for one body.
MAX_ERRORS = 20
_MAX_MESSAGE_LENGTH = 200
#: Values of each type, to detect a schema that refers to itself endlessly.
_SAMPLES: tuple[Any, ...] = (None, True, 0, 0.5, "", [], {}, [None], {"": None})


class BodySchema:
    """
    Validates bodies against a parsed schema.

    Raises:
        SchemaError: when it is invalid or refers to another document.
    """

    def __init__(self, document: Any) -> None:
        self.document = document
        try:
            check_document(document)
            # Without $schema: with it, jsonschema would choose another validator.
            bare = document
            if isinstance(document, dict):
                bare = {name: value for name, value in document.items() if name != "$schema"}
            self._validator = LimitedValidator(bare, registry=Registry())
            for sample in _SAMPLES:
                self._errors_of(sample)
        except TooCostly as error:
            raise SchemaError("it branches endlessly") from error
        except BaseException as error:
            if not _is_depth(error):
                raise
            reason = "it refers to itself endlessly, or is nested too deeply"
            raise SchemaError(reason) from None  # the traceback is as long as the nesting

    def errors(self, body: bytes) -> list[dict[str, str]]:
        """
        Return the errors of *body*, at most MAX_ERRORS; empty when it is valid.

        Each is an item of the problem member ``faults``: the JSON pointer of its ``path``, and the
        ``fault``.

        Raises:
            Overloaded: when the validation of other bodies takes too long.
        """
        if not _turn.acquire(timeout=MAX_TURN_WAIT_S):
            raise Overloaded(
                "this gateway process validates other bodies; send again after Retry-After",
                sent=Sent.NO,
            )
        try:
            return self._limited_errors(body)
        finally:
            _turn.release()

    def _limited_errors(self, body: bytes) -> list[dict[str, str]]:
        try:
            return self._errors_of(_parse(body.decode("utf-8")))
        except ValueError as error:
            return [_error((), f"not JSON: {error}")]
        except ArithmeticError:
            return [_error((), "has a number that is out of range")]
        except TooCostly:
            return [_error((), "takes too long to validate; send a smaller or simpler body")]
        except BaseException as error:
            if not _is_depth(error):
                raise
            return [_error((), "nested too deeply")]

    def _errors_of(self, instance: Any) -> list[dict[str, str]]:
        begin_work()
        found = islice(self._validator.iter_errors(instance), MAX_ERRORS)
        return [_error(error.absolute_path, _message(error)) for error in found]


def _is_depth(error: BaseException) -> bool:
    return isinstance(error, (RecursionError, TooDeep)) or is_panic(error)


def load_schema(file: Path) -> BodySchema:
    """Return the schema in *file*; raise SchemaError with the reason in one line."""
    try:
        content = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: an impossible file name
        reason = error.strerror if isinstance(error, OSError) else error
        raise SchemaError(f"it cannot be read: {reason}") from error
    try:
        return BodySchema(_parse(content.decode("utf-8")))
    except SchemaError as error:
        raise SchemaError(_one_line(str(error))) from error
    except (ValueError, RecursionError) as error:
        raise SchemaError(_one_line(f"it is not JSON: {error}")) from error


def _one_line(message: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in message)


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_constant=_reject_constant)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        # The responder might use the member that was not validated.
        duplicate = Counter(name for name, _ in pairs).most_common(1)[0][0]
        shown = json.dumps(duplicate)[:_MAX_MESSAGE_LENGTH]
        raise ValueError(f"member {shown} is a duplicate")
    return members


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _error(path: Iterable[str | int], message: str) -> dict[str, str]:
    return {"path": json_pointer(path), "fault": message}


#: Messages by keyword, in terms of JSON; those of jsonschema use Python's and repeat the body.
_MESSAGES = {
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
    "minContains": "expected {} matching items or more",
    "maxContains": "expected {} matching items or fewer",
    "minProperties": "expected {} members or more",
    "maxProperties": "expected {} members or fewer",
    "pattern": "expected a text that matches {}",
    "uniqueItems": "has duplicate items",
    "contains": "has no item that matches",
    "anyOf": "matches none of the alternatives",
    "oneOf": "expected to match exactly one of the alternatives",
    "not": "matches what is forbidden here",
}
#: Keywords whose jsonschema messages show names of members and no values.
_UNCHANGED = ("required", "dependentRequired", "additionalProperties", "unevaluatedProperties")


def _message(error: ValidationError) -> str:
    keyword = str(error.validator)
    if keyword in _UNCHANGED:
        return _cut(error.message)
    if error.validator is None:
        return "is not allowed here"
    message = _MESSAGES.get(keyword, f"does not match {keyword}")
    return message.format(_cut(json.dumps(error.validator_value)))


def _cut(message: str) -> str:
    is_short = len(message) <= _MAX_MESSAGE_LENGTH
    return message if is_short else message[: _MAX_MESSAGE_LENGTH - 3] + "..."
