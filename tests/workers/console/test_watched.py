"""What is read again and again of an execution: as little as there is to learn."""

from typing import Any

import pytest

from tests.workers.console.histories import ORDERS, States, caught, entered, events, execution_arn, failed, tables
from tests.workers.operations.fakes import FakeClient, fake_stack, refused
from workers.aws.status_index import status_key
from workers.console.watched import ExecutionReader, Watched
from workers.operations.execution_orders import Linked
from workers.operations.sdk_errors import ClientError
from workers.operations.workflow import Kind

ARN = execution_arn("one")
TIME = "2026-11-22T11:00:00.000000Z"
ORDER = {
    "OrderId": "001",
    "Status": "ESCALATED",
    "ExecutionArn": ARN,
    "OpenKey": status_key("ESCALATED", "001", TIME),
    "UpdatedAt": TIME,
}
RUNNING = ("RUNNING", events("ExecutionStarted", entered("Check", "Choice")))


class Reading:
    """A reader of the execution `one`, and what each reading asked AWS for."""

    def __init__(
        self, states: States, *orders: dict[str, str], dynamodb: FakeClient | None = None, **options: Any
    ) -> None:
        self.states, self.dynamodb = states, dynamodb or tables(orders)
        self.reader = ExecutionReader(
            fake_stack(ORDERS, stepfunctions=states.client, dynamodb=self.dynamodb), "one", **options
        )

    async def read(self) -> tuple[Watched, list[str], bool]:
        """Return what was read, the calls to Step Functions, and whether orders were looked for."""
        self.states.client.requests.clear()
        self.dynamodb.requests.clear()
        watched = await self.reader.read()
        looked = any(name == "query" for name, _ in self.dynamodb.requests)
        return watched, [name for name, _ in self.states.client.requests], looked


async def test_what_has_ended_is_only_looked_at_again() -> None:
    reading = Reading(States(one=("SUCCEEDED", caught())))
    first, calls, looked = await reading.read()
    assert calls == ["describe_execution", "describe_state_machine_for_execution", "get_execution_history"]
    assert (looked, first.knows_order, first.is_last) == (False, False, False)
    second, calls, looked = await reading.read()
    assert (calls, looked, second.knows_order, second.is_last) == (["describe_execution"], True, True, True)
    assert second.drawing is first.drawing
    assert second.history is first.history
    third, calls, looked = await reading.read()
    assert (third, calls, looked) == (second, ["describe_execution"], False)
    assert first.drawing
    assert 'aria-label="The path of the execution"' in first.drawing.svg


async def test_a_running_execution_is_read_again_and_drawn_again_once_it_has_gone_on() -> None:
    states = States(one=RUNNING)
    reading = Reading(states)
    again = ["describe_execution", "get_execution_history"]
    first, _, _ = await reading.read()
    second, calls, _ = await reading.read()
    assert (calls, second.drawing is first.drawing) == (again, True)
    states.runs[ARN] = ("RUNNING", caught()[:5])
    third, calls, _ = await reading.read()
    assert (calls, third.drawing is second.drawing, len(third.path.steps)) == (again, False, 2)
    states.runs[ARN] = ("SUCCEEDED", caught())
    fourth, calls, _ = await reading.read()
    assert (calls, fourth.path.outcome) == (again, "succeeded")
    assert (await reading.read())[1] == ["describe_execution"]


async def test_an_execution_that_is_redriven_is_read_again() -> None:
    states = States(one=("FAILED", caught()[:6]))
    reading = Reading(states)
    await reading.read()
    states.runs[ARN] = ("RUNNING", caught()[:7])
    watched, calls, _ = await reading.read()
    assert "get_execution_history" in calls
    assert (watched.path.states["Verify"].tries, watched.is_last) == (2, False)


async def test_the_order_of_a_running_execution_is_looked_for_three_times() -> None:
    reading = Reading(States(one=RUNNING))
    seen = [await reading.read() for _ in range(5)]
    assert [(watched.knows_order, looked) for watched, _, looked in seen] == [
        (False, False),
        (False, True),
        (False, True),
        (True, True),
        (True, False),
    ]


async def test_an_order_that_was_found_is_not_looked_for_again() -> None:
    reading = Reading(States(one=RUNNING), ORDER)
    seen = [await reading.read() for _ in range(3)]
    assert [(watched.linked.order_id, watched.knows_order, looked) for watched, _, looked in seen] == [
        (None, False, False),
        ("001", True, True),
        ("001", True, False),
    ]


async def test_an_order_that_is_named_is_not_looked_for() -> None:
    watched, _, looked = await Reading(States(one=RUNNING), ORDER, order_id="001").read()
    assert (watched.linked.order_id, watched.knows_order, looked) == ("001", True, False)


async def test_who_may_not_read_orders_sees_the_execution_and_other_failures_are_raised() -> None:
    def fail(code: str, status: int) -> FakeClient:
        def answer(**_: Any) -> Any:
            raise refused(code, "GetItem", status)

        return FakeClient(query=answer, get_item=answer)

    denied = Reading(States(one=RUNNING), dynamodb=fail("AccessDeniedException", 400))
    watched, _, _ = await denied.read()
    assert (watched.linked, watched.knows_order, watched.drawing is None) == (Linked(), True, False)
    with pytest.raises(ClientError):
        await Reading(States(one=RUNNING), dynamodb=fail("InternalServerError", 500)).read()


async def test_an_execution_that_is_gone_is_none() -> None:
    states = States(one=RUNNING)
    reading = Reading(states)
    states.client.operations["get_execution_history"] = lambda **_: _gone()
    assert (await reading.read())[0] == Watched()
    del states.runs[ARN]
    assert (await reading.read())[0] == Watched()
    assert Watched().is_last


def _gone() -> Any:
    raise refused("ExecutionDoesNotExist", "GetExecutionHistory")


@pytest.mark.parametrize(
    ("kind", "history", "asks"),
    [
        (Kind.ORDERS, caught(), False),
        (Kind.ORDERS, events("ExecutionStarted", entered("A", "Map"), "MapRunStarted"), True),
        (Kind.INTAKE, events("ExecutionStarted", failed()), True),
        (Kind.SWEEP, caught(), False),
    ],
)
async def test_map_runs_are_read_if_there_may_be_some(kind: Kind, history: list[dict[str, Any]], asks: bool) -> None:
    machines = {Kind.INTAKE: "BulkOrderIntake", Kind.SWEEP: "StuckOrderSweep"}
    states = States()
    states.runs[execution_arn("one", machines.get(kind, "OrderFulfillmentStateMachine"))] = ("FAILED", history)
    reading = Reading(states, kind=kind)
    watched, calls, _ = await reading.read()
    assert ("list_map_runs" in calls, watched.knows_order) == (asks, kind is not Kind.ORDERS)
    assert (reading.dynamodb.requests == []) == (kind is not Kind.ORDERS)
