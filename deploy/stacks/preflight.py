"""
What `up` checks before it creates anything.

CloudFormation would find these problems too, but only after minutes, and then roll everything back.
"""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import events, parameters, stack, template

# SQS says 60 s. Deletions spread: Terraform found that 60 s are not always enough, and waits for 70.
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
QUEUE_NAME_FREE_AFTER_S = 70.0
# CloudFormation's reason has SQS's text, without its code. The code in case that this changes.
_QUEUE_DELETED_RECENTLY = ("60 seconds after deleting a queue", "QueueDeletedRecently")
# No deletion of a stack takes longer: see stack.TIMEOUT_S.
_LONGEST_DELETION = timedelta(hours=2)

# With a new account's quota, often 10, a burst of orders is throttled. The usual quota is 1,000.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
FEW_EXECUTIONS = 100

# AWS creates these roles itself when they are first used, and then often fails because they are not usable yet.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using-service-linked-roles.html
# https://docs.aws.amazon.com/autoscaling/application/userguide/application-auto-scaling-service-linked-roles.html
SERVICE_LINKED_ROLES = {
    "ecs.amazonaws.com": "AWSServiceRoleForECS",
    "ecs.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_ECSService",
}
_ROLE_USABLE_AFTER_S = 15.0

_FUNCTION_TYPE = "AWS::Lambda::Function"
_SERVICE_TYPE = "AWS::ECS::Service"
_MAX_PREFIX = 30  # See NamePrefix in the templates.

_Deployed = TypeVar("_Deployed")


def check(aws: Aws, sources: Mapping[str, Mapping[str, Any]], name_prefix: str) -> None:
    """Raise `DeployError` if one of these stacks (name to template) cannot be deployed now. Changes nothing."""
    for name in sources:
        if existing := stack.find(aws, name):
            stack.check_idle(existing)
    for name, source in sources.items():
        check_global_names(aws, name, source, name_prefix)


def prepare(aws: Aws, sources: Mapping[str, Mapping[str, Any]], name_prefix: str, progress: Progress) -> None:
    """Report, create or wait for what these stacks (name to template) need in the account."""
    for name, source in sources.items():
        types = {resource["Type"] for resource in source["Resources"].values()}
        if _FUNCTION_TYPE in types:
            report_few_executions(aws, progress)
        if _SERVICE_TYPE in types and _SERVICE_TYPE not in stack.resources(aws, name):
            ensure_service_linked_roles(aws, progress)
        await_queue_names(aws, name, source, name_prefix, progress)


def check_global_names(aws: Aws, stack_name: str, source: Mapping[str, Any], name_prefix: str) -> None:
    """
    Raise `DeployError` if names that are the same in all regions of an account are taken by something else.

    These are the names of roles and dashboards. So a second region in the same account needs its own names.
    """
    ours = stack.resources(aws, stack_name)

    def missing(kind: str, name_property: str) -> Iterator[str]:
        names = template.names(source, {parameters.PREFIX: name_prefix}, kind, name_property)
        return (name for name in names.values() if name not in ours.get(kind, []))

    roles = {name: role for name in missing(template.ROLE_TYPE, "RoleName") if (role := _role(aws, name))}
    taken = [f"the role {name}" for name in roles]
    taken += [
        f"the dashboard {name}"
        for name in missing(template.DASHBOARD_TYPE, "DashboardName")
        if _is_dashboard(aws, name)
    ]
    if not taken:
        return
    regions = sorted({region for role in roles.values() if (region := _region(role))})
    where = f" A stack in {' and '.join(regions)} uses them." if regions else ""
    prefix = f"{name_prefix}{aws.region}-"
    raise DeployError(
        f"Nothing was created: {', '.join(taken)} exist already, and do not belong to the stack {stack_name}. "
        f"Such names must be unique in an account, over all its regions.{where} To deploy under other names: "
        f"--name-prefix {prefix if len(prefix) <= _MAX_PREFIX else f'{aws.region}-'}. "
        "If nothing uses them, delete them"
    )


def _role(aws: Aws, name: str) -> Any:
    with contextlib.suppress(aws.iam.exceptions.NoSuchEntityException):
        return aws.iam.get_role(RoleName=name)["Role"]
    return None


def _is_dashboard(aws: Aws, name: str) -> bool:
    try:
        aws.cloudwatch.get_dashboard(DashboardName=name)
    except ClientError as error:  # Its code depends on the SDK's protocol.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


def _region(role: Mapping[str, Any]) -> str:
    """Return the region whose services may use a role of this system; empty if its trust policy does not say."""
    found = re.search(r"arn:[a-z-]+:(?:states|ecs):([a-z0-9-]+):", json.dumps(role["AssumeRolePolicyDocument"]))
    return found[1] if found else ""


def await_queue_names(
    aws: Aws,
    stack_name: str,
    source: Mapping[str, Any],
    name_prefix: str,
    progress: Progress,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Wait until SQS accepts the names of queues that were deleted with, or in, this stack a moment ago."""
    names = template.names(source, {parameters.PREFIX: name_prefix}, template.QUEUE_TYPE, "QueueName")
    existing = {url.rpartition("/")[2] for url in stack.resources(aws, stack_name).get(template.QUEUE_TYPE, [])}
    if existing >= set(names.values()):
        return
    since = now() - timedelta(seconds=QUEUE_NAME_FREE_AFTER_S)
    stacks = [stack_name, *_deleted(aws, stack_name, now() - _LONGEST_DELETION)]
    times = [deleted for name in stacks if (deleted := _queue_deleted(aws, name, since))]
    if times:
        wait_s = (max(times) - since).total_seconds()
        progress.note(
            f"Waiting {wait_s:.0f} s: SQS refuses a queue's name for a minute after a queue of that name was deleted"
        )
        sleep(wait_s)


def _deleted(aws: Aws, stack_name: str, since: datetime) -> Iterator[str]:
    """Yield the ARNs of stacks of this name whose deletion began after `since`."""
    pages = aws.cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    for page in pages:
        for summary in page["StackSummaries"]:
            if summary["StackName"] == stack_name and summary.get("DeletionTime", since) >= since:
                yield summary["StackId"]


def _queue_deleted(aws: Aws, stack_arn: str, since: datetime) -> datetime | None:
    """Return when the stack's last queue was deleted, if that was after `since`."""
    for event in events.newest_first(aws, stack_arn):
        if event["Timestamp"] <= since:
            break
        if event["ResourceType"] == template.QUEUE_TYPE and event["ResourceStatus"] == "DELETE_COMPLETE":
            return event["Timestamp"]
    return None


def once_queue_names_are_free(
    deploy: Callable[[], _Deployed], progress: Progress, sleep: Callable[[float], None] = time.sleep
) -> _Deployed:
    """
    Call `deploy`; if SQS refuses the name of a queue that was deleted a moment ago, wait, and call it once more.

    Nothing shows beforehand that a queue was deleted by hand. CloudFormation has rolled everything back by now.
    """
    try:
        return deploy()
    except stack.StackFailedError as error:
        if not any(text in str(error) for text in _QUEUE_DELETED_RECENTLY):
            raise
        progress.note(str(error))
    progress.note(f"Waiting {QUEUE_NAME_FREE_AFTER_S:.0f} s until SQS accepts the name again, then trying once more")
    sleep(QUEUE_NAME_FREE_AFTER_S)
    return deploy()


def report_few_executions(aws: Aws, progress: Progress) -> None:
    """Say if Lambda's quota is so small that it throttles orders. Such a quota prevents no deployment."""
    try:
        limit = aws.lambda_.get_account_settings()["AccountLimit"]
    except ClientError as error:
        progress.note(f"Lambda's quota of concurrent executions is unknown ({error.response['Error'].get('Code')})")
        return
    executions = limit["UnreservedConcurrentExecutions"]
    if executions < FEW_EXECUTIONS:
        progress.note(
            f"Lambda may run only {executions} executions at a time here, shared by all functions without a reserve. "
            f"Beyond {executions * 10} orders a second, orders wait, and may be escalated as "
            "VERIFICATION_UNAVAILABLE. To raise the quota: Service Quotas, AWS Lambda, Concurrent executions"
        )


def ensure_service_linked_roles(aws: Aws, progress: Progress, sleep: Callable[[float], None] = time.sleep) -> None:
    """Create the roles that ECS and its scaling use, if this account has never needed them before."""
    missing = [service for service, name in SERVICE_LINKED_ROLES.items() if not _role(aws, name)]
    for service in missing:
        progress.note(f"Creating the role {SERVICE_LINKED_ROLES[service]}, which AWS's service uses in this account")
        # It may have been created in the meantime. AWS says the former, the local AWS the latter.
        with contextlib.suppress(
            aws.iam.exceptions.InvalidInputException, aws.iam.exceptions.EntityAlreadyExistsException
        ):
            aws.iam.create_service_linked_role(AWSServiceName=service)
    if missing:
        sleep(_ROLE_USABLE_AFTER_S)  # https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
