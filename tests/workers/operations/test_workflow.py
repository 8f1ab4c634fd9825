"""The state machines of a stack, and their recent executions."""

from typing import Any

import pytest

from tests.workers.console.histories import DEFINITION, ORDERS, States, at, caught, events, refused_order
from tests.workers.operations.fakes import STATE_MACHINE, FakeClient, fake_stack, refused
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import ClientError
from workers.operations.stack import Stack
from workers.operations.workflow import MAX_LISTED, Count, Kind, machine_arn, read_definition, read_machine, read_recent


def stack_of(states: States) -> Stack:
    return fake_stack(ORDERS, stepfunctions=states.client)


async def test_machines_are_beside_the_order_workflow() -> None:
    stack = fake_stack(ORDERS.replace("OrderFulfillment", "dev-OrderFulfillment"))
    arns = [await machine_arn(stack, kind) for kind in Kind]
    assert [arn.rpartition(":")[2] for arn in arns] == [
        "dev-OrderFulfillmentStateMachine",
        "dev-BulkOrderIntake",
        "dev-StuckOrderSweep",
    ]


@pytest.mark.parametrize("kind", [Kind.INTAKE, Kind.SWEEP])
async def test_beside_an_order_workflow_of_another_name_they_are_not_known(kind: Kind) -> None:
    with pytest.raises(OperationError, match="STATE_MACHINE"):
        await machine_arn(fake_stack(STATE_MACHINE), kind)


async def test_a_machine_has_its_definition() -> None:
    machine = await read_machine(stack_of(States()), Kind.ORDERS)
    assert (machine.name, machine.definition) == ("OrderFulfillmentStateMachine", DEFINITION)


@pytest.mark.parametrize("read", [read_machine, read_recent])
async def test_a_missing_machine_is_named(read: Any) -> None:
    with pytest.raises(OperationError, match="there is no state machine StuckOrderSweep: deploy the stack"):
        await read(stack_of(States()), Kind.SWEEP)


@pytest.mark.parametrize("read", [read_machine, read_recent])
async def test_other_errors_are_those_of_the_sdk(read: Any) -> None:
    def refuse(**_: Any) -> Any:
        raise refused("AccessDeniedException")

    client = FakeClient(describe_state_machine=refuse, list_executions=refuse)
    with pytest.raises(ClientError):
        await read(fake_stack(ORDERS, stepfunctions=client), Kind.ORDERS)


async def test_recent_executions_are_counted_by_status() -> None:
    many = {f"run_{number}": ("SUCCEEDED", caught()) for number in range(MAX_LISTED + 1)}
    states = States(now=("RUNNING", events("ExecutionStarted")), bad=("FAILED", refused_order()), **many)
    recent = await read_recent(stack_of(states), Kind.ORDERS)
    assert recent.counts == [
        Count("RUNNING", 1, is_more=False),
        Count("SUCCEEDED", MAX_LISTED, is_more=True),
        Count("FAILED", 1, is_more=False),
        Count("TIMED_OUT", 0, is_more=False),
        Count("ABORTED", 0, is_more=False),
    ]
    assert [run.started for run in recent.runs] == sorted((run.started for run in recent.runs), reverse=True)
    by_name = {run.name: run for run in recent.runs}
    assert (by_name["now"].is_running, by_name["now"].took_s()) == (True, None)
    assert (by_name["bad"].started, by_name["bad"].took_s()) == (at(0), 2.5)


@pytest.mark.parametrize("text", ["", "[]", "{", '"text"'])
def test_what_is_no_definition_has_no_states(text: str) -> None:
    assert read_definition(text) == {}
