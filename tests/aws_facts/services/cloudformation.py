"""Stacks and change sets."""

import json
from collections.abc import Callable
from typing import Any

from tests.aws_facts.fact import RECORDED, facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.stacks import STACK_API, STACK_GUIDE, create_stack, propose, settled, stack_of, template
from tests.aws_facts.tables import answer_of

fact = facts_of("cloudformation")

_RESOURCE_CHANGE = STACK_API + "API_ResourceChange.html"


@fact(
    "A missing stack is a ValidationError whose message says `does not exist`.",
    source=STACK_API + "API_DescribeStacks.html",
    relied_on_by=("deploy/stacks/events.py::is_missing",),
    expected=[["ValidationError", True]] * 3,
)
def a_missing_stack_does_not_exist(lab: Lab) -> object:
    cloudformation, name = lab.client("cloudformation"), lab.name()

    def error(call: Callable[..., Any]) -> list[object]:
        found = answer_of(call, StackName=name)["Error"]
        return [found["Code"], "does not exist" in found["Message"]]

    return [
        error(cloudformation.describe_stacks),
        error(cloudformation.describe_stack_events),
        error(cloudformation.list_stack_resources),
    ]


@fact(
    "A change set that creates a stack leaves it in REVIEW_IN_PROGRESS; executed, it has its outputs.",
    source=STACK_API + "API_CreateChangeSet.html",
    relied_on_by=("deploy/stacks/stack.py::NEVER_EXECUTED", "deploy/stacks/stack.py::outputs"),
    expected=["REVIEW_IN_PROGRESS", "CREATE_COMPLETE", ["Mark", "TopicArn"]],
)
def a_stack_is_made_by_a_change_set(lab: Lab) -> object:
    stack = stack_of(lab)
    return [stack.reviewed, stack.made, stack.outputs]


@fact(
    "A change set that changes nothing is FAILED, with `didn't contain changes` or `No updates are to be performed`.",
    source=RECORDED + "cloudformation/api/test_changesets.py (test_create_change_set_no_changes)",
    relied_on_by=("deploy/stacks/stack.py::_NO_CHANGES",),
    expected=["FAILED", True],
)
def a_change_set_without_changes_fails(lab: Lab) -> object:
    kept = [{"ParameterKey": "Mark", "UsePreviousValue": True}]
    found = propose(lab, stack_of(lab).name, template(), "UPDATE", Parameters=kept)
    reason = found.get("StatusReason", "")
    return [found["Status"], "didn't contain changes" in reason or "No updates are to be performed" in reason]


@fact(
    "A change set lists each resource that it changes, with its action, whether it is replaced, and its properties.",
    source=_RESOURCE_CHANGE,
    relied_on_by=("deploy/stacks/changes.py::_change", "deploy/stacks/changes.py::_REPLACED"),
    expected=[["Modify", "Topic", "AWS::SNS::Topic", "False", ["DisplayName"]], ["Modify", "True"]],
)
def a_change_set_lists_its_changes(lab: Lab) -> object:
    kept = [{"ParameterKey": "Mark", "UsePreviousValue": True}]
    name = stack_of(lab).name
    shown = propose(lab, name, template(DisplayName="x"), "UPDATE", Parameters=kept)
    renamed = propose(lab, name, template(TopicName=lab.name()), "UPDATE", Parameters=kept)
    (changed,), (replaced,) = ([c["ResourceChange"] for c in found["Changes"]] for found in (shown, renamed))
    names = [detail["Target"].get("Name") for detail in changed.get("Details", [])]
    kind = [changed[key] for key in ("Action", "LogicalResourceId", "ResourceType", "Replacement")]
    return [[*kind, names], [replaced["Action"], replaced["Replacement"]]]


@fact(
    "A template has at most 51,200 bytes in a request.",
    source=STACK_GUIDE + "cloudformation-limits.html",
    relied_on_by=("deploy/stacks/artifacts.py::MAX_INLINE_TEMPLATE_BYTES",),
    expected="ValidationError",
)
def an_inline_template_is_limited(lab: Lab) -> object:
    body = json.dumps(json.loads(template()) | {"Metadata": {"x": "x" * 51_200}})
    return error_of(
        lab.client("cloudformation").create_change_set,
        StackName=lab.name(),
        ChangeSetName=lab.name(),
        ChangeSetType="CREATE",
        TemplateBody=body,
    )


@fact(
    "UsePreviousValue keeps the value of a parameter.",
    source=STACK_API + "API_Parameter.html",
    relied_on_by=("deploy/stacks/stack.py::UsePreviousValue",),
    expected=["UPDATE_COMPLETE", "kept"],
)
def a_previous_value_is_kept(lab: Lab) -> object:
    name = create_stack(lab).name
    kept = [{"ParameterKey": "Mark", "UsePreviousValue": True}]
    change_set = propose(lab, name, template(DisplayName="y"), "UPDATE", Parameters=kept)
    lab.client("cloudformation").execute_change_set(ChangeSetName=change_set["ChangeSetId"])
    stack = settled(lab, name)
    values = {parameter["ParameterKey"]: parameter.get("ParameterValue") for parameter in stack.get("Parameters", [])}
    return [stack["StackStatus"], values.get("Mark")]
