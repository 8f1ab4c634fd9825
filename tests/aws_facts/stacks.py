"""
What several checks do with stacks. Each stack holds one SNS topic: a topic costs nothing and is made within seconds.

`stack_of` makes the run's stack, and keeps what was seen on the way.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.aws_facts.lab import Lab

STACK_API = "https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/"
STACK_GUIDE = "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/"

_TIMEOUT_S = 180.0
_POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack's name; its status while its first change set was not executed, and afterward; its outputs' names."""

    name: str
    reviewed: str
    made: str
    outputs: list[str]


def template(**properties: str) -> str:
    """Return a template with one topic, which has these properties."""
    return json.dumps(
        {
            "Parameters": {"Mark": {"Type": "String", "Default": "x"}},
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": properties}},
            "Outputs": {"TopicArn": {"Value": {"Ref": "Topic"}}, "Mark": {"Value": {"Ref": "Mark"}}},
        }
    )


def stack_of(lab: Lab) -> Stack:
    """Return the run's stack. Checks create change sets for it, but execute none: that would delete the others."""
    return lab.shared("stack", lambda: create_stack(lab))


def create_stack(lab: Lab) -> Stack:
    cloudformation, name = lab.client("cloudformation"), lab.name()
    lab.removes(lambda: remove_stack(lab, name))
    change_set = propose(
        lab, name, template(), "CREATE", Parameters=[{"ParameterKey": "Mark", "ParameterValue": "kept"}]
    )
    reviewed = described(lab, name)["StackStatus"]
    cloudformation.execute_change_set(ChangeSetName=change_set["ChangeSetId"])
    made = settled(lab, name)
    return Stack(name, reviewed, made["StackStatus"], sorted(output["OutputKey"] for output in made.get("Outputs", [])))


def propose(lab: Lab, name: str, body: str, kind: str, **more: object) -> dict[str, Any]:
    """Create a change set; return its description when it is ready or has failed."""
    cloudformation = lab.client("cloudformation")
    arn = cloudformation.create_change_set(
        StackName=name, ChangeSetName=lab.name(), ChangeSetType=kind, TemplateBody=body, **more
    )["Id"]

    def describe() -> dict[str, Any]:
        answer: dict[str, Any] = cloudformation.describe_change_set(ChangeSetName=arn)
        return answer

    return _wait(lab, describe, lambda change_set: change_set["Status"] in {"CREATE_COMPLETE", "FAILED"})


def described(lab: Lab, name: str) -> dict[str, Any]:
    stack: dict[str, Any] = lab.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    return stack


def settled(lab: Lab, name: str) -> dict[str, Any]:
    """Wait until the stack is not being changed; return its description."""
    return _wait(lab, lambda: described(lab, name), lambda stack: not stack["StackStatus"].endswith("_IN_PROGRESS"))


def _wait(lab: Lab, look: Callable[[], dict[str, Any]], is_done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    waited_s = 0.0
    while not is_done(found := look()) and waited_s < _TIMEOUT_S:
        lab.sleep(_POLL_S)
        waited_s += _POLL_S
    return found


def remove_stack(lab: Lab, name: str) -> None:
    """Delete the stack and wait until it is gone."""
    cloudformation = lab.client("cloudformation")
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 900}
    )
