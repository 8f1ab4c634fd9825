"""JSON Schema, as far as the tests use it. A keyword that is not known here is an error, not ignored."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]


def _is(kind: str, value: object) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case _:
            return isinstance(value, {"array": list, "object": dict, "string": str}[kind])


def _types(kinds: str | list[str], value: object) -> bool:
    return any(_is(kind, value) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _number(check: Callable[[Any, Any], bool]) -> Callable[[Any, object], bool]:
    return lambda bound, value: not _is("integer", value) or check(value, bound)


def _text(check: Callable[[Any, Any], bool]) -> Callable[[Any, object], bool]:
    return lambda bound, value: not isinstance(value, str) or check(value, bound)


def _list(check: Callable[[Any, Any], bool]) -> Callable[[Any, object], bool]:
    return lambda bound, value: not isinstance(value, list) or check(value, bound)


_KEYWORDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$schema": lambda _, __: True,
    "title": lambda _, __: True,
    "type": _types,
    "additionalProperties": lambda allowed, _: allowed is False,  # See `follows`.
    "anyOf": lambda schemas, value: any(follows(schema, value) for schema in schemas),
    "enum": lambda allowed, value: value in allowed,
    "minimum": _number(lambda value, bound: value >= bound),
    "maximum": _number(lambda value, bound: value <= bound),
    "pattern": _text(lambda value, pattern: re.search(pattern, value) is not None),
    "minLength": _text(lambda value, bound: len(value) >= bound),
    "maxLength": _text(lambda value, bound: len(value) <= bound),
    "minItems": _list(lambda value, bound: len(value) >= bound),
    "maxItems": _list(lambda value, bound: len(value) <= bound),
    "items": _list(lambda value, schema: all(follows(schema, each) for each in value)),
    "required": lambda names, value: not isinstance(value, dict) or set(names) <= set(value),
    "properties": lambda schemas, value: (
        not isinstance(value, dict)
        or all(follows(schema, value[name]) for name, schema in schemas.items() if name in value)
    ),
}


def follows(schema: Schema, value: object) -> bool:
    """Tell whether *value* is valid by *schema*."""
    if schema.get("additionalProperties") is False and isinstance(value, dict):
        unknown = set(value) - set(schema["properties"])
        if unknown:
            return False
    return all(_KEYWORDS[keyword](argument, value) for keyword, argument in schema.items())
