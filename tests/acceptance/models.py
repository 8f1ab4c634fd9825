"""Compares a call with the SDK's model: also lengths, ranges, patterns and values, which the SDK leaves to AWS."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.validate import ParamValidator


def violations(model: OperationModel, asked: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a call, by the model of its operation."""
    shape = model.input_shape
    if shape is None:
        return [f"{model.name} takes no parameters"] if asked else []
    report = ParamValidator().validate(dict(asked), shape)
    wrong = [report.generate_report()] if report.has_errors() else []
    return [f"{model.name}: {text}" for text in (*wrong, *_violations(shape, asked, ""))]


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    yield from (f"{path} {text}" for text in _limits(shape.metadata, value))
    if isinstance(shape, StructureShape):
        for name in value.keys() & shape.members.keys():
            yield from _violations(shape.members[name], value[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for number, member in enumerate(value):
            yield from _violations(shape.member, member, f"{path}[{number}]")
    elif isinstance(shape, MapShape):
        for key, member in value.items():
            yield from _violations(shape.key, key, f"{path} key {key}")
            yield from _violations(shape.value, member, f"{path}.{key}")


def _limits(limits: Mapping[str, Any], value: Any) -> Iterator[str]:
    size = len(value) if isinstance(value, str | bytes | list) else value
    if isinstance(size, int | float) and not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"is {size}, must be {limits.get('min', '')} to {limits.get('max', '')}"
    if isinstance(value, str):
        if value not in limits.get("enum", [value]):
            yield f"is {value!r}, must be one of {', '.join(limits['enum'])}"
        if not _matches(limits.get("pattern", ".*"), value):
            yield f"is {value!r}, must match {limits['pattern']}"


def _matches(pattern: str, value: str) -> bool:
    with contextlib.suppress(re.error):  # The models have Java's patterns; Python cannot read all of them.
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    return True
