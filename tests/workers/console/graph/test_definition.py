"""Definitions as graphs: every type of state, and what the lines between them say."""

from typing import Any

import pytest

from tests.workers.console.graph.machines import DEFINITIONS, definition
from workers.console.graph.definition import END, START, Graph, parse
from workers.console.graph.resources import action_of


def graph(**states: dict[str, Any]) -> Graph:
    return parse({"StartAt": next(iter(states)), "States": states})


def lines(parsed: Graph) -> list[tuple[str, str, str, str]]:
    names = {node.id: node.name for node in parsed.nodes}
    return [(names[line.source], names[line.target], line.kind, line.label) for line in parsed.lines]


def test_the_order_workflow_has_all_its_lines() -> None:
    failed, escalated = "Put failed order in Escalation Queue", "Put message in Escalation Queue"
    fulfilled, malformed = "Put message in OrderFulfillment Queue", "Put malformed order in Escalation Queue"
    assert lines(parse(definition("order-fulfillment"))) == [
        (START, "Check the order", "start", ""),
        ("Check the order", malformed, "choice", "not an object / default"),
        ("Check the order", "Update the order table", "choice", "well-formed"),
        ("Update the order table", "Are details Proper", "next", ""),
        ("Update the order table", "Order is a duplicate", "catch", "ConditionalCheckFailed"),
        ("Update the order table", failed, "catch", "any error"),
        ("Are details Proper", "Put message in Queue", "next", ""),
        ("Are details Proper", escalated, "catch", "any error"),
        ("Put message in Queue", fulfilled, "choice", "proper"),
        ("Put message in Queue", escalated, "choice", "not proper"),
        ("Put message in Queue", failed, "default", "default"),
        (fulfilled, END, "end", ""),
        (fulfilled, failed, "catch", "any error"),
        (escalated, END, "end", ""),
        (escalated, "Escalation was not sent", "catch", "any error"),
        (malformed, "Order is malformed", "next", ""),
        (malformed, "Escalation was not sent", "catch", "any error"),
        (failed, "Workflow failed", "next", ""),
        (failed, "Escalation was not sent", "catch", "any error"),
    ]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_all_rules_of_our_definitions_have_a_label(name: str) -> None:
    labels = [
        line.label for node, _ in parse(definition(name)).walk() for machine in node.inside for line in machine.lines
    ]
    labels += [line.label for line in parse(definition(name)).lines]
    assert not [label for label in labels if label.startswith("rule ")]


def test_every_type_of_state_has_its_words_and_its_icon() -> None:
    inside = {"StartAt": "B", "States": {"B": {"Type": "Succeed"}}}
    parsed = graph(
        Pass={"Type": "Pass", "Next": "Wait"},
        Wait={"Type": "Wait", "Seconds": 5, "Next": "Until"},
        Until={"Type": "Wait", "Timestamp": "2026-11-26T00:00:00Z", "Next": "Choice"},
        Choice={"Type": "Choice", "Choices": [{"Next": "Fail"}], "Default": "Map"},
        Map={"Type": "Map", "ItemProcessor": inside, "Next": "Old map"},
        **{"Old map": {"Type": "Map", "Iterator": inside, "Next": "Distributed"}},
        Distributed={
            "Type": "Map",
            "ItemProcessor": inside | {"ProcessorConfig": {"Mode": "DISTRIBUTED"}},
            "Next": "Parallel",
        },
        Parallel={"Type": "Parallel", "Branches": [inside, inside], "Next": "Succeed"},
        Succeed={"Type": "Succeed"},
        Fail={"Type": "Fail", "Error": "Refused"},
        Worked={"Type": "Fail", "ErrorPath": "$.error"},
    )
    assert [(node.name, node.subtitle, node.icon, len(node.inside)) for node in parsed.nodes if node.is_state] == [
        ("Pass", "Pass state", "pass", 0),
        ("Wait", "Wait: 5 s", "wait", 0),
        ("Until", "Wait state", "wait", 0),
        ("Choice", "Choice state", "choice", 0),
        ("Map", "Map: for each item", "map", 1),
        ("Old map", "Map: for each item", "map", 1),
        ("Distributed", "Map: an execution for each batch", "map", 1),
        ("Parallel", "Parallel: all at once", "parallel", 2),
        ("Succeed", "Succeed state", "succeed", 0),
        ("Fail", "Fail: Refused", "fail", 0),
        ("Worked", "Fail state", "fail", 0),
    ]
    assert [node.name for node in parsed.nodes if node.is_distributed] == ["Distributed"]
    ids = [node.id for node, _ in parsed.walk()]
    assert len(ids) == len(set(ids))
    assert ("Succeed", END, "end", "") in lines(parsed)
    assert ("Choice", "Fail", "choice", "rule 1") in lines(parsed)


def test_states_of_nested_machines_follow_the_state_they_are_in() -> None:
    walked = [
        (node.name, parent.name if parent else None) for node, parent in parse(definition("stuck-order-sweep")).walk()
    ]
    at = walked.index(("Look for stuck orders", None))
    assert walked[at + 1 : at + 5] == [
        (START, "Look for stuck orders"),
        ("Query a shard", "Look for stuck orders"),
        ("Query failed", "Look for stuck orders"),
        (END, "Look for stuck orders"),
    ]


@pytest.mark.parametrize(
    ("errors", "label"),
    [
        (["States.ALL"], "any error"),
        (["Own.Error", "States.ALL"], "any error"),
        (["DynamoDB.ConditionalCheckFailedException"], "ConditionalCheckFailed"),
        (["StepFunctions.ExecutionAlreadyExistsException", "ExecutionAlreadyExists"], "ExecutionAlreadyExists"),
        (["A.One", "B.Two"], "One, Two"),
        (["A.One", "B.Two", "C.Three"], "One, Two and 1 more"),
        (["One", "C.One", "B.Two"], "One, Two"),
        ([], "any error"),
        ("States.Timeout", "any error"),
    ],
)
def test_a_catch_names_its_errors(errors: Any, label: str) -> None:
    parsed = graph(A={"Type": "Task", "End": True, "Catch": [{"ErrorEquals": errors, "Next": "B"}]}, B={"Type": "Fail"})
    assert ("A", "B", "catch", label) in lines(parsed)


def test_two_ways_to_the_same_state_are_one_line() -> None:
    catcher = [{"ErrorEquals": ["States.ALL"], "Next": "B"}]
    parsed = graph(A={"Type": "Task", "Next": "B", "Catch": catcher}, B={"Type": "Succeed"})
    (line,) = [line for line in parsed.lines if line.kind == "next"]
    assert (line.label, line.is_also_catch) == ("also on any error", True)
    choice = {"Type": "Choice", "Choices": [{"Next": "B"}, {"Next": "B", "Comment": "no"}], "Catch": catcher}
    parsed = graph(A=choice, B={"Type": "Succeed"})
    (line,) = [line for line in parsed.lines if line.kind == "choice"]
    assert (line.label, line.is_also_catch) == ("rule 1 / no / any error", True)
    two = [{"ErrorEquals": [error], "Next": "B"} for error in ("One", "Two")]
    parsed = graph(A={"Type": "Task", "End": True, "Catch": two}, B={"Type": "Succeed"})
    (line,) = [line for line in parsed.lines if line.kind == "catch"]
    assert (line.label, line.is_also_catch) == ("One / Two", False)


@pytest.mark.parametrize(
    ("comment", "label"),
    [
        ("a comment that has far more words than a line", "a comment that has far more w…"),
        ("x" * 30, "x" * 30),
        ("x" * 31, "x" * 29 + "…"),
        ("x" * 28 + " and more", "x" * 28 + "…"),
    ],
)
def test_a_long_label_is_cut_and_kept_in_full(comment: str, label: str) -> None:
    rule = {"Comment": comment, "Next": "B"}
    parsed = graph(A={"Type": "Choice", "Choices": [rule]}, B={"Type": "Succeed"})
    (line,) = [line for line in parsed.lines if line.kind == "choice"]
    assert (line.label, line.full_label, line.is_also_catch) == (label, comment, False)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"StartAt": "A", "States": None},
        {"StartAt": 1, "States": {"A": "no state"}},
        {"StartAt": "A", "States": {"A": {"Type": "Choice", "Choices": "none", "Default": "missing"}}},
        {"StartAt": "A", "States": {"A": {"Type": "Map", "ItemProcessor": [], "Catch": [3], "Next": "missing"}}},
        {"StartAt": "A", "States": {"A": {"Type": "Parallel", "Branches": {}, "End": "yes"}}},
    ],
)
def test_what_is_wrong_in_a_definition_is_left_out(broken: dict[str, Any]) -> None:
    parsed = parse(broken)
    ids = {node.id for node in parsed.nodes}
    assert parsed.nodes[0].name == START
    assert all({line.source, line.target} <= ids for line in parsed.lines)


@pytest.mark.parametrize(
    ("resource", "action"),
    [
        ("arn:aws:states:::dynamodb:putItem", ("DynamoDB: PutItem", "dynamodb")),
        ("arn:${Partition}:states:::aws-sdk:sqs:getQueueAttributes", ("SQS: GetQueueAttributes", "sqs")),
        ("arn:aws-cn:states:::lambda:invoke.waitForTaskToken", ("Lambda: Invoke", "lambda")),
        ("arn:aws:states:::aws-sdk:sfn:describeExecution", ("Step Functions: DescribeExecution", "states")),
        ("arn:aws:states:::events:putEvents", ("EventBridge: PutEvents", "events")),
        ("arn:aws:states:::glue:startJobRun.sync", ("glue: StartJobRun", "task")),
        ("arn:aws:lambda:eu-west-1:000000000000:function:verify:live", ("Lambda: Invoke", "lambda")),
        ("arn:aws:states:eu-west-1:000000000000:activity:By hand", ("Activity: By hand", "task")),
        ("{% $resource %}", ("Task state", "task")),
        ("", ("Task state", "task")),
    ],
)
def test_a_task_says_what_it_calls(resource: str, action: tuple[str, str]) -> None:
    assert action_of(resource) == action
