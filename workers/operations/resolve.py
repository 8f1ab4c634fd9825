"""Resolves a case for a person: prepares the order to resubmit, and resolves the case."""

import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.orders import Order, OrderStatus
from workers.domain.resolutions import (
    Action,
    AlreadyResolvedError,
    Request,
    ResolutionError,
    check_episode,
    has_recorded,
    plan_resolution,
)
from workers.domain.submissions import improper_fields, malformed_fields
from workers.errors import ConflictError
from workers.operations.errors import OperationError
from workers.operations.files.values import corrected

if TYPE_CHECKING:
    from workers.escalation.resolver import Resolver
    from workers.operations.stack import Stack

_PLACEHOLDER = "0" * 16  # For a card number that is not known yet.
_PROPER = {"Price": "a price above 0 with at most two decimals", "CC": "a card number of 16 digits"}


class InvalidOrderError(OperationError):
    """The order cannot be resubmitted as it is. `correct` has the fields whose correction would help."""

    def __init__(self, text: str, correct: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.correct = correct


class IncompleteOrderError(InvalidOrderError):
    """The order is not stored, and the corrections do not have all of its fields; `correct` has the missing ones."""


def is_done(case: Case, request: Request) -> bool:
    """
    Return whether the same person has already resolved *case* in the same way.

    Raises:
        OperationError: Another person has resolved the case, or the same person in another way.
    """
    if case.state is CaseState.OPEN:
        return False
    last = case.resolution_of(case.episode)
    try:
        plan_resolution(case, None, replace(request, execution_arn=None if last is None else last.execution_arn), "")
    except ResolutionError as error:
        raise _refused(error, case.case_id) from None
    return True


def _refused(error: ResolutionError, case_id: str) -> OperationError:
    show = f"; `orders show {shlex.quote(case_id)}` says what came of it"
    return OperationError(f"{error}{show if isinstance(error, AlreadyResolvedError) else ''}")


def corrected_order(case: Case, order: Order | None, corrections: Mapping[str, str]) -> dict[str, str]:
    """
    Return the order to resubmit, without its card number: the order in the table with the *corrections* to its fields.

    The card number is asked for last, when all other fields are known to be valid. `with_card_number` adds it.

    Raises:
        InvalidOrderError: A field is missing, malformed or improper.
    """
    known: dict[str, str | None] = {"OrderId": case.order_id}
    if order is not None:
        known |= {"Name": order.name, "ItemName": order.item_name, "Price": order.price}
    fields = {field: value for field, value in (known | dict(corrections)).items() if isinstance(value, str)}
    missing = [field for field in ("OrderId", "Name", "ItemName", "Price") if field not in fields]
    if missing:
        reason = f"order {case.order_id} is not in the table" if case.order_id else "the case has no order"
        raise IncompleteOrderError(reason, missing)
    _check(fields | {"CC": _PLACEHOLDER})
    return fields


def with_card_number(order: Mapping[str, str], text: str) -> dict[str, str]:
    """
    Return *order* with the card number in *text*, which may group its digits as in a file of orders.

    Raises:
        InvalidOrderError: *text* is not a card number.
    """
    complete = {**order, "CC": corrected("CC", text.strip()).text}
    _check(complete)
    return complete


def _check(order: Mapping[str, str]) -> None:
    if malformed := malformed_fields(order):
        raise InvalidOrderError(f"malformed: {', '.join(malformed)}")
    if improper := improper_fields(order):
        field, *_ = improper
        raise InvalidOrderError(f"{field} must be {_PROPER[field]}", [field])


async def resolve_case(stack: "Stack", case_id: str, request: Request, order: Mapping[str, str] | None) -> None:
    """
    Resolve a case. *order* is the corrected order with its card number, or None if the action is not a resubmission.

    If this is interrupted at any moment, repeat the same request: the result is as if it had been made once.

    Raises:
        OperationError: The case or its order does not allow the request, or others are changing the case or the order.
    """
    async with opened_resolver(stack) as resolver:
        await resolve_with(resolver, case_id, request, order)


@asynccontextmanager
async def opened_resolver(stack: "Stack") -> "AsyncIterator[Resolver]":
    """Yield what resolves cases of *stack*: many with one connection."""
    from workers.aws.executions import Executions  # noqa: PLC0415 - the SDK takes a while to import.
    from workers.escalation.resolver import Resolver  # noqa: PLC0415
    from workers.operations.cases import sdk_client, tables  # noqa: PLC0415
    from workers.operations.retention import read_retention  # noqa: PLC0415

    arn, retention = await stack.state_machine_arn(), await read_retention(stack)
    async with tables(stack, retention) as (orders, cases), sdk_client(stack, "stepfunctions") as stepfunctions:
        yield Resolver(orders=orders, cases=cases, executions=Executions(stepfunctions, arn))


async def resolve_with(resolver: "Resolver", case_id: str, request: Request, order: Mapping[str, str] | None) -> None:
    """Do what `resolve_case` does."""
    try:
        if order is None:
            await resolver.resolve(case_id, request)
        else:
            await resolver.resubmit(case_id, order, request)
    except ResolutionError as error:
        raise _refused(error, case_id) from None
    except ConflictError:
        raise OperationError("others are changing this case or its order now; try again") from None


def problem_of(case: Case, order: Order | None, request: Request, now: str) -> str | None:
    """Return why *request* is refused as case and order are now; None if it is not. Corrections are not looked at."""
    if request.action is Action.RESUBMIT:
        try:
            check_episode(case, request)
        except ResolutionError as error:
            return str(error)
        if order is None or order.status is OrderStatus.ESCALATED or has_recorded(case, order):
            return None
        return f"the order is {order.status}: only an escalated order can be resubmitted"
    try:
        plan_resolution(case, order, request, now)
    except ResolutionError as error:
        return str(error)
    return None


def last_resolution(case: Case, request: Request) -> Resolution | None:
    """
    Return the last resolution of *case* with the action and the actor of *request*.

    Another process of the same person may have made it.
    """
    actor = request.record(0, "").actor
    for resolution in reversed(case.resolutions):
        if (resolution.action, resolution.actor) == (request.action, actor):
            return resolution
    return None
