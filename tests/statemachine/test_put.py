"""The condition of the workflow's put: the arguments of the definition, sent to the order table of the local AWS."""

import functools
import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from jsonata import Jsonata

from tests.statemachine.test_definition import PROPER, load
from tests.statemachine.workflow import Workflow
from tests.support import DeployStack
from tests.workers.domain import examples
from workers.aws.items import from_item, to_item
from workers.domain.resolutions import resubmission_name
from workers.domain.submissions import submission_name

THIS = "arn:aws:states:us-east-1:123456789012:execution:Orders:this"
ANOTHER = "arn:aws:states:us-east-1:123456789012:execution:Orders:another"
STARTED_AT = "2026-11-22T10:00:00.500Z"
ENTERED_AT = "2026-11-22T10:00:01.000Z"

STATUSES = ("RECEIVED", "ESCALATED", "FULFILLED", "CANCELLED")
EXECUTIONS = {"this": THIS, "another": ANOTHER, "missing": None}
STARTS = {
    "older": "2026-11-22T10:00:00.499Z",
    "same": STARTED_AT,
    "newer": "2026-11-22T10:00:00.501Z",
    "missing": None,  # An item of version 1.
}
COUNTED: dict[str, Mapping[str, Any]] = {
    "nothing": {},
    "attempts": {"Attempts": 1, "LastAttempt": "m/1"},
    "trials": {"Trials": 1, "LastTrial": "m/1"},
}
PASSING = {
    *itertools.product(["RECEIVED"], ["this"], STARTS, ["nothing"]),
    *itertools.product(["ESCALATED"], ["another", "missing"], ["older", "missing"], COUNTED),
}


FIRST, SECOND, TENTH = (submission_name("001", number) for number in (1, 2, 10))
BY_HAND = resubmission_name(examples.case(), 1, 1)


@pytest.mark.parametrize(
    ("name", "was_there", "resubmitted"),
    [
        ("any", {"Attributes": {}}, True),
        (FIRST, {}, False),
        (SECOND, {}, True),
        (TENTH, {}, True),
        (BY_HAND, {}, True),
        ("any-2", {}, False),
    ],
)
def test_what_marks_an_order_as_resubmitted(name: str, was_there: dict[str, Any], resubmitted: bool) -> None:
    """Its item, or the name of a later submission: the earlier one may have opened a case without an item."""
    assigned = load()["States"]["Update the order table"]["Assign"]
    states = {"result": was_there, "context": {"Execution": {"Name": name}}}
    assert evaluated(assigned, states) == {"resubmitted": resubmitted}


@pytest.fixture(scope="module")
def workflow(deploy_stack: DeployStack) -> Workflow:
    return Workflow(deploy_stack("put-"))


@functools.cache
def expression(text: str) -> Jsonata:
    compiled = Jsonata(text[2:-2].strip())
    compiled.register_lambda("hash", lambda value, _: hashlib.sha256(value.encode()).hexdigest())
    return compiled


def evaluated(value: Any, states: Mapping[str, Any]) -> Any:
    """Return *value* with its expressions evaluated, as Step Functions does."""
    if isinstance(value, dict):
        return {name: evaluated(field, states) for name, field in value.items()}
    if isinstance(value, str) and value.startswith("{%"):
        return expression(value).evaluate(None, {"states": states})
    return value


def put_arguments(order_id: str, execution_arn: str = THIS, started_at: str = STARTED_AT) -> dict[str, Any]:
    """Return what the workflow sends to DynamoDB for this order, without the table."""
    context = {"Execution": {"Id": execution_arn, "StartTime": started_at}, "State": {"EnteredTime": ENTERED_AT}}
    arguments = load()["States"]["Update the order table"]["Arguments"]
    del arguments["TableName"]
    found: dict[str, Any] = evaluated(arguments, {"input": PROPER | {"OrderId": order_id}, "context": context})
    return found


def put(workflow: Workflow, arguments: Mapping[str, Any]) -> bool:
    """Send the put; returns False if its condition refuses it."""
    client = workflow.client("dynamodb")
    try:
        client.put_item(TableName=workflow.stack.order_table, **arguments)
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def store(workflow: Workflow, item: Mapping[str, Any]) -> None:
    workflow.client("dynamodb").put_item(TableName=workflow.stack.order_table, Item=to_item(item))


def stored(workflow: Workflow, order_id: str) -> dict[str, Any]:
    key = {"OrderId": {"S": order_id}}
    found = workflow.client("dynamodb").get_item(TableName=workflow.stack.order_table, Key=key, ConsistentRead=True)
    return from_item(found["Item"])


def test_a_put_records_a_new_order(workflow: Workflow) -> None:
    arguments = put_arguments("new")
    assert put(workflow, arguments)
    assert stored(workflow, "new") == from_item(arguments["Item"])


@pytest.mark.parametrize("counted", COUNTED)
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("status", STATUSES)
def test_a_put_replaces_only_an_older_escalated_or_its_own_fresh_order(
    workflow: Workflow, status: str, execution: str, start: str, counted: str
) -> None:
    order_id = f"{status}-{execution}-{start}-{counted}"
    before = {"OrderId": order_id, "Status": status, "Name": "Before", "Reasons": ["INVALID_PRICE"], **COUNTED[counted]}
    before |= {"ExecutionArn": EXECUTIONS[execution]} if EXECUTIONS[execution] else {}
    before |= {"StartedAt": STARTS[start]} if STARTS[start] else {}
    store(workflow, before)
    arguments = put_arguments(order_id)
    passes = (status, execution, start, counted) in PASSING
    assert put(workflow, arguments) == passes
    assert stored(workflow, order_id) == (from_item(arguments["Item"]) if passes else before)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.001Z"),
        ("2026-11-22T10:00:00.5Z", "2026-11-22T10:00:00.51Z"),
        ("2026-11-22T10:00:00.123456789Z", "2026-11-22T10:00:00.124Z"),
        ("2026-11-22T11:00:00+01:00", "2026-11-22T10:30:00Z"),
        ("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z"),
    ],
)
def test_start_times_of_any_shape_are_compared_as_times(workflow: Workflow, earlier: str, later: str) -> None:
    first, second = put_arguments(earlier, ANOTHER, earlier), put_arguments(earlier, THIS, later)
    for start in (first["Item"]["StartedAt"]["S"], second["Item"]["StartedAt"]["S"]):
        assert (len(start), start[-5], start[-1]) == (len(STARTED_AT), ".", "Z")
    store(workflow, from_item(first["Item"]) | {"Status": "ESCALATED"})
    assert put(workflow, second)
    store(workflow, from_item(second["Item"]) | {"Status": "ESCALATED"})
    assert not put(workflow, first)


@pytest.mark.parametrize(
    "change",
    [
        {"Status": "FULFILLED", "ShipmentId": "SHIP-1"},
        {"Status": "ESCALATED", "Reasons": ["FULFILLMENT_REJECTED"]},
        {"Status": "CANCELLED"},
        COUNTED["attempts"],
        COUNTED["trials"],
    ],
    ids=["fulfilled", "escalated", "cancelled", "attempts", "trials"],
)
def test_a_late_first_try_of_a_put_undoes_nothing(
    workflow: Workflow, change: Mapping[str, Any], request: pytest.FixtureRequest
) -> None:
    # The first try timed out in Step Functions, the second one was applied. DynamoDB applies the first one later.
    order_id = f"late-{request.node.callspec.id}"
    execution = workflow.run(PROPER | {"OrderId": order_id})
    described = workflow.client("stepfunctions").describe_execution(executionArn=execution.arn)
    late = put_arguments(order_id, execution.arn, described["startDate"].isoformat())
    recorded = stored(workflow, order_id)
    assert recorded["StartedAt"] == late["Item"]["StartedAt"]["S"]
    assert put(workflow, late)  # Harmless as long as nothing has happened to the order.
    store(workflow, {**recorded, **change})
    assert not put(workflow, late)
    assert stored(workflow, order_id) == {**recorded, **change}
