"""Makes the argument of your own handler from a received message."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from workers.bodies import missing, stripped
from workers.consumer.message import Message as Received
from workers.errors import UndecodableError
from workers.message import Message

MAX_FAULTS = 5
_QUOTES_INPUT = frozenset({"union_tag_invalid"})

Decode = Callable[[Received], object]


def decoder(model: type[BaseModel] | None) -> Decode:
    """Return what makes the argument: an instance of *model* from the body, or without one a `Message`."""
    if model is None:
        return message_of

    def decode(received: Received) -> BaseModel:
        try:
            return model.model_validate_json(stripped(received.body))
        except ValidationError as error:
            raise UndecodableError(_faults(error)) from None

    return decode


def message_of(received: Received) -> Message:
    return Message(
        id=received.id,
        body=received.body,
        attributes={name: _value(attribute) for name, attribute in received.attributes.items()},
        receive_count=received.receive_count,
        sent_at=datetime.fromtimestamp(received.sent_at_s, UTC),
        first_received_at=datetime.fromtimestamp(received.first_received_at_s, UTC),
    )


def _value(attribute: Mapping[str, Any]) -> str | bytes:
    value: str | bytes = attribute.get("StringValue", attribute.get("BinaryValue", ""))
    return value


def _faults(error: ValidationError) -> str:
    """Return what is wrong with each field, but never its value."""
    errors = error.errors()
    faults = [_fault(details) for details in errors[:MAX_FAULTS]]
    if len(errors) > MAX_FAULTS:
        faults.append(f"and {len(errors) - MAX_FAULTS} more")
    return "; ".join(faults)


def _fault(details: ErrorDetails) -> str:
    field = ".".join(str(part) for part in details["loc"])
    if details["type"] == "missing" and isinstance(details["input"], dict):
        return f"{field} {missing(str(details['loc'][-1]), details['input'])}"
    text = details["type"].replace("_", " ") if details["type"] in _QUOTES_INPUT else details["msg"]
    return f"{field}: {text}" if field else text
