"""The pipeline's stack, deployed from its template. It takes over the tables that an earlier stack left, if any."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import artifacts, contents, intake_bucket, parameters, stack, template
from deploy.stacks import workers as workers_stack
from deploy.stacks.changes import AGREED, Review
from deploy.stacks.options import NO_OPTIONS, StackOptions, merged_tags
from deploy.stacks.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed stack, and whether this deployment has changed it."""

    stack_name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
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
    options: StackOptions = NO_OPTIONS,
) -> Deployment:
    """
    Create or update the stack from the template at `path`.

    Parameters that are not `given` keep their value. If the stack does not have them yet, they get their value from
    `at_first`, else their default.

    Raises `DeployError`. If CloudFormation failed, the text names the first resource that failed, with AWS's reason.
    """
    source = template.load(path)
    name = stack_name(name_prefix)
    existing = stack.make_ready(aws, name, progress)
    deployed = stack.parameters(existing)
    new = {key: value for key, value in at_first.items() if key not in deployed}
    merged = parameters.merge(source, {**new, **given}, name_prefix, deployed)
    bucket = artifacts.bucket_for(aws, name)
    artifacts.ensure(aws, bucket)
    tags = merged_tags(existing, options.tags)
    packaged = artifacts.package(
        source, path.parent, lambda artifact: (bucket.name, artifacts.upload(aws, bucket, artifact))
    )
    kind: stack.ChangeSetType = "UPDATE" if existing else "CREATE"
    if not existing and (retained := _retained(aws, source, merged.values)):
        # The tables may belong to a deployment that has started since make_ready looked.
        if (other := stack.find(aws, name)) and other["StackStatus"] != stack.NEVER_EXECUTED:
            raise DeployError(
                f"Another deployment of {name} is under way. Wait until it is done: python -m deploy status"
            )
        _adopt(aws, name, bucket, _Adoption(packaged, merged, retained, options.role_arn), progress)
        kind = "UPDATE"
    argument = artifacts.as_argument(aws, bucket, packaged)
    change = stack.Change(kind, packaged, argument, merged.values, merged.kept, tags=tags, role_arn=options.role_arn)
    changed, now = stack.deploy(aws, name, change, progress, review)
    return Deployment(name, stack.outputs(now), stack.parameters(now), changed)


def down(aws: Aws, name_prefix: str, *, delete_data: bool, confirm: Callable[[], bool], progress: Progress) -> bool:
    """
    List everything, then delete the stack, its retained tables and its artifacts if `confirm` agrees.

    Returns whether they are deleted. Raises `DeployError` if data would be lost and `delete_data` is not set.
    """
    name = stack_name(name_prefix)
    tables = template.tables(template.load(template.PIPELINE), {parameters.PREFIX: name_prefix})
    existing = stack.find(aws, name)
    workers = stack.find(aws, workers_stack.stack_name(name_prefix))
    for found in filter(None, (workers, existing)):
        stack.check_idle(found)
    holds = contents.look(aws, name, tables)
    bucket = artifacts.bucket_for(aws, name)
    if not existing and not workers and not holds.tables:
        progress.note(f"There is no stack {name} in {aws.region}, account {bucket.owner}, and none of its tables")
        artifacts.remove(aws, bucket)
        return True
    target = "the stack" if existing else "the rest of the stack"
    progress.note(f"This deletes {target} {name} in {aws.region}, account {bucket.owner}:")
    if workers:
        progress.note(f"  {workers['StackName']} first, so that no worker keeps running")
    for line in holds.lines():
        progress.note(f"  {line}")
    if holds.losses() and not delete_data:
        raise DeployError(f"Nothing was deleted: {'; '.join(holds.losses())}. To delete it too: --delete-data")
    if not confirm():
        progress.note("Nothing was deleted")
        return False
    workers_stack.down(aws, name_prefix, progress)
    intake_bucket.empty(aws, name)
    stack.delete(aws, name, progress)
    for table in holds.tables:
        _delete_table(aws, table.name, progress)
    if reason := artifacts.remove(aws, bucket):
        progress.note(f"The bucket {bucket.name} remains: {reason}")
    progress.note(f"The stack {name} and its tables are deleted")
    return True


def _delete_table(aws: Aws, name: str, progress: Progress) -> None:
    try:
        if aws.dynamodb.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
            aws.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        aws.dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        aws.dynamodb.delete_table(TableName=name)
    except aws.dynamodb.exceptions.ResourceNotFoundException:
        return  # It is deleted already, with the stack or by another run.
    aws.dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    progress.note(f"The table {name} is deleted (AWS keeps a backup for 35 days if recovery was on)")


@dataclass(frozen=True, slots=True)
class Status:
    """The stack's current state."""

    stack_status: str
    outputs: Mapping[str, str]
    contents: contents.Contents


def status(aws: Aws, name_prefix: str) -> Status | None:
    """Return the stack's current state, or `None` if it does not exist. Changes nothing."""
    name = stack_name(name_prefix)
    existing = stack.find(aws, name)
    if existing is None:
        return None
    tables = template.tables(template.load(template.PIPELINE), {parameters.PREFIX: name_prefix})
    return Status(existing["StackStatus"], stack.outputs(existing), contents.look(aws, name, tables))


@dataclass(frozen=True, slots=True)
class _Adoption:
    template: Mapping[str, Any]
    parameters: Parameters
    tables: Mapping[str, str]
    role_arn: str | None


def _adopt(aws: Aws, name: str, bucket: artifacts.Bucket, adoption: _Adoption, progress: Progress) -> None:
    """Create the stack with the existing tables only. The rest follows as an update."""
    progress.note(f"Importing {', '.join(adoption.tables.values())} with all items, from an earlier stack")
    resources = {logical_id: _importable(aws, adoption, logical_id) for logical_id in adoption.tables}
    kept = ("AWSTemplateFormatVersion", "Parameters", "Mappings", "Conditions")  # An import cannot have outputs.
    reduced = {key: adoption.template[key] for key in kept if key in adoption.template} | {"Resources": resources}
    imports = [
        {
            "ResourceType": template.TABLE_TYPE,
            "LogicalResourceId": logical_id,
            "ResourceIdentifier": {"TableName": table_name},
        }
        for logical_id, table_name in adoption.tables.items()
    ]
    argument = artifacts.as_argument(aws, bucket, reduced)
    change = stack.Change(
        *("IMPORT", reduced, argument, adoption.parameters.values),
        imports=imports,  # type: ignore[arg-type]
        role_arn=adoption.role_arn,
    )
    stack.apply(aws, name, change, progress)


def _importable(aws: Aws, adoption: _Adoption, logical_id: str) -> dict[str, Any]:
    """
    Return a table's resource as it is imported.

    An import changes nothing, and the update after it changes only what differs from the imported template. So what the
    table may lack is left out here, for the update to add.
    """
    resource: dict[str, Any] = adoption.template["Resources"][logical_id]
    answer = aws.dynamodb.describe_time_to_live(TableName=adoption.tables[logical_id])
    status = answer["TimeToLiveDescription"].get("TimeToLiveStatus", "DISABLED")
    # DynamoDB refuses to enable it twice.
    lacking = {"Tags"} if status in {"ENABLED", "ENABLING"} else {"Tags", "TimeToLiveSpecification"}
    properties = {name: value for name, value in resource["Properties"].items() if name not in lacking}
    return {**resource, "Properties": properties}


def _retained(aws: Aws, source: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, str]:
    """
    Return the template's tables that exist although the stack does not: logical id to name.

    Raises `DeployError` if a table has a different key: such a table is not the pipeline's.
    """
    retained = {}
    for logical_id, table_name in template.tables(source, parameters).items():
        try:
            table = aws.dynamodb.describe_table(TableName=table_name)["Table"]
        except aws.dynamodb.exceptions.ResourceNotFoundException:
            continue
        if table["KeySchema"] != source["Resources"][logical_id]["Properties"]["KeySchema"]:
            raise DeployError(
                f"The table {table_name} exists already and is not this pipeline's (it has another key). "
                "To deploy under other names: --name-prefix"
            )
        retained[logical_id] = table_name
    return retained
