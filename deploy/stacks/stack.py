"""One CloudFormation stack: find it, change it through a change set, watch it, delete it."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import Aws, explained
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import changes, events
from deploy.stacks.changes import AGREED, ChangeSet, Review
from deploy.stacks.events import Events

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import (
        ParameterTypeDef,
        ResourceToImportTypeDef,
        StackEventTypeDef,
        StackTypeDef,
        TagTypeDef,
    )

ChangeSetType = Literal["CREATE", "UPDATE", "IMPORT"]

# How long to wait for CloudFormation. Our stacks have few resources and need less, and AWS itself gives up sooner.
TIMEOUT_S = 3600.0
_FIRST_POLL_S = 0.1
_LONGEST_POLL_S = 3.0
# There is a change set to create the stack, but it was never executed. So there is no stack yet.
NEVER_EXECUTED = "REVIEW_IN_PROGRESS"
# The creation failed. Such a stack cannot be updated and holds nothing (retained tables are outside it).
_FAILED_CREATIONS = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"})
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/validate-stack-deployments.html
_VALIDATION = "AWS::EarlyValidation::"
_SUCCEEDED = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})


class StackFailedError(DeployError):
    """CloudFormation failed. The text names the first resource that failed, with AWS's reason."""


@dataclass(frozen=True, slots=True)
class Change:
    """
    The input of a change set.

    `template` is the request argument that carries `source`; `kept` names the parameters that keep their value;
    `imports` are existing resources that the stack takes over. Without `tags` or `role_arn`, the stack keeps its own.
    """

    kind: ChangeSetType
    source: Mapping[str, Any]
    template: Mapping[Literal["TemplateBody", "TemplateURL"], str]
    parameters: Mapping[str, str]
    kept: Collection[str] = ()
    imports: Sequence["ResourceToImportTypeDef"] = field(default_factory=tuple)
    tags: Sequence["TagTypeDef"] | None = None
    role_arn: str | None = None


def find(aws: Aws, name: str) -> "StackTypeDef | None":
    """Return the stack's description, or `None` if it does not exist."""
    try:
        return aws.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if events.is_missing(error):
            return None
        raise


def outputs(stack: "StackTypeDef") -> dict[str, str]:
    return {output["OutputKey"]: output.get("OutputValue", "") for output in stack.get("Outputs", [])}


def resources(aws: Aws, name: str) -> dict[str, list[str]]:
    """Return the physical ids of the stack's resources by type; empty if the stack does not exist."""
    found: dict[str, list[str]] = {}
    try:
        for page in aws.cloudformation.get_paginator("list_stack_resources").paginate(StackName=name):
            for resource in page["StackResourceSummaries"]:
                if resource["ResourceStatus"] != "DELETE_COMPLETE" and resource.get("PhysicalResourceId"):
                    found.setdefault(resource["ResourceType"], []).append(resource["PhysicalResourceId"])
    except ClientError as error:
        if not events.is_missing(error):
            raise
    return found


def check_idle(stack: "StackTypeDef") -> None:
    """Raise `DeployError` if the stack is being changed or deleted."""
    status = stack["StackStatus"]
    if status.endswith("_IN_PROGRESS") and status != NEVER_EXECUTED:
        raise DeployError(
            f"The stack {stack['StackName']} is busy ({status}). Wait until it is done: python -m deploy status"
        )


def make_ready(aws: Aws, name: str, progress: Progress) -> "StackTypeDef | None":
    """
    Return the stack, ready for an update, or `None` if it must be created.

    Deletes the rest of a failed creation. Raises `DeployError` if the stack is busy or must be repaired first.
    """
    stack = find(aws, name)
    if stack is None or stack["StackStatus"] == NEVER_EXECUTED:
        return None
    check_idle(stack)
    status = stack["StackStatus"]
    if status == "UPDATE_ROLLBACK_FAILED":
        raise DeployError(
            f"The stack {name} is stuck in {status}. Repair it first: "
            f"aws cloudformation continue-update-rollback --stack-name {name}"
        )
    if status == "DELETE_FAILED":  # What remains may be queues that hold messages.
        raise DeployError(f"The stack {name} is only partly deleted. Finish that first: python -m deploy down")
    if status in _FAILED_CREATIONS:
        progress.note(f"Deleting the rest of a failed attempt to create the stack {name} ({status})")
        delete(aws, name, progress)
        return None
    return stack


def exists(stack: "StackTypeDef | None") -> bool:
    """Return whether there is more of *stack* than an attempt to create it."""
    return stack is not None and stack["StackStatus"] not in {*_FAILED_CREATIONS, NEVER_EXECUTED}


def parameters(stack: "StackTypeDef | None") -> dict[str, str]:
    """Return the stack's parameters; empty if there is no stack."""
    given = stack.get("Parameters", []) if stack else []
    return {parameter["ParameterKey"]: parameter.get("ParameterValue", "") for parameter in given}


def apply(aws: Aws, name: str, change: Change, progress: Progress, review: Review = AGREED) -> bool:
    """
    Create a change set, execute it and wait. Updates are reviewed first. Returns whether anything changed.

    Raises `StackFailedError`. If `review` raises, the change set is deleted and nothing has changed.
    """
    # Every request names the stack, so that permissions on the stack suffice: the ARN of a change set does not name it.
    change_set = ChangeSet(StackName=name, ChangeSetName=f"deploy-{time.time_ns()}")
    stack_arn = aws.cloudformation.create_change_set(
        **change_set,
        ChangeSetType=change.kind,
        Parameters=_parameters(change),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        **change.template,  # type: ignore[arg-type]
        **_given(change),
    )["StackId"]
    if not _await_change_set(aws, change_set, stack_arn, change.kind):
        return False
    if change.kind == "UPDATE":
        try:
            review(name, changes.read(aws, change_set, change.source), progress)
        except BaseException:
            aws.cloudformation.delete_change_set(**change_set)
            raise
    since = Events(aws, stack_arn)
    since.skip()
    aws.cloudformation.execute_change_set(**change_set)
    status, cause = _watch(aws, since, progress)
    if status == "DELETE_COMPLETE":
        raise StackFailedError(f"The stack {name} was deleted while it was being deployed")
    if status not in _SUCCEEDED:
        raise StackFailedError(_failure(name, status, cause))
    return True


def _given(change: Change) -> Any:
    """Return the arguments that count only if they are there: without tags or role, the stack keeps its own."""
    imports = {"ResourcesToImport": change.imports} if change.imports else {}
    tags = {} if change.tags is None else {"Tags": change.tags}
    return {**imports, **tags, **({"RoleARN": change.role_arn} if change.role_arn else {})}


def _parameters(change: Change) -> "list[ParameterTypeDef]":
    given: list[ParameterTypeDef] = [
        {"ParameterKey": key, "ParameterValue": value} for key, value in change.parameters.items()
    ]
    kept: list[ParameterTypeDef] = [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(change.kept)]
    return given + kept


def deploy(
    aws: Aws, name: str, change: Change, progress: Progress, review: Review = AGREED
) -> "tuple[bool, StackTypeDef]":
    """Apply `change` and report it; returns whether anything changed, and the stack afterward."""
    progress.note(f"{'Updating' if change.kind == 'UPDATE' else 'Creating'} the stack {name} in {aws.region}")
    changed = apply(aws, name, change, progress, review)
    progress.note(f"The stack {name} is {'deployed' if changed else 'unchanged'}")
    try:
        deployed = find(aws, name)
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"{_unread(name)} cannot be read. {explained(error)}") from error
    if deployed is None:
        raise DeployError(f"The stack {name} was deleted while it was being deployed")
    if missing := sorted(_unconditional(change.source.get("Outputs", {})) - outputs(deployed).keys()):
        raise DeployError(f"{_unread(name)} cannot be read: AWS does not return {', '.join(missing)}")
    return changed, deployed


def _unread(name: str) -> str:
    return f"The stack {name} is ready (to look at it: python -m deploy status), but its outputs"


def _unconditional(outputs: Mapping[str, Any]) -> set[str]:
    return {name for name, output in outputs.items() if "Condition" not in output}


def _await_change_set(aws: Aws, change_set: ChangeSet, stack_arn: str, kind: ChangeSetType) -> bool:
    for _ in _polls(f"The change set {change_set['ChangeSetName']}"):
        described = aws.cloudformation.describe_change_set(**change_set)
        if described["Status"] == "CREATE_COMPLETE":
            return True
        if described["Status"] == "FAILED":
            break
    reason = described.get("StatusReason", "no reason given")
    if _VALIDATION in reason:  # It names the check only. The change set has the details, so keep it.
        named = f"--stack-name {change_set['StackName']} --change-set-name {change_set['ChangeSetName']}"
        command = f"aws cloudformation describe-events {named}"
        raise StackFailedError(
            f"Nothing was changed. CloudFormation does not accept the template: {reason} ({command})"
        )
    aws.cloudformation.delete_change_set(**change_set)
    if any(text in reason for text in _NO_CHANGES):
        return False
    if kind != "UPDATE":
        made = find(aws, stack_arn)
        if made and made["StackStatus"] == NEVER_EXECUTED:  # Else another deployment is creating it.
            aws.cloudformation.delete_stack(StackName=stack_arn)
    raise StackFailedError(f"CloudFormation does not accept the template: {reason}")


def delete(aws: Aws, name: str, progress: Progress) -> None:
    """Delete the stack and wait until it is gone; retained resources remain. Raises `StackFailedError`."""
    stack = find(aws, name)
    if stack is None:
        return
    arn = stack["StackId"]
    since = Events(aws, arn)
    since.skip()
    aws.cloudformation.delete_stack(StackName=arn)
    status, cause = _watch(aws, since, progress)
    if status != "DELETE_COMPLETE":
        raise StackFailedError(_failure(name, status, cause))


def _watch(aws: Aws, since: Events, progress: Progress) -> tuple[str, str]:
    """Show the stack's new events until it is idle; returns its last status, and what failed first, if anything."""
    happened: list[StackEventTypeDef] = []
    for _ in _polls("The stack"):
        stack = find(aws, since.stack_arn)  # Before its events, so that those of its last status are among them.
        new = since.new()
        happened += new
        for event in new:
            progress.detail(events.described(event))
        status = "DELETE_COMPLETE" if stack is None else str(stack["StackStatus"])
        if not status.endswith("_IN_PROGRESS"):
            break
    return status, events.cause(happened)


def _failure(name: str, status: str, cause: str) -> str:
    return f"The stack {name} failed ({status})" + (f": {cause}" if cause else "")


def _polls(what: str) -> Iterator[Any]:
    """Yield at growing intervals. Raises `DeployError` after `TIMEOUT_S`."""
    deadline = time.monotonic() + TIMEOUT_S
    pause_s = _FIRST_POLL_S
    while time.monotonic() < deadline:
        yield
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LONGEST_POLL_S)
    raise DeployError(f"{what} was not done within {TIMEOUT_S:.0f} s. To look at it: python -m deploy status")
