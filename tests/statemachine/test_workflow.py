"""The workflow on the local AWS: started as users start it, judged by its states, items, messages and logs."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.check_state_machine import DEFINITIONS
from tests.statemachine.workflow import Workflow, wait_until
from tests.support import DeployStack
from workers.domain.submissions import submission_name

RECORDED = ["Check the order", "Update the order table"]
VERIFIED = [*RECORDED, "Are details Proper", "Put message in Queue"]
ESCALATED = "Put message in Escalation Queue"
MALFORMED = ["Check the order", "Put malformed order in Escalation Queue", "Order is malformed"]
UNCHANGED = "The stored order is unchanged: only an escalated order of an earlier execution starts over."
FAILED = ["Put failed order in Escalation Queue", "Workflow failed"]

LAMBDA_SOURCE = (Path(__file__).parents[2] / "lambda" / "verify_cc_and_price.py").read_text(encoding="utf-8")
BROKEN_LAMBDA = "def handler(event, context):\n    raise RuntimeError('Could not verify ' + event['CC'])\n"
TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
CARD = "4929123412345678"


@pytest.fixture(scope="module")
def workflow(deploy_stack: DeployStack) -> Workflow:
    return Workflow(deploy_stack("workflow-"))


@pytest.fixture(scope="module")
def troubled(deploy_stack: DeployStack) -> Workflow:
    """The workflow for tests that replace its function."""
    return Workflow(deploy_stack("troubled-"))


def order(order_id: str, **fields: object) -> dict[str, object]:
    return {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD} | fields


def sample(order_id: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((DEFINITIONS / "samples" / f"{order_id}.json").read_text(encoding="utf-8"))
    return found


def escalation(order_id: str | None, reasons: list[str], detail: str, arn: str) -> dict[str, Any]:
    return {"OrderId": order_id, "Reasons": reasons, "Source": "workflow", "Detail": detail, "ExecutionArn": arn}


def notice(arn: str, status: str) -> dict[str, Any]:
    return {
        "OrderId": None,
        "Reasons": ["WORKFLOW_FAILED"],
        "Source": "eventbridge",
        "ExecutionArn": arn,
        "Detail": f"Execution {arn.rsplit(':', 1)[1]} ended {status}.",
    }


def test_a_proper_order_is_recorded_and_sent_to_fulfillment(workflow: Workflow) -> None:
    execution = workflow.run(sample("001"))
    assert execution.status == "SUCCEEDED"
    assert execution.states == [*VERIFIED, "Put message in OrderFulfillment Queue"]
    assert json.loads(execution.output or "") == {"OrderId": "001", "Queue": "OrderFulfillmentQueue"}
    assert workflow.fulfillments(execution.arn) == [{"OrderId": "001", "ExecutionArn": execution.arn}]
    assert workflow.escalations(execution.arn) == []
    item = workflow.stored("001")
    assert item is not None
    started_at, created_at = item["StartedAt"], item["CreatedAt"]
    assert all(map(TIMESTAMP.fullmatch, (started_at, created_at)))
    assert started_at <= created_at
    assert item == {
        "OrderId": "001",
        "Name": sample("001")["Name"],
        "ItemName": sample("001")["ItemName"],
        "Price": "80000",
        "CC": "************5678",
        "Status": "RECEIVED",
        "OpenKey": f"RECEIVED#{hashlib.sha256(b'001').hexdigest()[0]}",
        "ExecutionArn": execution.arn,
        "StartedAt": started_at,
        "CreatedAt": created_at,
        "UpdatedAt": created_at,
    }


@pytest.mark.parametrize(
    ("order_id", "reasons", "card"),
    [
        ("002", ["INVALID_PRICE"], "************5678"),
        ("003", ["INVALID_CARD_NUMBER"], "****"),
        ("004", ["INVALID_CARD_NUMBER", "INVALID_PRICE"], "****"),
    ],
)
def test_an_improper_order_is_recorded_and_escalated(
    workflow: Workflow, order_id: str, reasons: list[str], card: str
) -> None:
    execution = workflow.run(sample(order_id))
    assert execution.status == "SUCCEEDED"
    assert execution.states == [*VERIFIED, ESCALATED]
    assert json.loads(execution.output or "") == {"OrderId": order_id, "Queue": "EscalationQueue"}
    assert workflow.fulfillments(execution.arn) == []
    assert workflow.escalations(execution.arn) == [
        escalation(order_id, reasons, "The order's details are not proper.", execution.arn)
    ]
    item = workflow.stored(order_id)
    assert item is not None
    assert (item["Status"], item["CC"]) == ("RECEIVED", card)


def test_names_may_be_in_any_script(workflow: Workflow) -> None:
    name = "Zo\u00eb \u5f20\u4f1f \u0645\u0631\u064a\u0645 \U0001f6b2\n\u2028\u0000" + "\U0001f6b2" * 200
    execution = workflow.run(order("unicode", Name=name))
    assert execution.status == "SUCCEEDED"
    item = workflow.stored("unicode")
    assert item is not None
    assert item["Name"] == name


def test_unknown_fields_are_ignored(workflow: Workflow) -> None:
    execution = workflow.run(order("extra", Color="red", Status="FULFILLED", Reasons=["X"], ExecutionArn="x"))
    assert execution.status == "SUCCEEDED"
    item = workflow.stored("extra")
    assert item is not None
    assert "Color" not in item
    assert (item["Status"], item["ExecutionArn"]) == ("RECEIVED", execution.arn)


def refuses(workflow: Workflow, stored: dict[str, str], name: str | None = None) -> None:
    """Submit a stored order: it must stay as it is, with no message and no escalation."""
    workflow.store(stored)
    execution = workflow.run(order(stored["OrderId"], Name="Second"), name=name)
    assert execution.status == "FAILED"
    assert execution.error == "DuplicateOrder"
    assert execution.cause == UNCHANGED
    assert execution.states == [*RECORDED, "Order is a duplicate"]
    assert workflow.stored(stored["OrderId"]) == stored
    assert workflow.fulfillments(execution.arn) == []
    assert workflow.escalations(execution.arn) == []


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "CANCELLED"])
def test_a_second_submission_leaves_the_first_order_unchanged(workflow: Workflow, status: str) -> None:
    stored = {"OrderId": f"twice-{status}", "Status": status, "ExecutionArn": "another", "Name": "First"}
    refuses(workflow, stored)


def test_only_one_of_simultaneous_submissions_continues(workflow: Workflow) -> None:
    executions = [workflow.ended(arn) for arn in [workflow.start(order("at-once")) for _ in range(5)]]
    (first,) = (execution for execution in executions if execution.status == "SUCCEEDED")
    assert [execution.error for execution in executions if execution is not first] == ["DuplicateOrder"] * 4
    item = workflow.stored("at-once")
    assert item is not None
    assert item["ExecutionArn"] == first.arn


def test_an_order_that_this_execution_recorded_before_continues(workflow: Workflow) -> None:
    # As if the first put was applied but its response was lost: the retry finds the item of the first try.
    workflow.store({"OrderId": "lost", "Status": "RECEIVED", "ExecutionArn": workflow.arn_of("lost-answer")})
    execution = workflow.run(order("lost"), name="lost-answer")
    assert execution.status == "SUCCEEDED"
    (sent,) = workflow.fulfillments(execution.arn)  # It may be a resubmission, whose first try was applied.
    assert sent == {"OrderId": "lost", "ExecutionArn": execution.arn, "Resubmitted": True}


def test_a_second_submission_of_an_order_that_was_never_recorded_is_marked_too(workflow: Workflow) -> None:
    """The first one may have opened a case."""
    execution = workflow.run(order("second"), name=submission_name("second", 2))
    (sent,) = workflow.fulfillments(execution.arn)
    assert sent == {"OrderId": "second", "ExecutionArn": execution.arn, "Resubmitted": True}


def test_an_escalated_order_submitted_again_starts_over(workflow: Workflow) -> None:
    workflow.store(
        {
            "OrderId": "again",
            "Status": "ESCALATED",
            "ExecutionArn": "another",
            "StartedAt": "2020-01-01T00:00:00.000Z",
            "OpenKey": "ESCALATED#1",
            "Price": "-1",
            "EscalatedAt": "2026-01-01T00:00:00.000Z",
            "Reasons": "INVALID_PRICE",
            "Attempts": "3",
        }
    )
    execution = workflow.run(order("again", Price="1"))
    assert execution.status == "SUCCEEDED"
    (sent,) = workflow.fulfillments(execution.arn)
    assert sent == {"OrderId": "again", "ExecutionArn": execution.arn, "Resubmitted": True}
    item = workflow.stored("again")
    assert item is not None
    assert item.keys().isdisjoint({"EscalatedAt", "Reasons", "Attempts"})
    assert (item["Status"], item["Price"], item["ExecutionArn"]) == ("RECEIVED", "1", execution.arn)
    assert item["OpenKey"].startswith("RECEIVED#")
    assert item["StartedAt"] > "2020-01-01T00:00:00.000Z"


def test_an_escalated_order_of_version_1_starts_over(workflow: Workflow) -> None:
    workflow.store({"OrderId": "version-1", "Status": "ESCALATED", "ExecutionArn": "another", "Attempts": "3"})
    execution = workflow.run(order("version-1"))
    assert execution.status == "SUCCEEDED"
    item = workflow.stored("version-1")
    assert item is not None
    assert TIMESTAMP.fullmatch(item["StartedAt"])
    assert "Attempts" not in item


def test_an_escalated_order_of_a_newer_execution_is_not_started_over(workflow: Workflow) -> None:
    newer = {"Status": "ESCALATED", "ExecutionArn": "another", "StartedAt": "9999-12-31T23:59:59.999Z"}
    refuses(workflow, {"OrderId": "newer"} | newer)


@pytest.mark.parametrize(
    ("field", "value"),
    [("Status", "FULFILLED"), ("Status", "ESCALATED"), ("Status", "CANCELLED"), ("Attempts", "1"), ("Trials", "1")],
)
def test_a_redriven_put_undoes_nothing_of_its_own_order(workflow: Workflow, field: str, value: str) -> None:
    # The local AWS cannot redrive. A redriven execution keeps its ARN and its start time.
    order_id = f"redriven-{field}-{value}"
    own = {"OrderId": order_id, "Status": "RECEIVED", "ExecutionArn": workflow.arn_of(order_id)}
    refuses(workflow, own | {field: value}, name=order_id)


EVERY_FIELD = "Malformed fields: OrderId, Name, ItemName, Price, CC."
NOT_AN_OBJECT = "The input is not a JSON object."


@pytest.mark.parametrize(
    ("malformed", "order_id", "detail"),
    [
        ({}, None, EVERY_FIELD),
        ([], None, NOT_AN_OBJECT),
        ([order("array")], None, NOT_AN_OBJECT),
        ([{"OrderId": "x"}], None, NOT_AN_OBJECT),
        ("x", None, NOT_AN_OBJECT),
        (None, None, NOT_AN_OBJECT),
        (1, None, NOT_AN_OBJECT),
        (dict.fromkeys(("OrderId", "Name", "ItemName", "Price", "CC")), None, EVERY_FIELD),
        (order("null", Price=None), "null", "Malformed fields: Price."),
        (order("numbers", Price=80000, CC=int(CARD)), "numbers", "Malformed fields: Price, CC."),
        (order("long", Name="x" * 100_000), "long", "Malformed fields: Name."),
        (order("longer", CC="1" * 100_000, Price="1" * 100_000), "longer", "Malformed fields: Price, CC."),
        (order("1-" * 50_000), None, "Malformed fields: OrderId."),
        (order("empty", Name="", ItemName=""), "empty", "Malformed fields: Name, ItemName."),
        (order("array", ItemName=["Bicycle"]), "array", "Malformed fields: ItemName."),
        (order("\u0661"), None, "Malformed fields: OrderId."),
        (order("newline\n"), None, "Malformed fields: OrderId."),
        (order(CARD), None, "Malformed fields: OrderId."),
        ({"Name": "Ada", "ItemName": "Bicycle", "Price": "1", "CC": CARD}, None, "Malformed fields: OrderId."),
        (order("cased", price="1") | {"Price": {"S": "1"}}, "cased", "Malformed fields: Price."),
    ],
    ids=str,
)
def test_a_malformed_order_is_escalated_once_and_recorded_nowhere(
    workflow: Workflow, malformed: object, order_id: str | None, detail: str
) -> None:
    execution = workflow.run(malformed)
    assert (execution.status, execution.error, execution.cause) == ("FAILED", "MalformedOrder", detail)
    assert execution.states == MALFORMED
    assert workflow.fulfillments(execution.arn) == []
    assert workflow.escalations(execution.arn) == [escalation(order_id, ["MALFORMED_ORDER"], detail, execution.arn)]
    assert order_id is None or workflow.stored(order_id) is None


@pytest.mark.parametrize("reason", [{}, {"error": "MalformedOrder", "cause": CARD}])
def test_an_aborted_execution_is_escalated_once(workflow: Workflow, reason: dict[str, str]) -> None:
    arn = workflow.start(order(f"aborted-{len(reason)}"))
    workflow.abort(arn, **reason)
    assert workflow.escalations(arn) == [notice(arn, "ABORTED")]
    assert workflow.fulfillments(arn) == []


def test_an_uncaught_error_is_escalated_once(workflow: Workflow) -> None:
    # Half a character: valid in JSON, not in UTF-8. The local AWS fails only when it sends it to the table.
    execution = workflow.run(order("runtime", Name="\ud800"))
    assert (execution.status, execution.error, execution.states) == ("FAILED", "States.Runtime", RECORDED)
    assert workflow.escalations(execution.arn) == [notice(execution.arn, "FAILED")]
    assert workflow.stored("runtime") is None


@pytest.mark.parametrize(
    ("change", "matches"),
    [
        ({"status": "TIMED_OUT", "error": None}, True),
        ({"status": "ABORTED", "error": None}, True),
        ({"status": "ABORTED", "error": "DuplicateOrder"}, True),
        ({"status": "FAILED", "error": None}, True),
        ({"status": "FAILED"}, True),
        ({"status": "FAILED", "error": "States.Runtime"}, True),
        ({"status": "FAILED", "error": "States.DataLimitExceeded"}, True),
        ({"status": "FAILED", "error": "EscalationNotSent"}, True),
        ({"status": "FAILED", "error": "MalformedOrder"}, False),
        ({"status": "FAILED", "error": "DuplicateOrder"}, False),
        ({"status": "FAILED", "error": "WorkflowFailed"}, False),
        ({"status": "SUCCEEDED", "error": None}, False),
        ({"status": "RUNNING", "error": None}, False),
        ({"status": "FAILED", "error": None, "stateMachineArn": "arn:aws:states:::stateMachine:another"}, False),
    ],
)
def test_the_rule_escalates_what_the_workflow_did_not(
    workflow: Workflow, change: dict[str, str | None], *, matches: bool
) -> None:
    rule = workflow.stack.name_prefix + "OrderFulfillmentFailedExecutions"
    pattern = workflow.client("events").describe_rule(Name=rule)["EventPattern"]
    event = {
        "id": "1",
        "account": "000000000000",
        "region": "us-east-1",
        "time": "2026-01-01T00:00:00Z",
        "resources": [],
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"stateMachineArn": workflow.stack.state_machine_arn} | change,
    }
    assert (
        workflow.client("events").test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"] == matches
    )


def test_a_short_outage_only_delays_an_order(troubled: Workflow) -> None:
    troubled.replace_function(BROKEN_LAMBDA)
    arn = troubled.start(order("delayed"))
    wait_until(lambda: len(troubled.history(arn, "taskFailedEventDetails")) >= 2)
    troubled.replace_function(LAMBDA_SOURCE)
    execution = troubled.ended(arn)
    assert execution.states == [*VERIFIED, "Put message in OrderFulfillment Queue"]
    assert troubled.fulfillments(arn) == [{"OrderId": "delayed", "ExecutionArn": arn}]
    assert troubled.escalations(arn) == []


def test_a_long_outage_is_escalated(troubled: Workflow) -> None:
    troubled.replace_function(BROKEN_LAMBDA)
    execution = troubled.run(order("unavailable"))
    assert execution.status == "SUCCEEDED"
    assert execution.states == [*RECORDED, "Are details Proper", ESCALATED]
    assert len(troubled.history(execution.arn, "taskFailedEventDetails")) == 1 + 8
    detail = "The order's details could not be verified."
    assert troubled.escalations(execution.arn) == [
        escalation("unavailable", ["VERIFICATION_UNAVAILABLE"], detail, execution.arn)
    ]
    item = troubled.stored("unavailable")
    assert item is not None
    assert item["Status"] == "RECEIVED"
    assert CARD not in str(execution)  # It was in the error of the function.


def test_an_invalid_answer_is_escalated(troubled: Workflow) -> None:
    answers = {
        "nothing": None,
        "text": "1",
        "number": 1,
        "list": [{"OrderId": "list", "Status": 1, "Reasons": []}],
        "empty": {},
        "no-id": {"Status": 1, "Reasons": []},
        "another": {"OrderId": "001", "Status": 1, "Reasons": []},
        "true": {"OrderId": "true", "Status": True, "Reasons": []},
        "string": {"OrderId": "string", "Status": "1", "Reasons": []},
        "two": {"OrderId": "two", "Status": 2, "Reasons": []},
        "null": {"OrderId": "null", "Status": None, "Reasons": None},
        "null-reasons": {"OrderId": "null-reasons", "Status": 1, "Reasons": None},  # On AWS, null counts as one.
        "both": {"OrderId": "both", "Status": 1, "Reasons": ["INVALID_PRICE"]},
        "no-reason": {"OrderId": "no-reason", "Status": 0, "Reasons": []},
        "no-reasons": {"OrderId": "no-reasons", "Status": 0},
        "card": {"OrderId": "card", "Status": 0, "Reasons": ["INVALID_PRICE", CARD]},
        "nested": {"OrderId": "nested", "Status": 0, "Reasons": [{"INVALID_PRICE": CARD}]},
    }
    troubled.replace_function(f"def handler(event, context):\n    return {answers!r}[event['OrderId']]\n")
    arns = {order_id: troubled.start(order(order_id)) for order_id in answers}
    executions = {order_id: troubled.ended(arn) for order_id, arn in arns.items()}
    detail = "The verification returned an invalid answer."
    for order_id, execution in executions.items():
        assert execution.states == [*VERIFIED, *FAILED], order_id
        assert (execution.status, execution.error, execution.cause) == ("FAILED", "WorkflowFailed", detail)
        assert troubled.fulfillments(execution.arn) == []
        assert troubled.escalations(execution.arn) == [escalation(order_id, ["WORKFLOW_FAILED"], detail, execution.arn)]


def test_any_other_failure_is_escalated_once(deploy_stack: DeployStack) -> None:
    workflow = Workflow(deploy_stack("failing-"))
    sqs, dynamodb = workflow.client("sqs"), workflow.client("dynamodb")

    sqs.delete_queue(QueueUrl=workflow.stack.order_fulfillment_queue_url)
    unsent = workflow.run(order("unsent"))
    detail = "The order could not be put on the OrderFulfillmentQueue."
    assert unsent.states == [*VERIFIED, "Put message in OrderFulfillment Queue", *FAILED]
    assert (unsent.status, unsent.error, unsent.cause) == ("FAILED", "WorkflowFailed", detail)
    assert workflow.escalations(unsent.arn) == [escalation("unsent", ["WORKFLOW_FAILED"], detail, unsent.arn)]

    dynamodb.update_table(TableName=workflow.stack.order_table, DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName=workflow.stack.order_table)
    unrecorded = workflow.run(order("unrecorded"))
    detail = "The order could not be recorded."
    assert unrecorded.states == [*RECORDED, *FAILED]
    assert (unrecorded.status, unrecorded.error, unrecorded.cause) == ("FAILED", "WorkflowFailed", detail)
    assert workflow.escalations(unrecorded.arn) == [
        escalation("unrecorded", ["WORKFLOW_FAILED"], detail, unrecorded.arn)
    ]

    sqs.delete_queue(QueueUrl=workflow.stack.escalation_queue_url)
    unescalated = workflow.run({})
    assert unescalated.states == [*MALFORMED[:2], "Escalation was not sent"]
    assert (unescalated.status, unescalated.error) == ("FAILED", "EscalationNotSent")
    assert unescalated.cause == "The escalation could not be put on the EscalationQueue."


def test_a_card_number_in_any_field_is_found_nowhere(deploy_stack: DeployStack) -> None:
    workflow = Workflow(deploy_stack("cards-"))
    forms = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678", "No. 4929--1234  12345678!"]
    orders = [
        *(
            order(f"{name}-{n}", **{name: form})
            for name in ("Name", "ItemName", "Price", "CC")
            for n, form in enumerate(forms)
        ),
        *(order(form) for form in forms),
        order("other", Card=CARD, Note=f"Card {CARD}"),
        order("long", Name=CARD * 20),
        order("number", CC=int(CARD)),
        order("nested", Name={"Name": CARD}),
        *([CARD], CARD, int(CARD)),
    ]
    executions = [workflow.ended(arn) for arn in [workflow.start(order) for order in orders]]
    aborted = workflow.start(order("aborted", Name=CARD), name="aborted")
    workflow.abort(aborted, cause=CARD)
    assert len(workflow.escalations(aborted)) == 1

    written = json.dumps([executions, everything_stored(workflow), everything_logged(workflow)], default=str)
    assert CARD not in re.sub(r"[ -]", "", written)
    assert all(text in written for text in ("CC-0", "Name-3", "Execution aborted ended ABORTED"))


def everything_stored(workflow: Workflow) -> list[Any]:
    tables = [workflow.stack.order_table, workflow.stack.escalation_table]
    queues = [url for name, url in workflow.stack.outputs.items() if name.endswith("Url")]
    return [
        *(workflow.client("dynamodb").scan(TableName=table)["Items"] for table in tables),
        *(workflow.everything_on(url) for url in queues),
    ]


def everything_logged(workflow: Workflow) -> list[Any]:
    logs = workflow.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate()
    groups = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    ours = [group for group in groups if workflow.stack.name_prefix in group]
    assert workflow.stack.outputs["StateMachineLogGroupName"] in ours
    return [logs.filter_log_events(logGroupName=group)["events"] for group in ours]
