"""The changes of a change set: shown before it is executed, and refused if they would lose data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import template

if TYPE_CHECKING:
    from mypy_boto3_cloudformation.type_defs import ResourceChangeTypeDef

_HOLD_DATA = frozenset({template.TABLE_TYPE, template.QUEUE_TYPE})
_REPLACED = {"True": "replaced", "Conditional": "may be replaced", "False": "in place"}
_FATES = {"removed": "would be removed", "replaced": "would be replaced", "may be replaced": "may be replaced"}
_ATTRIBUTES = "AttributeDefinitions"


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """How a change set changes one resource. `properties` names the properties that change."""

    action: str
    logical_id: str
    type: str
    replacement: str = ""
    properties: tuple[str, ...] = ()

    @property
    def touches_data(self) -> bool:
        return self.type in _HOLD_DATA and self.action in {"Modify", "Remove"}

    @property
    def loses_data(self) -> bool:
        """Whether this removes or replaces a table or queue, or may replace it according to AWS."""
        return self.touches_data and (self.action == "Remove" or self.replacement in {"replaced", "may be replaced"})

    @property
    def fate(self) -> str:
        return "removed" if self.action == "Remove" else self.replacement


@dataclass(frozen=True, slots=True)
class Review:
    """
    How a change set is approved.

    `confirm` is called if a table or queue changes. If one would be replaced or removed, `allow_replacement` must also
    be set; otherwise the change set is refused, and `remedy` says what to do.
    """

    confirm: Callable[[], bool]
    allow_replacement: bool = False
    remedy: str = "To do it anyway: --allow-replacement"

    def __call__(self, stack_name: str, changes: Sequence[ResourceChange], progress: Progress) -> None:
        """Show `changes`. Raises `DeployError` if they are not approved."""
        progress.note(f"Changes to {stack_name}:")
        for line in _lines(changes):
            progress.note(f"  {line}")
        losing = [change for change in changes if change.loses_data]
        if losing and not self.allow_replacement:
            named = ", ".join(f"{change.logical_id} {_FATES[change.fate]}" for change in losing)
            raise DeployError(f"Nothing was changed: {named}, with everything in it. {self.remedy}")
        if any(change.touches_data for change in changes) and not self.confirm():
            raise DeployError("Nothing was changed")


AGREED = Review(confirm=lambda: True)


class ChangeSet(TypedDict):
    """The arguments that name a change set in a request: the names of its stack and its own."""

    StackName: str
    ChangeSetName: str


def read(aws: Aws, change_set: ChangeSet, new: Mapping[str, Any]) -> list[ResourceChange]:
    """Return the changes of a change set, in AWS's order. `new` is the template of the change set."""
    pages = aws.cloudformation.get_paginator("describe_change_set").paginate(**change_set)
    found, stack_id = [], ""
    for page in pages:
        stack_id = page["StackId"]
        found += [change["ResourceChange"] for change in page["Changes"] if "ResourceChange" in change]
    changes = [_change(resource) for resource in found]
    if not any(_changes_attributes(change) for change in changes):
        return changes
    old = _deployed(aws, stack_id)
    return [_clarified(change, old, new) if _changes_attributes(change) else change for change in changes]


def _change(resource: "ResourceChangeTypeDef") -> ResourceChange:
    targets = [detail.get("Target", {}) for detail in resource.get("Details", [])]
    names = [str(target.get("Name") or target.get("Attribute", "")) for target in targets]
    return ResourceChange(
        action=resource["Action"],
        logical_id=resource["LogicalResourceId"],
        type=resource["ResourceType"],
        replacement=_REPLACED.get(resource.get("Replacement", ""), ""),
        properties=tuple(dict.fromkeys(names)),
    )


def _changes_attributes(change: ResourceChange) -> bool:
    return change.type == template.TABLE_TYPE and change.touches_data and _ATTRIBUTES in change.properties


def _clarified(change: ResourceChange, old: Mapping[str, Any], new: Mapping[str, Any]) -> ResourceChange:
    """
    Decide whether changed attribute definitions replace a table. CloudFormation says only that they may.

    They replace it if an attribute's type changes, but not if an attribute is added. Without this check, a new index
    would look like the loss of its table, because it needs new attributes.
    """
    before, after = (
        {
            attribute["AttributeName"]: attribute["AttributeType"]
            for attribute in source["Resources"][change.logical_id]["Properties"][_ATTRIBUTES]
        }
        for source in (old, new)
    )
    if any(after.get(name, kind) != kind for name, kind in before.items()):
        return replace(change, replacement=_REPLACED["True"])
    doubtful = change.replacement == _REPLACED["Conditional"] and "KeySchema" not in change.properties
    return replace(change, replacement=_REPLACED["False"]) if doubtful else change


def _deployed(aws: Aws, stack_id: str) -> Mapping[str, Any]:
    body: Any = aws.cloudformation.get_template(StackName=stack_id)["TemplateBody"]
    return template.parse(body, "deployed") if isinstance(body, str) else body


def _lines(changes: Sequence[ResourceChange]) -> list[str]:
    rows = [
        (change.action, change.logical_id, change.type, change.fate, ", ".join(change.properties)) for change in changes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
    return [
        "  ".join([*(f"{text:<{w}}" for text, w in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows
    ]
