"""deploy/own-worker.yaml: its settings are the worker's, and its role allows what the worker does, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import LocalAws
from deploy.stacks import template
from tests.deploy.permissions import Recorder, arn, granted
from tests.support import DeployedStack, StartWorker
from workers.settings import Settings
from workers.testing.sdk import Endpoint

OWN_WORKER = template.load(template.WORKERS.with_name("own-worker.yaml"))
WORKERS = template.load(template.WORKERS)
FIELDS = {field.alias: field for field in Settings.model_fields.values() if field.alias}
KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"
LEFT_OUT = {"WORKER_HEALTH_HOST"}  # The image sets it.
FIXED = {"WORKER_HEALTH_PORT": "8080", "LOG_FORMAT": "json"}


def environment() -> dict[str, Any]:
    container, _collector = OWN_WORKER["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
    return {variable["Name"]: variable["Value"] for variable in container["Environment"] if "Name" in variable}


def test_every_setting_of_a_worker_of_your_own_is_set() -> None:
    shared = {name for name in FIELDS if name.startswith(("WORKER_", "LOG_"))}
    assert environment().keys() - {"AWS_REGION"} == shared - LEFT_OUT
    assert {name: environment()[name] for name in FIXED} == FIXED


def test_parameters_have_the_defaults_of_the_settings() -> None:
    for name, value in environment().items():
        if name in FIXED or name in {"AWS_REGION", "WORKER_RELEASE"}:
            continue
        default = OWN_WORKER["Parameters"][value["Ref"]]["Default"]
        assert default == ("false" if FIELDS[name].default is False else FIELDS[name].default), name


def test_what_it_shares_with_the_template_of_our_workers_is_the_same() -> None:
    own, _ = OWN_WORKER["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
    ours, _ = WORKERS["Resources"]["FulfillmentTask"]["Properties"]["ContainerDefinitions"]
    for name in ("DependsOn", "HealthCheck", "LinuxParameters", "ReadonlyRootFilesystem", "StopTimeout", "User"):
        assert own[name] == ours[name]
    for name, parameter in OWN_WORKER["Parameters"].items():
        if name in WORKERS["Parameters"] and "AllowedPattern" in parameter:
            assert parameter["AllowedPattern"] == WORKERS["Parameters"][name]["AllowedPattern"], name


def _if_traced(values: list[Any]) -> list[Any]:
    """Return what is there only with a collector."""
    return [value["Fn::If"] for value in values if "HasTracingCollector" in value.get("Fn::If", ())]


def test_it_traces_through_a_collector_as_our_workers_do() -> None:
    own, own_collector = OWN_WORKER["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
    ours, collector = WORKERS["Resources"]["FulfillmentTask"]["Properties"]["ContainerDefinitions"]
    assert _if_traced(own["Environment"]) == _if_traced(ours["Environment"]) != []
    (_, mine, none), (_, theirs, _) = own_collector["Fn::If"], collector["Fn::If"]
    assert none == {"Ref": "AWS::NoValue"}
    for name in theirs.keys() - {"Environment", "LogConfiguration"}:
        assert mine[name] == theirs[name], name
    config = OWN_WORKER["Mappings"]["Collector"]["Config"]["Yaml"]
    shown = "[worker.order_id, worker.execution_arn, worker.outcome]"
    assert config.replace("[worker.outcome]", shown) == WORKERS["Mappings"]["Collector"]["Config"]["Yaml"]
    assert OWN_WORKER["Parameters"]["TracingShare"]["Default"] == WORKERS["Parameters"]["TracingShare"]["Default"]


def test_alarms_are_those_of_our_workers_on_its_queue() -> None:
    pipeline = template.load(template.PIPELINE)["Resources"]
    for name, theirs, queue in (
        ("DeadLetters", pipeline["OrderFulfillmentDeadLetters"], "DeadLetterQueueArn"),
        ("NotPolled", WORKERS["Resources"]["OrderFulfillmentNotPolled"], "QueueArn"),
    ):
        alarm = OWN_WORKER["Resources"][name]
        assert alarm["Condition"] == "HasAlarms"
        mine, named = alarm["Properties"], {"Fn::Select": [5, {"Fn::Split": [":", {"Ref": queue}]}]}
        assert mine.keys() == theirs["Properties"].keys() - {"AlarmName"}
        for key in mine.keys() - {"AlarmDescription", "Dimensions", "Metrics"}:
            assert mine[key] == theirs["Properties"][key], (name, key)
        metrics = [mine, *(one["MetricStat"]["Metric"] for one in mine.get("Metrics", ()) if "MetricStat" in one)]
        assert [one["Dimensions"][0]["Value"] for one in metrics if "Dimensions" in one] == [named] * max(
            1, len(metrics) - 1
        )


def test_the_task_runs_the_handler_on_the_queue() -> None:
    container, _collector = OWN_WORKER["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
    assert container["Command"] == [
        *("run", {"Ref": "Handler"}, "--queue", {"Ref": "QueueArn"}, "--name", {"Ref": "WorkerName"})
    ]


@pytest.fixture(scope="module")
def queues(local_aws: LocalAws) -> tuple[str, str]:
    """The URLs of a queue and of its dead-letter queue."""
    sqs = local_aws.client("sqs")
    dead_letters = sqs.create_queue(QueueName="permissions-ReturnsDLQ")["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": arn("sqs", "permissions-ReturnsDLQ"), "maxReceiveCount": 100})
    return sqs.create_queue(QueueName="permissions-Returns", Attributes={"RedrivePolicy": redrive})[
        "QueueUrl"
    ], dead_letters


def roles(local_aws: Endpoint, name: str, **given: str) -> list[dict[str, Any]]:
    """Return the policies of the worker's role, as CloudFormation creates it."""
    source = template.load(template.WORKERS.with_name("own-worker.yaml"))
    kept = ("RoleForOwnWorker",)
    source["Resources"] = {name: resource for name, resource in source["Resources"].items() if name in kept}
    del source["Outputs"]
    given = {
        "WorkerName": "returns",
        "Handler": "returns:open_returns",
        "Image": "i",
        "Subnets": "subnet-1",
        "SecurityGroups": "sg-1",
        "QueueArn": arn("sqs", "permissions-Returns"),
        "DeadLetterQueueArn": arn("sqs", "permissions-ReturnsDLQ"),
    } | given
    cloudformation, iam = local_aws.client("cloudformation"), local_aws.client("iam")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=template.body(source),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    (resource,) = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    role = resource["PhysicalResourceId"]
    return [
        iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]
    ]


def test_the_worker_may_do_what_it_does_and_nothing_else(
    stack: DeployedStack, queues: tuple[str, str], start_worker: StartWorker, tmp_path: Path
) -> None:
    local_aws, (url, _) = stack.local_aws, queues
    allowed = granted(roles(local_aws, "own-roles"))
    with Recorder(local_aws.endpoint) as proxy:
        worker = start_worker(
            f"run tests.integration.own_handler:scripted --queue {arn('sqs', 'permissions-Returns')}",
            env={"AWS_ENDPOINT_URL": proxy.url, "JOURNAL": str(tmp_path / "journal"), "WORKER_MAX_ATTEMPTS": "2"},
        )
        local_aws.client("sqs").send_message(QueueUrl=url, MessageBody="fails")
        worker.wait_for("message.released", outcome="unexpected_error")
        worker.wait_for("message.dead_lettered", outcome="attempts_exhausted")
        assert worker.stop() == 0, worker.output()
    assert sorted(proxy.needed() - allowed) == [], "calls without a grant"
    assert sorted(allowed - proxy.needed()) == [], "grants without a call"


def test_the_role_may_use_a_key_trace_and_protect_tasks_only_if_that_is_on(local_aws: LocalAws) -> None:
    more = roles(local_aws, "own-more", KmsKeyArn=KEY, TaskProtection="true", TracingCollectorImage="collector:1")
    less = roles(local_aws, "own-less")
    task = arn("ecs", "task/order-fulfillment/*")
    assert granted(more) - granted(less) == {
        ("ecs:GetTaskProtection", task),
        ("ecs:UpdateTaskProtection", task),
        ("xray:PutTraceSegments", "*"),
    }
    assert (json.dumps(more).count(KEY), json.dumps(less).count(KEY)) == (1, 0)
