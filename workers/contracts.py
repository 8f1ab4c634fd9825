"""The contracts of the two queues: message bodies, decoded and encoded."""

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from workers.bodies import fault_of, object_of, order_id_of
from workers.consumer.message import Message
from workers.domain.cards import mask
from workers.domain.characters import sendable
from workers.domain.escalations import MAX_DETAIL_CHARS, Escalation
from workers.domain.orders import ORDER_ID_RULE, order_id_fault
from workers.domain.reasons import Reason, Source
from workers.errors import UndecodableError

MAX_ATTEMPTS = 1_000_000  # Far above any setting, far below a card number.
# SQS: names have up to 80 characters, ids up to 100. A message's id is part of a DynamoDB key of at most 2,048 bytes.
MAX_NAME_CHARS = 256


# What is allowed in a field, after "must be".
_RULES = {
    "OrderId": ORDER_ID_RULE,
    "ExecutionArn": "an ARN like arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME, or absent",
    "Reasons": f"an array of 1 to {len(Reason)} of {', '.join(Reason)}",
    "Source": f"one of {', '.join(Source)}, or absent",
    "Detail": "a string, or absent",
    "Attempts": f"a whole number from 0 to {MAX_ATTEMPTS} without a decimal point, or absent",
    "Queue": f"up to {MAX_NAME_CHARS} characters, or absent",
    "OriginMessageId": f"up to {MAX_NAME_CHARS} characters, or absent",
    "CaseId": "a string of 1 to 2048 characters",
    "Episode": "a whole number from 1 without a decimal point",
    "Tries": "a whole number from 1 without a decimal point, or absent",
    "Resubmitted": "true, false or absent",
    "OrderFinished": ORDER_ID_RULE,
    "WaitingMessageId": f"1 to {MAX_NAME_CHARS} characters, or absent",
}


def _order_id(text: str) -> str:
    if fault := order_id_fault(text):
        raise ValueError(fault)
    return text


# Step Functions allows no white space, control characters, U+FFFE and U+FFFF in a name.
_NAME = r"[^:\s\x00-\x1f\x7f-\x9f\ufffe\uffff]{1,80}"
_EXECUTION_ARN = rf"^arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{{12}}:execution:{_NAME}:{_NAME}$"
_OrderId = Annotated[str, AfterValidator(_order_id)]
_ExecutionArn = Annotated[str, StringConstraints(pattern=_EXECUTION_ARN)]


class FulfillmentRequest(BaseModel):
    """
    A message of the fulfillment queue. Without an `execution_arn`, it concerns the order's current execution.

    `resubmitted`: an order with this id was in the table before, so it may have an open case.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    order_id: _OrderId = Field(alias="OrderId")
    execution_arn: _ExecutionArn | None = Field(None, alias="ExecutionArn")
    resubmitted: bool | None = Field(None, alias="Resubmitted")


class _EscalationBody(BaseModel):
    model_config = ConfigDict(frozen=True)

    order_id: Annotated[_OrderId | None, Field(strict=True)] = Field(alias="OrderId")
    reasons: list[Reason] = Field(alias="Reasons", min_length=1, max_length=len(Reason))
    source: Source | None = Field(None, alias="Source")
    detail: Annotated[str | None, Field(strict=True)] = Field(None, alias="Detail")
    execution_arn: _ExecutionArn | None = Field(None, alias="ExecutionArn")
    attempts: int | None = Field(None, alias="Attempts", strict=True, ge=0, le=MAX_ATTEMPTS)
    queue: Annotated[str | None, StringConstraints(strict=True, max_length=MAX_NAME_CHARS)] = Field(None, alias="Queue")
    origin_message_id: Annotated[str | None, StringConstraints(strict=True, max_length=MAX_NAME_CHARS)] = Field(
        None, alias="OriginMessageId"
    )
    waiting_message_id: Annotated[
        str | None, StringConstraints(strict=True, min_length=1, max_length=MAX_NAME_CHARS)
    ] = Field(None, alias="WaitingMessageId")


class Reminder(BaseModel):
    """
    A message that an escalation worker sends to its own queue if an episode is not routed to all of its channels yet.

    `tries` counts how often the episode was routed before.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    case_id: str = Field(alias="CaseId", min_length=1, max_length=2048)
    episode: int = Field(alias="Episode", ge=1)
    tries: int = Field(1, alias="Tries", ge=1)

    def body(self) -> str:
        return self.model_dump_json(by_alias=True)


class OrderFinished(BaseModel):
    """
    A message that a fulfillment worker sends to the escalation queue: a resubmitted order has ended, so close its case.

    Without an `execution_arn`, it concerns the order's current execution.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    order_id: _OrderId = Field(alias="OrderFinished")
    execution_arn: _ExecutionArn | None = Field(None, alias="ExecutionArn")

    def body(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_none=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEscalation:
    """A message that a worker sends to the escalation queue. Its body is masked."""

    order_id: str | None
    reasons: tuple[Reason, ...]
    source: Source | None
    detail: str | None
    execution_arn: str | None = None
    attempts: int | None = None
    queue: str | None = None
    origin_message_id: str | None = None
    waiting_message_id: str | None = None  # Of the notice that has waited. This is the same one, sent again.

    def body(self) -> str:
        """Return the message body of the contract, without the fields that do not apply."""
        fields = {
            "Reasons": list(self.reasons),
            "Source": self.source,
            "Detail": None if self.detail is None else mask(self.detail)[:MAX_DETAIL_CHARS],
            "ExecutionArn": self.execution_arn,
            "Attempts": self.attempts,
            "Queue": self.queue,
            "OriginMessageId": self.origin_message_id,
            "WaitingMessageId": self.waiting_message_id,
        }
        present = {name: value for name, value in fields.items() if value is not None}
        return json.dumps({"OrderId": self.order_id} | present, ensure_ascii=False)


def decode_fulfillment(message: Message) -> FulfillmentRequest:
    """
    Decode a message of the fulfillment queue: a JSON object of the contract, or a bare OrderId.

    Raises:
        UndecodableError: The body is neither.
    """
    document = object_of(message.body)
    if document is None:
        document = {"OrderId": order_id_of(message.body)}
    try:
        return FulfillmentRequest.model_validate(document)
    except ValidationError as error:
        raise UndecodableError(_wrong_fields(error)) from None


def decode_reminder(message: Message) -> Reminder | None:
    """
    Decode a message of the escalation queue if it is a reminder: it has a `CaseId`, but not an escalation's `Reasons`.

    Returns None for other messages.

    Raises:
        UndecodableError: It is a reminder with wrong fields.
    """
    document = object_of(message.body)
    if document is None or "CaseId" not in document or "Reasons" in document:
        return None
    try:
        return Reminder.model_validate(document)
    except ValidationError as error:
        raise UndecodableError(_wrong_fields(error)) from None


def decode_order_finished(message: Message) -> OrderFinished | None:
    """
    Decode a message of the escalation queue if it reports the end of an order: `OrderFinished` without `Reasons`.

    Returns None for other messages.

    Raises:
        UndecodableError: It is such a report with wrong fields.
    """
    if '"OrderFinished"' not in message.body:  # Most messages are escalations: do not parse those once more.
        return None
    document = object_of(message.body)
    if document is None or "OrderFinished" not in document or "Reasons" in document:
        return None
    try:
        return OrderFinished.model_validate(document)
    except ValidationError as error:
        raise UndecodableError(_wrong_fields(error)) from None


def decode_escalation(message: Message) -> Escalation:
    """
    Decode a message of the escalation queue: a JSON object of the contract, or a bare OrderId (reason `UNSPECIFIED`).

    Raises:
        UndecodableError: The body is neither.
    """
    document = object_of(message.body)
    if document is None:
        order_id = order_id_of(message.body)
        return Escalation(message_id=message.id, order_id=order_id, reasons=(Reason.UNSPECIFIED,))
    try:
        decoded = _EscalationBody.model_validate(document)
    except ValidationError as error:
        raise UndecodableError(_wrong_fields(error)) from None
    waited = _shown(decoded.waiting_message_id, MAX_NAME_CHARS)
    return Escalation(
        message_id=message.id if waited is None else waited,
        has_waited=waited is not None,
        order_id=decoded.order_id,
        reasons=tuple(dict.fromkeys(decoded.reasons)),
        source=decoded.source,
        detail=_shown(decoded.detail, MAX_DETAIL_CHARS),
        execution_arn=decoded.execution_arn,
        attempts=decoded.attempts,
        queue=_shown(decoded.queue, MAX_NAME_CHARS),
        origin_message_id=_shown(decoded.origin_message_id, MAX_NAME_CHARS),
    )


def _shown(text: str | None, max_chars: int) -> str | None:
    """Return *text* as cases, logs and notifications may quote it: masked, cut, and fit to be sent."""
    return None if text is None else sendable(mask(text))[:max_chars]


def _wrong_fields(error: ValidationError) -> str:
    """Return for each wrong field what is wrong, and what is allowed, but never its value."""
    faults: dict[str, str] = {}
    for problem in error.errors():
        name = str(problem["loc"][0])
        null = "null or " if name == "OrderId" and error.title == _EscalationBody.__name__ else ""
        faults.setdefault(name, f"{fault_of(problem)}, must be {null}{_RULES[name]}")
    return "; ".join(faults.values())
