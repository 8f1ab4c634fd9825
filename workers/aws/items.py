"""Converts DynamoDB items to plain dicts, and back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* in DynamoDB's JSON, without None values at any depth."""
    return {name: _serialize(_plain(value)) for name, value in values.items() if value is not None}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a DynamoDB item as plain values, whole numbers as int."""
    return {name: _simple(_deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(member) for name, member in value.items() if member is not None}
        case list() | tuple():
            return [_plain(element) for element in value]
        case str():
            return str(value)  # The SDK does not know StrEnum.
        case _:
            return value


def _simple(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: _simple(member) for name, member in value.items()}
        case list():
            return [_simple(element) for element in value]
        case _:
            return value
