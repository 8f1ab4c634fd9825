"""The workers' stack, on top of the pipeline's: ECS services, their scaling, alarms and dashboard."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import artifacts, parameters, stack, template
from deploy.stacks.changes import Review
from workers.errors import FatalError
from workers.settings import Settings


def stack_name(name_prefix: str) -> str:
    return f"{name_prefix}order-fulfillment-workers"


def check(aws: Aws, name_prefix: str, given: Mapping[str, str]) -> None:
    """
    Make sure that the stack can be deployed, before anything is changed.

    Raises `DeployError` where a parameter is missing, or this AWS (a local one) lacks some of the stack's types.
    """
    source = template.load(template.WORKERS)
    deployed = stack.parameters(stack.find(aws, stack_name(name_prefix)))
    try:
        settled = parameters.settled(source, given, name_prefix, deployed)
    except DeployError as error:
        raise DeployError(f"{error}. Without workers: --pipeline-only") from error
    defaults = {name: str(rule.get("Default", "")) for name, rule in source["Parameters"].items()}
    _check_together(source, {**defaults, **deployed, **settled.values})
    bucket = artifacts.bucket_for(aws, stack_name(name_prefix))
    artifacts.ensure(aws, bucket)
    try:
        aws.cloudformation.validate_template(**artifacts.sent(aws, bucket, source))
    except ClientError as error:
        text = error.response["Error"].get("Message", "")
        if "resource types" not in text:
            raise
        raise DeployError(
            f"The workers' stack cannot be deployed here: {text}. The pipeline alone can: --pipeline-only"
        ) from error


def _check_together(source: Mapping[str, Any], values: Mapping[str, str]) -> None:
    """Raise `DeployError` where values contradict each other: AWS, or the workers, would say so after minutes."""
    if float(values["MinTasks"]) > float(values["MaxTasks"]):
        raise DeployError(f"MinTasks {values['MinTasks']!r}: is more than MaxTasks, {values['MaxTasks']}")
    tasks = [each["Properties"] for each in source["Resources"].values() if each["Type"] == "AWS::ECS::TaskDefinition"]
    variables = [each for task in tasks for each in task["ContainerDefinitions"][0].get("Environment", [])]
    given = {each["Name"]: values[each["Value"]["Ref"]] for each in variables if _is_parameter(each["Value"], values)}
    try:
        Settings.read(given)
    except FatalError as error:
        raise DeployError(f"The workers would not start: {error}") from error


def _is_parameter(value: Any, values: Mapping[str, str]) -> bool:
    return isinstance(value, dict) and value.get("Ref") in values


def up(aws: Aws, name_prefix: str, given: Mapping[str, str], review: Review, progress: Progress) -> dict[str, str]:
    """Bring the stack to what its template says; returns its outputs. Raises `DeployError`."""
    source = template.load(template.WORKERS)
    name = stack_name(name_prefix)
    existing = stack.settle(aws, name, progress)
    settled = parameters.settled(source, given, name_prefix, stack.parameters(existing))
    sent = artifacts.sent(aws, artifacts.bucket_for(aws, name), source)
    change = stack.Change("UPDATE" if existing else "CREATE", source, sent, settled.values, settled.kept)
    _, deployed = stack.deploy(aws, name, change, progress, review)
    return stack.outputs(deployed)


def down(aws: Aws, name_prefix: str, progress: Progress) -> None:
    """Delete the stack with what it uploaded. Does nothing where there is none."""
    name = stack_name(name_prefix)
    stack.delete(aws, name, progress)
    artifacts.remove(aws, artifacts.bucket_for(aws, name))
