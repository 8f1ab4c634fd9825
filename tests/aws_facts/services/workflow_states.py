"""States: what errors services give, Catch, Retry, Choice and Fail, and what a task sends."""

import json
import time
import uuid
from typing import Any

from tests.aws_facts.fact import RECORDED, AnyOf, facts_of
from tests.aws_facts.lab import Lab
from tests.aws_facts.queues import receive_one
from tests.aws_facts.tables import put_order, table_of
from tests.aws_facts.workflows import (
    PASS,
    WORKFLOW_GUIDE,
    States,
    events_of,
    output_of,
    read_task,
    run,
    state_machine,
    task,
)

fact = facts_of("stepfunctions")

_DEFINITION = "statemachine/order-fulfillment.asl.json"
_RECORDED = RECORDED + "stepfunctions/v2/error_handling/"
_ERRORS = WORKFLOW_GUIDE + "concepts-error-handling.html"
_CAUGHT = "{% $states.errorOutput.Error %}"


def _caught(name: str) -> list[dict[str, Any]]:
    return [{"ErrorEquals": [name], "Output": {"caught": _CAUGHT}, "Next": "Pass"}]


def _error_of(lab: Lab, state: dict[str, Any]) -> object:
    return run(lab, state_machine(lab, {"Call": state})).get("error")


@fact(
    "A putItem whose condition fails is DynamoDB.ConditionalCheckFailedException, and is caught by that name.",
    source=WORKFLOW_GUIDE + "connect-ddb.html",
    relied_on_by=(f"{_DEFINITION}::DynamoDB.ConditionalCheckFailedException",),
    expected={"caught": "DynamoDB.ConditionalCheckFailedException"},
)
def a_failed_condition_is_caught_by_its_name(lab: Lab) -> object:
    put = {
        "TableName": table_of(lab),
        "Item": {"OrderId": {"S": put_order(lab)}},
        "ConditionExpression": "attribute_not_exists(OrderId)",
    }
    catch = _caught("DynamoDB.ConditionalCheckFailedException")
    return output_of(lab, {"Put": task("dynamodb:putItem", put, Catch=catch), **PASS})


@fact(
    "A putItem that DynamoDB refuses as invalid is DynamoDB.AmazonDynamoDBException, as are several errors that pass.",
    source=_RECORDED + "test_task_service_dynamodb.py (test_put_item_invalid_table_name)",
    relied_on_by=(f"{_DEFINITION}::DynamoDB.AmazonDynamoDBException",),
    expected="DynamoDB.AmazonDynamoDBException",
)
def an_invalid_put_has_a_general_error(lab: Lab) -> object:
    put = {"TableName": table_of(lab), "Item": {"NoKey": {"S": "x"}}}
    return _error_of(lab, task("dynamodb:putItem", put))


@fact(
    "A putItem to a missing table is DynamoDB.ResourceNotFoundException.",
    source=_RECORDED + "test_task_service_dynamodb.py (test_put_item_no_such_table)",
    relied_on_by=(f"{_DEFINITION}::States.ALL",),
    expected="DynamoDB.ResourceNotFoundException",
)
def a_put_to_a_missing_table_is_not_found(lab: Lab) -> object:
    put = {"TableName": f"{lab.prefix}missing", "Item": {"OrderId": {"S": "x"}}}
    return _error_of(lab, task("dynamodb:putItem", put))


@fact(
    "A sendMessage to a missing queue fails with an error that begins with `SQS.`.",
    source=_RECORDED + "test_task_service_sqs.py (test_send_message_no_such_queue)",
    relied_on_by=(f"{_DEFINITION}::SQS.AmazonSQSException",),
    expected="SQS",
)
def a_send_to_a_missing_queue_fails(lab: Lab) -> object:
    url = f"{lab.queue().rpartition('/')[0]}/{lab.prefix}missing"
    return str(_error_of(lab, task("sqs:sendMessage", {"QueueUrl": url, "MessageBody": "x"}))).partition(".")[0]


@fact(
    "A sendMessage with an object as its body sends the object's JSON.",
    source=WORKFLOW_GUIDE + "connect-sqs.html",
    relied_on_by=(f"{_DEFINITION}::MessageBody", "workers/contracts.py::ExecutionArn"),
    expected={"OrderId": "1", "Reasons": ["A"], "Detail": None},
)
def an_object_is_sent_as_json(lab: Lab) -> object:
    url = lab.queue()
    body = {"OrderId": "{% $states.input.id %}", "Reasons": "{% ['A'] %}", "Detail": None}
    run(lab, state_machine(lab, {"Send": task("sqs:sendMessage", {"QueueUrl": url, "MessageBody": body})}), {"id": "1"})
    return json.loads(receive_one(lab, url, WaitTimeSeconds=10)["Body"])


# AWS documents neither that it does nor that it does not. Workers continue the trace where there is a header; where
# there is none, a trace begins at the message, and its span names the execution.
@fact(
    "The message that a traced execution sends has the execution's trace header, or none.",
    source=WORKFLOW_GUIDE + "concepts-xray-tracing.html",
    relied_on_by=("workers/tracing/context.py::parent_of", "workers/tracing/deliveries.py::execution_arn"),
    expected=AnyOf(("the execution's", "none")),
)
def a_traced_execution_sends_its_trace_header(lab: Lab) -> object:
    url = lab.queue()
    machine = state_machine(lab, {"Send": task("sqs:sendMessage", {"QueueUrl": url, "MessageBody": "x"})}, traced=True)
    now = f"{int(time.time()):08x}"
    root = f"1-{now}-{uuid.uuid4().hex[:24]}"
    lab.workflows.start_execution(
        stateMachineArn=machine, name=lab.name(), input="{}", traceHeader=f"Root={root};Sampled=1"
    )
    header = receive_one(lab, url, WaitTimeSeconds=20)["Attributes"].get("AWSTraceHeader")
    return "none" if header is None else "the execution's" if root in header else "another"


@fact(
    "States.ALL in a Catch takes the States.QueryEvaluationError of a task's arguments.",
    source=WORKFLOW_GUIDE + "transforming-data.html",
    relied_on_by=(f"{_DEFINITION}::States.ALL",),
    expected={"caught": "States.QueryEvaluationError"},
)
def an_error_in_arguments_is_caught(lab: Lab) -> object:
    arguments = {"TableName": table_of(lab), "Key": {"OrderId": {"S": "{% $states.input.nothing %}"}}}
    return output_of(lab, {"Read": read_task(arguments, Catch=_caught("States.ALL")), **PASS})


@fact(
    "With MaxAttempts 2, a task is tried three times.",
    source=_ERRORS,
    relied_on_by=(f"{_DEFINITION}::MaxAttempts",),
    expected=3,
)
def a_retry_tries_again(lab: Lab) -> object:
    put = {"TableName": f"{lab.prefix}missing", "Item": {"OrderId": {"S": "x"}}}
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1}]
    arn = state_machine(lab, {"Put": task("dynamodb:putItem", put, Retry=retry)})
    events = events_of(lab, run(lab, arn)["executionArn"])
    return sum(event["type"] == "TaskFailed" for event in events)


@fact(
    "A Choice without a match assigns the state's variables and goes to Default. With a match, the rule's variables "
    "and output count; whether the state's are assigned as well, the sources disagree.",
    source=RECORDED
    + "stepfunctions/v2/assign/test_assign_base.py (test_assign_in_choice), "
    + WORKFLOW_GUIDE
    + "state-choice.html",
    relied_on_by=(f"{_DEFINITION}::Check the order", f"{_DEFINITION}::Put message in Queue"),
    expected=[{"assigned": "state"}, {"assigned": "rule", "output": 1}],
)
def a_choice_assigns(lab: Lab) -> object:
    rule = {"Condition": "{% $states.input.match %}", "Assign": {"it": "rule"}, "Output": {"it": 1}, "Next": "Matched"}
    states: States = {
        "Choose": {"Type": "Choice", "Choices": [rule], "Assign": {"it": "state"}, "Default": "Not matched"},
        "Matched": {
            "Type": "Pass",
            "Output": {"assigned": "{% $it %}", "output": "{% $states.input.it %}"},
            "End": True,
        },
        "Not matched": {"Type": "Pass", "Output": {"assigned": "{% $it %}"}, "End": True},
    }
    return [output_of(lab, states, {"match": match}) for match in (False, True)]


@fact(
    "Error and Cause of a Fail state may be expressions, and are the execution's error and cause.",
    source=WORKFLOW_GUIDE + "state-fail.html",
    relied_on_by=(f"{_DEFINITION}::Cause", "workers/operations/executions.py::_MEANINGS"),
    expected=["FAILED", "E", "because of 1"],
)
def a_fail_state_has_an_expression_as_cause(lab: Lab) -> object:
    states: States = {
        "Assign": {"Type": "Pass", "Assign": {"x": 1}, "Next": "Fail"},
        "Fail": {"Type": "Fail", "Error": "E", "Cause": "{% 'because of ' & $string($x) %}"},
    }
    described = run(lab, state_machine(lab, states))
    return [described["status"], described.get("error"), described.get("cause")]
