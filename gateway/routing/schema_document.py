"""Validation of JSON Schema documents (Draft 2020-12) and of their references."""

from collections.abc import Iterable, Iterator
from typing import Any

import regex
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from gateway.routing.schema_limits import compiled

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_META = Draft202012Validator(
    Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
)


class SchemaError(ValueError):
    """Raised with the reason why a document is not a usable schema."""


def check_document(document: Any) -> None:
    """Raise SchemaError unless *document* and everything it refers to are schemas."""
    if not isinstance(document, (dict, bool)):
        raise SchemaError("expected an object, or true or false")
    _check(document)
    root: Any = DRAFT202012.create_resource(document)
    resolver = Registry().with_resource("", root).resolver_with_root(root)
    seen: set[int] = set()
    keywords: set[str] = set()
    # A $ref may point to where JSON Schema has no keyword: follow references, not only keywords.
    pending = [(root, resolver)]
    while pending:
        resource, resolver = pending.pop()
        if id(resource.contents) in seen:
            continue
        seen.add(id(resource.contents))
        for reference in _references(resource.contents):
            found = _look_up(resolver, reference)
            _check(found.contents)
            pending.append((DRAFT202012.create_resource(found.contents), found.resolver))
        pending += [(sub, resolver.in_subresource(sub)) for sub in resource.subresources()]
        if isinstance(resource.contents, dict):
            keywords.update(resource.contents)
            _check_patterns(resource.contents)
            if "$schema" in resource.contents:
                _check_dialect(resource.contents, is_top=resource is root)
    if keywords >= {"patternProperties", "unevaluatedProperties"}:
        # The library would match these patterns without a time limit.
        raise SchemaError("it has patternProperties, so it cannot have unevaluatedProperties")


def _check_patterns(schema: dict[str, Any]) -> None:
    for pattern in (*schema.get("patternProperties", {}), schema.get("pattern", "")):
        try:
            compiled(pattern)
        except regex.error as error:
            raise SchemaError(f"the pattern {pattern[:80]!r} is not valid: {error}") from error


def _references(contents: Any) -> Iterator[str]:
    if isinstance(contents, dict):
        yield from (contents[name] for name in ("$ref", "$dynamicRef") if name in contents)


def _look_up(resolver: Any, reference: str) -> Any:
    try:
        return resolver.lookup(reference)
    except (Unresolvable, ValueError) as error:
        raise SchemaError(
            f"$ref {reference!r} is not in this document, and nothing is fetched; copy the schema "
            "into $defs"
        ) from error


def _check(schema: Any) -> None:
    error = best_match(_META.iter_errors(schema))
    if error is not None:
        path = json_pointer(error.absolute_path) or "top level"
        raise SchemaError(f"{path}: {error.message[:200]}")


def _check_dialect(schema: dict[str, Any], is_top: bool) -> None:
    if not is_top or schema["$schema"].rstrip("#") != DIALECT:
        raise SchemaError(
            f"$schema is {schema['$schema']!r}: expected {DIALECT}, at the top level only"
        )


def json_pointer(path: Iterable[str | int]) -> str:
    """Return the JSON pointer (RFC 6901) of *path*."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "".join(f"/{step}" for step in steps)
