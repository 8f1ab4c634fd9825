"""The workers' stack, separate from the pipeline's: ECS services, their scaling, alarms and dashboard."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import artifacts, parameters, stack, template
from deploy.stacks.changes import AGREED, Review
from deploy.stacks.options import NO_OPTIONS, StackOptions, merged_tags
from workers.errors import FatalError
from workers.settings import Settings

RELEASE = "WorkerRelease"
_RELEASE_DIGITS = 12  # Of a SHA-256. Fewer than 13: log lines would mask 13 digits as a card number.


def stack_name(name_prefix: str) -> str:
    return f"{name_prefix}order-fulfillment-workers"


def check(aws: Aws, name_prefix: str, given: Mapping[str, str], path: Path = template.WORKERS) -> None:
    """
    Check that the stack can be deployed, before anything changes.

    Raises `DeployError` if a parameter is missing or wrong, or if this AWS (a local one) lacks some resource types.
    """
    source = template.load(path)
    deployed = stack.parameters(stack.find(aws, stack_name(name_prefix)))
    try:
        merged = parameters.merge(source, given, name_prefix, deployed)
    except DeployError as error:
        raise DeployError(f"{error}. Without workers: --pipeline-only") from error
    _check_together(source, _values(source, deployed, merged))
    bucket = artifacts.bucket_for(aws, stack_name(name_prefix))
    artifacts.ensure(aws, bucket)
    try:
        aws.cloudformation.validate_template(**artifacts.as_argument(aws, bucket, source))
    except ClientError as error:
        text = error.response["Error"].get("Message", "")
        if "resource types" not in text:
            raise
        raise DeployError(
            f"The workers' stack cannot be deployed here: {text}. The pipeline alone can: --pipeline-only"
        ) from error


def _check_together(source: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Raise `DeployError` if values contradict each other. AWS or the workers would report that only after minutes."""
    for name in ("MinTasks", "MaxTasks"):
        if not values[name].isdecimal():
            raise DeployError(f"{name} {values[name]!r}: must be a whole number")
    if float(values["MinTasks"]) > float(values["MaxTasks"]):
        raise DeployError(f"MinTasks {values['MinTasks']!r}: must not exceed MaxTasks, which is {values['MaxTasks']}")
    try:
        Settings.read(_environment(source, values))
    except FatalError as error:
        raise DeployError(f"The workers would not start: {error}") from error


def _values(source: Mapping[str, Any], deployed: Mapping[str, str], merged: parameters.Parameters) -> dict[str, str]:
    """Return the value of every parameter as it will be deployed."""
    defaults = {name: str(rule.get("Default", "")) for name, rule in source["Parameters"].items()}
    kept = {name: deployed[name] for name in merged.kept}
    return {**defaults, **kept, **merged.values}


def release(source: Mapping[str, Any], values: Mapping[str, str]) -> str:
    """
    Return a name for what the tasks run. Equal task definitions with equal values have the same name.

    So the name changes if and only if a change makes ECS replace the tasks.
    """
    tasks = [task for task in source["Resources"].values() if task["Type"] == "AWS::ECS::TaskDefinition"]
    text = json.dumps([tasks, source.get("Mappings")], sort_keys=True)
    named = set(re.findall(r'"Ref": "(\w+)"|\$\{(\w+)\}', text))
    used = sorted({name for pair in named for name in pair if name in values} - {RELEASE})
    identity = json.dumps([text, [[name, values[name]] for name in used]])
    return hashlib.sha256(identity.encode()).hexdigest()[:_RELEASE_DIGITS]


def _environment(source: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, str]:
    """Return the tasks' environment variables that are set from parameters. `values` has the parameters' values."""
    tasks = [task for task in source["Resources"].values() if task["Type"] == "AWS::ECS::TaskDefinition"]
    containers = [task["Properties"]["ContainerDefinitions"][0] for task in tasks]
    return {
        variable["Name"]: values[variable["Value"]["Ref"]]
        for container in containers
        for variable in container.get("Environment", [])
        if isinstance(variable.get("Value"), dict) and variable["Value"].get("Ref") in values
    }


def up(
    aws: Aws,
    name_prefix: str,
    progress: Progress,
    path: Path = template.WORKERS,
    *,
    given: Mapping[str, str],
    review: Review = AGREED,
    options: StackOptions = NO_OPTIONS,
) -> dict[str, str]:
    """
    Create or update the stack from the template at `path`; returns its outputs.

    Sets the release's name unless it is in `given`. Raises `DeployError`.
    """
    source = template.load(path)
    name = stack_name(name_prefix)
    existing = stack.make_ready(aws, name, progress)
    deployed = stack.parameters(existing)
    merged = parameters.merge(source, given, name_prefix, deployed)
    named = {RELEASE: release(source, _values(source, deployed, merged))} | dict(given)
    merged = parameters.merge(source, named, name_prefix, deployed)
    argument = artifacts.as_argument(aws, artifacts.bucket_for(aws, name), source)
    change = stack.Change(
        *("UPDATE" if existing else "CREATE", source, argument, merged.values, merged.kept),
        tags=merged_tags(existing, options.tags),
        role_arn=options.role_arn,
    )
    _, result = stack.deploy(aws, name, change, progress, review)
    return stack.outputs(result)


def down(aws: Aws, name_prefix: str, progress: Progress) -> None:
    """Delete the stack and its artifacts, if they exist."""
    name = stack_name(name_prefix)
    stack.delete(aws, name, progress)
    artifacts.remove(aws, artifacts.bucket_for(aws, name))
