"""The order pipeline as a stack: deployed from its template, over the tables that an earlier one left, if any."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import artifacts, contents, parameters, stack, template
from deploy.stacks import workers as workers_stack
from deploy.stacks.changes import AGREED, Review
from deploy.stacks.parameters import Parameters

_NEVER_EXECUTED = "REVIEW_IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed stack: its outputs, and whether this deployment changed anything."""

    stack_name: str
    outputs: Mapping[str, str]
    changed: bool


def stack_name(name_prefix: str) -> str:
    return f"{name_prefix}order-fulfillment"


def up(
    aws: Aws,
    name_prefix: str,
    progress: Progress,
    path: Path = template.PIPELINE,
    *,
    given: Mapping[str, str] = MappingProxyType({}),
    at_first: Mapping[str, str] = MappingProxyType({}),
    review: Review = AGREED,
) -> Deployment:
    """
    Bring the stack to what the template at `path` says, with the parameters `given`; others keep their value.

    Where a stack does not have a parameter yet that is not given either, `at_first` comes before its default.

    Raises `DeployError`; where CloudFormation failed, its text names the first failed resource and AWS's reason.
    """
    source = template.load(path)
    name = stack_name(name_prefix)
    existing = stack.settle(aws, name, progress)
    deployed = stack.parameters(existing)
    new = {key: value for key, value in at_first.items() if key not in deployed}
    settled = parameters.settled(source, {**new, **given}, name_prefix, deployed)
    bucket = artifacts.bucket_for(aws, name)
    artifacts.ensure(aws, bucket)
    packaged = artifacts.package(
        source, path.parent, lambda artifact: (bucket.name, artifacts.upload(aws, bucket, artifact))
    )
    kind: stack.ChangeSetType = "UPDATE" if existing else "CREATE"
    if not existing and (retained := _retained(aws, source, settled.values)):
        if (other := stack.find(aws, name)) and other["StackStatus"] != _NEVER_EXECUTED:  # Its tables are those.
            raise DeployError(
                f"Another deployment of {name} is under way. Wait until it is done: python -m deploy status"
            )
        _adopt(aws, name, bucket, _Adoption(packaged, settled, retained), progress)
        kind = "UPDATE"
    sent = artifacts.sent(aws, bucket, packaged)
    change = stack.Change(kind, packaged, sent, settled.values, settled.kept)
    changed, now = stack.deploy(aws, name, change, progress, review)
    return Deployment(name, stack.outputs(now), changed)


def down(aws: Aws, name_prefix: str, *, delete_data: bool, confirm: Callable[[], bool], progress: Progress) -> bool:
    """
    Delete the stack, its retained tables and its artifacts, once `confirm` has agreed to what was listed.

    Returns whether it did. Raises `DeployError` where something would be lost and `delete_data` is not set.
    """
    name = stack_name(name_prefix)
    tables = template.tables(template.load(template.PIPELINE), {"NamePrefix": name_prefix})
    existing = stack.find(aws, name)
    workers = stack.find(aws, workers_stack.stack_name(name_prefix))
    for each in filter(None, (workers, existing)):
        if each["StackStatus"].endswith("_IN_PROGRESS") and each["StackStatus"] != _NEVER_EXECUTED:
            raise DeployError(f"The stack {each['StackName']} is busy ({each['StackStatus']}). Wait until it is done")
    holds = contents.look(aws, name, tables)
    bucket = artifacts.bucket_for(aws, name)
    if not existing and not workers and not holds.tables:
        progress.note(f"There is no stack {name} in {aws.region}, account {bucket.owner}, and no table of it")
        artifacts.remove(aws, bucket)
        return True
    what = "the stack" if existing else "what is left of the stack"
    progress.note(f"This deletes {what} {name} in {aws.region}, account {bucket.owner}:")
    if workers:
        progress.note(f"  {workers['StackName']}, first: no worker is left running")
    for line in holds.lines():
        progress.note(f"  {line}")
    if holds.losses() and not delete_data:
        raise DeployError(f"Nothing was deleted: {'; '.join(holds.losses())}. To delete that too: --delete-data")
    if not confirm():
        progress.note("Nothing was deleted")
        return False
    workers_stack.down(aws, name_prefix, progress)
    stack.delete(aws, name, progress)
    for table in holds.tables:
        _delete_table(aws, table.name, progress)
    if reason := artifacts.remove(aws, bucket):
        progress.note(f"The bucket {bucket.name} stays: {reason}")
    progress.note(f"The stack {name} and its tables are deleted")
    return True


def _delete_table(aws: Aws, name: str, progress: Progress) -> None:
    try:
        aws.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        aws.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        aws.dynamodb.delete_table(TableName=name)
    except aws.dynamodb.exceptions.ResourceNotFoundException:
        return  # Empty and not retained, or somebody else was faster.
    aws.dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    progress.note(f"The table {name} is deleted (AWS keeps a backup of it for 35 days where recovery was on)")


@dataclass(frozen=True, slots=True)
class Status:
    """A stack as it is now."""

    stack_status: str
    outputs: Mapping[str, str]
    contents: contents.Contents


def status(aws: Aws, name_prefix: str) -> Status | None:
    """Look at the stack, changing nothing; `None` where there is none."""
    name = stack_name(name_prefix)
    existing = stack.find(aws, name)
    if existing is None:
        return None
    tables = template.tables(template.load(template.PIPELINE), {"NamePrefix": name_prefix})
    return Status(existing["StackStatus"], stack.outputs(existing), contents.look(aws, name, tables))


@dataclass(frozen=True, slots=True)
class _Adoption:
    template: Mapping[str, Any]
    parameters: Parameters
    tables: Mapping[str, str]


def _adopt(aws: Aws, name: str, bucket: artifacts.Bucket, adoption: _Adoption, progress: Progress) -> None:
    """Start the stack with nothing but the tables that are there already; the rest follows as an update."""
    progress.note(f"Importing {', '.join(adoption.tables.values())}, kept from an earlier stack, with all they hold")
    resources = {logical_id: adoption.template["Resources"][logical_id] for logical_id in adoption.tables}
    kept = ("AWSTemplateFormatVersion", "Parameters", "Mappings", "Conditions")  # Outputs cannot be part of an import.
    reduced = {key: adoption.template[key] for key in kept if key in adoption.template} | {"Resources": resources}
    imports = [
        {
            "ResourceType": template.TABLE_TYPE,
            "LogicalResourceId": logical_id,
            "ResourceIdentifier": {"TableName": table_name},
        }
        for logical_id, table_name in adoption.tables.items()
    ]
    sent = artifacts.sent(aws, bucket, reduced)
    change = stack.Change("IMPORT", reduced, sent, adoption.parameters.values, imports=imports)  # type: ignore[arg-type]
    stack.apply(aws, name, change, progress)


def _retained(aws: Aws, source: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, str]:
    """
    Return the tables of the template that exist although the stack does not: logical id to name.

    Raises `DeployError` where one of them cannot be ours: its key is another.
    """
    retained = {}
    for logical_id, table_name in template.tables(source, parameters).items():
        try:
            table = aws.dynamodb.describe_table(TableName=table_name)["Table"]
        except aws.dynamodb.exceptions.ResourceNotFoundException:
            continue
        if table["KeySchema"] != source["Resources"][logical_id]["Properties"]["KeySchema"]:
            raise DeployError(
                f"A table {table_name} that is not this pipeline's exists already (its key is another). "
                "Deploy under other names with --name-prefix"
            )
        retained[logical_id] = table_name
    return retained
