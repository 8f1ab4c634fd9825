"""Executions on a scripted Step Functions, with their histories."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tests.workers.operations.fakes import NOW, FakeClient, refused

PREFIX = "arn:aws:states:us-east-1:000000000000"
ORDERS = f"{PREFIX}:stateMachine:OrderFulfillmentStateMachine"
RETRY = {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 4, "MaxAttempts": 8, "MaxDelaySeconds": 28}
DEFINITION: dict[str, Any] = {
    "StartAt": "Check",
    "States": {
        "Check": {
            "Type": "Choice",
            "Choices": [{"Comment": "proper", "Next": "Verify"}],
            "Default": "Refused",
        },
        "Verify": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "TimeoutSeconds": 10,
            "Retry": [RETRY],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Send"}],
            "End": True,
        },
        "Send": {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True},
        "Refused": {"Type": "Fail", "Error": "Refused"},
    },
}


def execution_arn(name: str, machine: str = "OrderFulfillmentStateMachine") -> str:
    return f"{PREFIX}:execution:{machine}:{name}"


def at(seconds: float) -> datetime:
    """Return a time after the start of an execution, which was an hour ago."""
    return NOW - timedelta(hours=1) + timedelta(seconds=seconds)


def events(*kinds: tuple[str, dict[str, Any]] | str) -> list[dict[str, Any]]:
    """Return a history: types of events, each half a second after the one before, with their details."""
    made: list[dict[str, Any]] = []
    for number, kind in enumerate(kinds, 1):
        name, details = (kind, {}) if isinstance(kind, str) else kind
        made.append({"id": number, "previousEventId": number - 1, "timestamp": at(number / 2), "type": name, **details})
    return made


def entered(name: str, kind: str = "Task") -> tuple[str, dict[str, Any]]:
    return f"{kind}StateEntered", {"stateEnteredEventDetails": {"name": name}}


def left(name: str, kind: str = "Task") -> tuple[str, dict[str, Any]]:
    return f"{kind}StateExited", {"stateExitedEventDetails": {"name": name}}


def scheduled() -> tuple[str, dict[str, Any]]:
    """Return the event of a call; the data in it must never be shown."""
    details = {"resourceType": "lambda", "resource": "invoke", "region": "us-east-1", "parameters": '{"CC":"secret"}'}
    return "TaskScheduled", {"taskScheduledEventDetails": details}


def failed(error: str = "Lambda.Down", cause: str = "no answer") -> tuple[str, dict[str, Any]]:
    return "TaskFailed", {"taskFailedEventDetails": {"error": error, "cause": cause}}


def caught(cause: str = "no answer") -> list[dict[str, Any]]:
    """Return the history of an execution whose verification failed twice, so that it was escalated."""
    check = (entered("Check", "Choice"), left("Check", "Choice"), entered("Verify"))
    tries = (scheduled(), failed(cause=cause), scheduled(), failed(cause=cause), left("Verify"))
    return events(
        "ExecutionStarted",
        *check,
        *tries,
        entered("Send"),
        scheduled(),
        "TaskSucceeded",
        left("Send"),
        "ExecutionSucceeded",
    )


def refused_order() -> list[dict[str, Any]]:
    end = "ExecutionFailed", {"executionFailedEventDetails": {"error": "Refused", "cause": "It is wrong."}}
    return events(
        "ExecutionStarted", entered("Check", "Choice"), left("Check", "Choice"), entered("Refused", "Fail"), end
    )


class States:
    """A Step Functions: executions of the order workflow by name, each a status and a history."""

    def __init__(self, **runs: tuple[str, Sequence[Mapping[str, Any]]]) -> None:
        self.runs = {execution_arn(name.replace("_", "-")): run for name, run in runs.items()}
        self.machines = {ORDERS: DEFINITION}
        self.more: dict[str, Any] = {}
        self.client = FakeClient(
            describe_state_machine=self._machine,
            list_executions=self._list,
            describe_execution=self._execution,
            describe_state_machine_for_execution=lambda **_: {"definition": json.dumps(DEFINITION)},
            get_execution_history=self._history,
            list_map_runs=lambda **_: {"mapRuns": []},
        )

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.client.requests)

    def _machine(self, stateMachineArn: str) -> Any:  # noqa: N803 - the SDK's name.
        if stateMachineArn not in self.machines:
            raise refused("StateMachineDoesNotExist", "DescribeStateMachine")
        return {"definition": json.dumps(self.machines[stateMachineArn])}

    def _list(self, stateMachineArn: str, statusFilter: str, maxResults: int) -> Any:  # noqa: N803
        if stateMachineArn not in self.machines:
            raise refused("StateMachineDoesNotExist", "ListExecutions")
        found = [self._described(arn) for arn, (status, _) in self.runs.items() if status == statusFilter]
        return {"executions": found[:maxResults], **({"nextToken": "more"} if len(found) > maxResults else {})}

    def _execution(self, executionArn: str, includedData: str) -> Any:  # noqa: N803
        assert includedData == "METADATA_ONLY"
        if executionArn not in self.runs:
            raise refused("ExecutionDoesNotExist", "DescribeExecution")
        return {**self._described(executionArn), "input": "secret", "output": "secret", **self.more}

    def _described(self, arn: str) -> dict[str, Any]:
        status, history = self.runs[arn]
        end = {} if status == "RUNNING" else {"stopDate": history[-1]["timestamp"] if history else at(1)}
        return {"executionArn": arn, "name": arn.rpartition(":")[2], "status": status, "startDate": at(0), **end}

    def _history(self, executionArn: str, includeExecutionData: bool, maxResults: int, **page: Any) -> Any:  # noqa: N803
        assert includeExecutionData is False
        if executionArn not in self.runs:
            raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        history = list(self.runs[executionArn][1])
        history = history[::-1] if page.get("reverseOrder") else history
        start = int(page.get("nextToken", 0))
        more = {"nextToken": str(start + maxResults)} if len(history) > start + maxResults else {}
        return {"events": history[start : start + maxResults], **more}


def tables(orders: Sequence[Mapping[str, str]] = (), cases: Sequence[Mapping[str, str]] = ()) -> FakeClient:
    """Return a DynamoDB with these items, whose index has all orders under the key of their status and id."""

    def item(values: Mapping[str, str]) -> dict[str, Any]:
        return {name: {"S": value} for name, value in values.items()}

    def query(ExpressionAttributeValues: Any, **_: Any) -> list[Any]:  # noqa: N803 - the SDK's name.
        key = ExpressionAttributeValues[":key"]["S"]
        return [{"Items": [item(order) for order in orders if order.get("OpenKey") == key]}]

    def get(Key: Any, **_: Any) -> Any:  # noqa: N803 - the name of the SDK.
        ((name, value),) = Key.items()
        items = orders if name == "OrderId" else cases
        found = next((item(each) for each in items if each[name] == value["S"]), None)
        return {"Item": found} if found else {}

    def get_many(RequestItems: Any) -> Any:  # noqa: N803 - the SDK's name.
        ((table, request),) = RequestItems.items()
        wanted = {key["OrderId"]["S"] for key in request["Keys"]}
        return {"Responses": {table: [item(order) for order in orders if order["OrderId"] in wanted]}}

    return FakeClient(query=query, get_item=get, batch_get_item=get_many)
