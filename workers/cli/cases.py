"""Escalation cases, read and resolved through what the workers' library has for that."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import aioboto3

from workers.aws.cases import DynamoCases
from workers.aws.executions import Executions
from workers.aws.orders import DynamoOrders
from workers.aws.sdk.clients import calling_config, open_session
from workers.aws.sdk.parsing import plain_session
from workers.cli.output import CliError
from workers.domain.cases import Case
from workers.domain.orders import Order
from workers.domain.resolutions import ResolutionError
from workers.errors import ConflictError
from workers.escalation.resolver import Resolver
from workers.operations.order_table import is_key

if TYPE_CHECKING:
    from workers.cli.stack import Stack

T = TypeVar("T")


def with_tables(stack: "Stack", work: Callable[[DynamoOrders, DynamoCases], Awaitable[T]]) -> T:
    """Do what is to be done with the two tables."""

    async def run() -> T:
        async with _tables(stack) as (orders, cases):
            return await work(orders, cases)

    return asyncio.run(run())


def with_resolver(stack: "Stack", work: Callable[[Resolver], Awaitable[T]]) -> T:
    """
    Resolve a case.

    Raises:
        CliError: The case or its order does not allow it.
    """
    arn = stack.state_machine_arn

    async def run() -> T:
        async with (
            _tables(stack) as (orders, cases),
            _session(stack.region).client("stepfunctions", config=calling_config()) as stepfunctions,
        ):
            executions = Executions(stepfunctions, arn)
            return await work(Resolver(orders=orders, cases=cases, executions=executions))

    try:
        return asyncio.run(run())
    except ResolutionError as error:
        raise CliError(str(error)) from None
    except ConflictError:
        raise CliError("others are changing this case or its order just now; try again") from None


def read_case(stack: "Stack", case_id: str) -> tuple[Case, Order | None]:
    """
    Return a case and its order, as they are now.

    Raises:
        CliError: There is no such case, or it cannot be read.
    """

    async def read(orders: DynamoOrders, cases: DynamoCases) -> tuple[Case | None, Order | None]:
        case = await cases.get(case_id)
        return case, None if case is None or case.order_id is None else await orders.get(case.order_id)

    try:
        case, order = with_tables(stack, read) if is_key(case_id) else (None, None)
    except (KeyError, TypeError, ValueError):
        raise CliError(f"case {case_id} cannot be read: somebody has edited it in the table") from None
    if case is None:
        raise CliError(f"there is no case {case_id!r}; `orders escalations list` has those that are open")
    return case, order


@asynccontextmanager
async def _tables(stack: "Stack") -> AsyncIterator[tuple[DynamoOrders, DynamoCases]]:
    names = stack.names
    async with _session(stack.region).client("dynamodb", config=calling_config()) as dynamodb:
        yield (
            DynamoOrders(dynamodb, names.order_table),
            DynamoCases(dynamodb, names.escalation_table, names.order_table),
        )


@functools.cache  # What it has read of the SDK's own files it keeps for the next client.
def _session(region: str) -> aioboto3.Session:
    # Its parser takes what is no JSON for an error. The SDK's takes it for an answer that says nothing: no such order.
    return open_session(plain_session(), region)
