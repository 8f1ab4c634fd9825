from typing import Any

import pytest

from tests.workers.operations.fakes import EXECUTION
from workers.operations.executions import Execution, Step
from workers.operations.history import Record, Run, runs_of

ONE, TWO, THREE = (f"{EXECUTION}:{name}" for name in ("one", "two", "three"))
TO_FULFILLMENT = ("Update the order table", "Are details Proper", "Put message in OrderFulfillment Queue")
TO_ESCALATION = ("Update the order table", "Are details Proper", "Put message in Escalation Queue")
CARD = "4929123412345678"


def execution(arn: str, *, status: str | None = "SUCCEEDED", states: tuple[str, ...] = (), end: str = "") -> Execution:
    steps = (Step("2026-11-22T10:00:00.000Z", "started"), Step("2026-11-22T10:00:01.000Z", end or str(status)))
    return Execution(arn, status, states, steps)


def copy(arn: str, **fields: Any) -> dict[str, Any]:
    return {"ExecutionArn": arn, "CreatedAt": f"at {arn[-3:]}", "Name": "Ada", "Price": "-5"} | fields


def test_each_execution_has_what_it_recorded_and_what_came_of_it() -> None:
    order = {"ExecutionArn": THREE, "Status": "FULFILLED", "CreatedAt": "at three", "Name": "Eva", "Price": "7"}
    case = {
        "Order": copy(TWO, Price="0", CC=CARD),
        "Reasons": ["FULFILLMENT_REJECTED"],
        "Episodes": [
            {"Number": 1, "Reasons": ["INVALID_PRICE"], "Order": copy(ONE, ItemName="Bell", CC="************5678")}
        ],
        "Evidence": [{"ExecutionArn": TWO, "Reasons": ["INVALID_PRICE", "INVALID_CARD_NUMBER"]}],
    }
    executions = [
        execution(ONE, states=TO_ESCALATION),
        execution(TWO, states=TO_ESCALATION),
        execution(THREE, states=TO_FULFILLMENT),
    ]
    assert runs_of(order, case, executions) == [
        Run(
            executions[0],
            False,
            Record("at one", {"Name": "Ada", "ItemName": "Bell", "Price": "-5", "CC": "************5678"}),
            "ESCALATED: INVALID_PRICE",  # No evidence is left, but the episode has its order.
        ),
        Run(
            executions[1],
            False,
            Record("at two", {"Name": "Ada", "Price": "0", "CC": "****"}),
            "ESCALATED: INVALID_PRICE, INVALID_CARD_NUMBER",
        ),
        Run(executions[2], True, Record("at three", {"Name": "Eva", "Price": "7"}), "FULFILLED"),
    ]


def test_the_current_escalated_execution_has_the_reasons_of_the_order() -> None:
    order = {"ExecutionArn": ONE, "Status": "ESCALATED", "Reasons": ["INVALID_PRICE"]}
    (run,) = runs_of(order, {"Order": copy(ONE)}, [execution(ONE)])
    assert (run.outcome, run.is_current, run.record) == ("ESCALATED: INVALID_PRICE", True, Record(None, {}))


@pytest.mark.parametrize(
    ("known", "outcome", "has_recorded"),
    [
        (execution(ONE, states=TO_FULFILLMENT), "sent to the OrderFulfillmentQueue", True),
        (execution(ONE, states=TO_ESCALATION), "sent to the EscalationQueue", True),
        (execution(ONE, status="FAILED", end="FAILED: DuplicateOrder"), "FAILED: DuplicateOrder", False),
        (execution(ONE, status="FAILED", states=TO_ESCALATION), "FAILED", True),
        (execution(ONE, status="RUNNING"), "RUNNING", False),
        (execution(ONE), "SUCCEEDED", False),
        (Execution(ONE, problem="does not exist, or no longer"), "not known", False),
    ],
)
def test_without_an_order_or_a_case_the_history_tells_the_outcome(
    known: Execution, outcome: str, *, has_recorded: bool
) -> None:
    (run,) = runs_of(None, None, [known])
    assert (run.outcome, run.record, run.has_recorded) == (outcome, None, has_recorded)


def test_an_execution_without_a_history_still_has_what_the_case_knows() -> None:
    case = {"Order": copy(ONE), "Reasons": ["INVALID_PRICE"]}
    (run,) = runs_of(None, case, [Execution(ONE, problem="does not exist, or no longer")])
    assert (run.outcome, run.has_recorded) == ("ESCALATED: INVALID_PRICE", True)
    assert run.record == Record("at one", {"Name": "Ada", "Price": "-5"})
