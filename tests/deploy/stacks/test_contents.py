"""What deleting a pipeline would lose."""

from typing import Any

import pytest

from deploy.stacks import contents
from deploy.stacks.contents import Contents, Queue, Table
from tests.deploy.stacks.fakes import FakeClient, MissingError, failing, fake_aws

FULL = Contents(
    tables=(Table("Orders", 1, more=False), Table("Cases", 2, more=True), Table("Empty", 0, more=False)),
    queues=(Queue("Queue", 1, 2, 3), Queue("DLQ", 0, 0, 1), Queue("Idle", 0, 0, 0)),
    running_executions=2,
)


def test_contents_are_shown_in_a_line_each() -> None:
    assert FULL.lines() == [
        "Orders  1 item",
        "Cases   more than 2 items",
        "Empty   0 items",
        "Queue   6 messages (1 visible, 2 in flight, 3 delayed)",
        "DLQ     1 message (0 visible, 0 in flight, 1 delayed)",
        "Idle    0 messages (0 visible, 0 in flight, 0 delayed)",
        "2 running executions",
    ]
    assert Contents((), (), 1).lines() == ["1 running execution"]


def test_losses_are_all_that_is_not_empty() -> None:
    assert FULL.losses() == [
        "Orders holds 1 item",
        "Cases holds more than 2 items",
        "Queue holds 6 messages (1 visible, 2 in flight, 3 delayed)",
        "DLQ holds 1 message (0 visible, 0 in flight, 1 delayed)",
        "2 executions are running",
    ]
    assert Contents((), (), 1).losses() == ["1 execution is running"]
    assert Contents((Table("Empty", 0, more=False),), (Queue("Idle", 0, 0, 0),), 0).losses() == []


@pytest.mark.parametrize("queue", [Queue("Q", 1, 0, 0), Queue("Q", 0, 1, 0), Queue("Q", 0, 0, 1)])
def test_a_message_in_any_state_would_be_lost(queue: Queue) -> None:
    assert (queue.messages, len(Contents((), (queue,), 0).losses())) == (1, 1)


def stack(**types: str) -> FakeClient:
    names = {"queue": "AWS::SQS::Queue", "machine": "AWS::StepFunctions::StateMachine"}
    summaries = [
        {"ResourceType": names[kind], "PhysicalResourceId": physical_id, "ResourceStatus": "CREATE_COMPLETE"}
        for kind, physical_id in types.items()
    ]
    return FakeClient(list_stack_resources=lambda **_: [{"StackResourceSummaries": summaries}])


def test_the_contents_of_a_stack_are_counted() -> None:
    counts = {"": "1", "NotVisible": "2", "Delayed": "3"}
    pages = {"Orders": {"Count": 5}, "Cases": {"Count": 7, "LastEvaluatedKey": {}}}
    dynamodb = FakeClient(scan=lambda **request: pages[request["TableName"]])
    sqs = FakeClient(
        get_queue_attributes=lambda **_: {
            "Attributes": {f"ApproximateNumberOfMessages{state}": count for state, count in counts.items()}
        }
    )
    executions: list[dict[str, Any]] = [{"executions": [{}, {}]}, {"executions": [{}]}]
    stepfunctions = FakeClient(list_executions=lambda **_: executions)
    resources = stack(queue="https://sqs/1/Queue", machine="arn:machine")
    aws = fake_aws(cloudformation=resources, dynamodb=dynamodb, sqs=sqs, stepfunctions=stepfunctions)

    assert contents.look(aws, "mine", {"A": "Orders", "B": "Cases"}) == Contents(
        (Table("Orders", 5, more=False), Table("Cases", 7, more=True)), (Queue("Queue", 1, 2, 3),), 3
    )
    assert dynamodb.requests[0] == ("scan", {"TableName": "Orders", "Select": "COUNT", "ConsistentRead": True})
    names = [f"ApproximateNumberOfMessages{state}" for state in counts]
    assert [(request["QueueUrl"], list(request["AttributeNames"])) for _, request in sqs.requests] == [
        ("https://sqs/1/Queue", names)
    ]
    assert stepfunctions.requests == [
        ("list_executions", {"stateMachineArn": "arn:machine", "statusFilter": "RUNNING"})
    ]


def test_what_is_gone_already_holds_nothing() -> None:
    gone = failing(MissingError())
    aws = fake_aws(
        cloudformation=stack(queue="https://sqs/1/Queue", machine="arn:machine"),
        dynamodb=FakeClient(scan=gone),
        sqs=FakeClient(get_queue_attributes=gone),
        stepfunctions=FakeClient(list_executions=gone),
    )
    assert contents.look(aws, "mine", {"A": "Orders"}) == Contents((), (), 0)


def test_a_queue_that_may_not_be_looked_at_is_an_error() -> None:
    denied = FakeClient(get_queue_attributes=failing(ZeroDivisionError()))
    aws = fake_aws(cloudformation=stack(queue="https://sqs/1/Queue"), sqs=denied)
    with pytest.raises(ZeroDivisionError):
        contents.look(aws, "mine", {})
