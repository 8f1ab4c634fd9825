"""The order pipeline as a stack: deployed from its template, over the tables that an earlier one left, if any."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import artifacts, stack, template
from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed stack: its outputs, and whether this deployment changed anything."""

    stack_name: str
    outputs: Mapping[str, str]
    changed: bool


def stack_name(name_prefix: str) -> str:
    return f"{name_prefix}order-fulfillment"


def up(aws: Aws, name_prefix: str, progress: Progress, path: Path = template.PIPELINE) -> Deployment:
    """
    Bring the stack to what the template at `path` says.

    Raises `DeployError`; where CloudFormation failed, its text names the first failed resource and AWS's reason.
    """
    source = template.load(path)
    parameters = {"NamePrefix": name_prefix}
    template.check_parameters(source, parameters)
    name = stack_name(name_prefix)
    existing = stack.settle(aws, name, progress)
    bucket = artifacts.bucket_for(aws, name)
    artifacts.ensure(aws, bucket)
    packaged = artifacts.package(
        source, path.parent, lambda artifact: (bucket.name, artifacts.upload(aws, bucket, artifact))
    )
    kind: stack.ChangeSetType = "UPDATE" if existing else "CREATE"
    if not existing and (retained := _retained(aws, source, parameters)):
        _adopt(aws, name, bucket, _Adoption(packaged, parameters, retained), progress)
        kind = "UPDATE"
    progress.note(f"{'Updating' if kind == 'UPDATE' else 'Creating'} the stack {name} in {aws.region}")
    changed = stack.apply(aws, name, stack.Change(kind, _sent(aws, bucket, packaged), parameters), progress)
    progress.note(f"The stack {name} is {'deployed' if changed else 'unchanged'}")
    deployed = stack.find(aws, name)
    if deployed is None:
        raise DeployError(f"The stack {name} was deleted while it was being deployed")
    return Deployment(name, stack.outputs(deployed), changed)


@dataclass(frozen=True, slots=True)
class _Adoption:
    template: Mapping[str, Any]
    parameters: Mapping[str, str]
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
    change = stack.Change("IMPORT", _sent(aws, bucket, reduced), adoption.parameters, imports)  # type: ignore[arg-type]
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


def _sent(aws: Aws, bucket: artifacts.Bucket, source: Mapping[str, Any]) -> Any:
    """Give the template as change sets take it: inline where it is small enough, else from the bucket."""
    body = template.body(source)
    if len(body.encode()) <= artifacts.MAX_INLINE_TEMPLATE_BYTES:
        return {"TemplateBody": body}
    key = artifacts.upload(aws, bucket, artifacts.Artifact(body.encode(), ".template"))
    url = aws.s3.generate_presigned_url("get_object", Params={"Bucket": bucket.name, "Key": key})
    return {"TemplateURL": url.split("?", 1)[0]}
