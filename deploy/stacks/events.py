"""The events of a stack: what CloudFormation does to each resource, and why something failed."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deploy.aws import Aws

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_cloudformation.type_defs import StackEventTypeDef


@dataclass(slots=True)
class Events:
    """
    The events of one stack, read from where the last look ended.

    AWS returns the newest events first, in pages. So a look ends at the first event that an earlier look has seen.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeStackEvents.html
    """

    aws: Aws
    stack_arn: str
    _seen: set[str] = field(default_factory=set)

    def skip(self) -> None:
        """Regard all events so far as seen."""
        newest = next(newest_first(self.aws, self.stack_arn), None)
        if newest:
            self._seen.add(newest["EventId"])

    def new(self) -> "list[StackEventTypeDef]":
        """Return the events since the last look, oldest first."""
        found: list[StackEventTypeDef] = []
        for event in newest_first(self.aws, self.stack_arn):
            if event["EventId"] in self._seen:
                break
            found.append(event)
        self._seen.update(event["EventId"] for event in found)
        return found[::-1]


def newest_first(aws: Aws, stack: str) -> "Iterator[StackEventTypeDef]":
    """Yield the events of a stack; none if it does not exist. A page is read only when it is needed."""
    try:
        for page in aws.cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
            yield from page["StackEvents"]
    except ClientError as error:
        if not is_missing(error):
            raise


def is_missing(error: ClientError) -> bool:
    """Return whether an error means that there is no such stack. CloudFormation has no error code for that."""
    return "does not exist" in error.response["Error"].get("Message", "")


def described(event: "StackEventTypeDef") -> str:
    reason = event.get("ResourceStatusReason", "")
    text = f"{event['LogicalResourceId']} ({event['ResourceType']}) {event['ResourceStatus']}"
    return f"{text}: {reason}" if reason else text


def cause(events: "Sequence[StackEventTypeDef]") -> str:
    """Describe the first resource that failed; empty if none did. Later ones were only cancelled."""
    failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
    causes = [event for event in failed if "cancelled" not in event.get("ResourceStatusReason", "")]
    return next((described(event) for event in causes or failed), "")
