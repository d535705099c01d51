"""Whether a JSON Schema is one (Draft 2020-12), and leads nowhere but into its own document."""

from collections.abc import Iterable, Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_META = Draft202012Validator(
    Draft202012Validator.META_SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER
)


class SchemaFault(ValueError):
    """Raised with the reason why something is no schema that bodies can be held against."""


def see_all_of(document: Any) -> None:
    """
    Return when *document* and whatever it refers to are schemas.

    Raises:
        SchemaFault: otherwise, with the reason.
    """
    if not isinstance(document, (dict, bool)):
        raise SchemaFault("expected an object, or true or false")
    _check(document)
    root: Any = DRAFT202012.create_resource(document)
    resolver = Registry().with_resource("", root).resolver_with_root(root)
    seen: set[int] = set()
    # A $ref may lead to where no keyword of JSON Schema does: look there as well.
    waiting = [(root, resolver)]
    while waiting:
        resource, resolver = waiting.pop()
        if id(resource.contents) in seen:
            continue
        seen.add(id(resource.contents))
        for reference in _references(resource.contents):
            found = _looked_up(resolver, reference)
            _check(found.contents)
            waiting.append((DRAFT202012.create_resource(found.contents), found.resolver))
        waiting += [(sub, resolver.in_subresource(sub)) for sub in resource.subresources()]
        if isinstance(resource.contents, dict) and "$schema" in resource.contents:
            _check_dialect(resource.contents, is_top=resource is root)


def _references(contents: Any) -> Iterator[str]:
    if isinstance(contents, dict):
        yield from (contents[name] for name in ("$ref", "$dynamicRef") if name in contents)


def _looked_up(resolver: Any, reference: str) -> Any:
    try:
        return resolver.lookup(reference)
    except (Unresolvable, ValueError) as error:
        raise SchemaFault(
            f"$ref {reference!r} leads nowhere within it; nothing is fetched: copy what it means "
            "into $defs"
        ) from error


def _check(schema: Any) -> None:
    error = best_match(_META.iter_errors(schema))
    if error is not None:
        raise SchemaFault(f"{pointer(error.absolute_path) or 'the whole'}: {error.message[:200]}")


def _check_dialect(schema: dict[str, Any], is_top: bool) -> None:
    if not is_top or schema["$schema"].rstrip("#") != DIALECT:
        raise SchemaFault(f"$schema is {schema['$schema']!r}: expected {DIALECT}, at its top only")


def pointer(path: Iterable[str | int]) -> str:
    """Return the JSON pointer (RFC 6901) of *path*."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "".join(f"/{step}" for step in steps)
