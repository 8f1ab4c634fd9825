"""The workers' stack beside the pipeline's. The local AWS lacks some of its types, so a stand-in is deployed there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.aws import Aws
from deploy.local.aws import LocalAws
from deploy.progress import Progress
from deploy.stacks import pipeline, stack, template
from deploy.stacks import workers as workers_stack
from tests.deploy.stacks.support import with_cloudformation
from tests.deploy.test_main import one_line, run
from tests.support import DeployStack

QUIET = Progress(quiet=True)
GIVEN = {"Image": "example.com/workers:1", "Subnets": "subnet-1,subnet-2", "SecurityGroups": "sg-1"}
SERVICE = {
    "Cluster": {
        "Type": "AWS::ECS::Cluster",
        "Properties": {"ClusterName": {"Fn::Sub": "${NamePrefix}order-fulfillment"}},
    },
    "Task": {
        "Type": "AWS::ECS::TaskDefinition",
        "Properties": {"Family": "stand-in", "ContainerDefinitions": [{"Name": "worker", "Image": {"Ref": "Image"}}]},
    },
    "Service": {
        "Type": "AWS::ECS::Service",
        "Properties": {
            "ServiceName": "fulfillment",
            "Cluster": {"Ref": "Cluster"},
            "TaskDefinition": {"Ref": "Task"},
            "DesiredCount": 0,
        },
    },
    "Alarm": {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmName": {"Fn::Sub": "${NamePrefix}Rings"},
            "Namespace": "AWS/SQS",
            "MetricName": "NumberOfMessagesReceived",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "ComparisonOperator": "LessThanThreshold",
            "Threshold": {"Ref": "MinTasks"},
        },
    },
}


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A template with the real one's parameters, and with resource types that the local AWS has."""
    declared = template.load(template.WORKERS)["Parameters"]
    source = {"Parameters": declared, "Resources": SERVICE, "Outputs": {"ClusterName": {"Value": {"Ref": "Cluster"}}}}
    path = tmp_path / "workers.json"
    path.write_text(json.dumps(source), encoding="utf-8")
    return path


def deployed_parameters(aws: Aws, prefix: str) -> dict[str, str]:
    return stack.parameters(stack.find(aws, workers_stack.stack_name(prefix)))


def test_parameters_that_are_not_given_again_keep_their_value(aws: Aws, stand_in: Path) -> None:
    workers_stack.check(aws, "kept2-", GIVEN, stand_in)
    outputs = workers_stack.up(aws, "kept2-", QUIET, stand_in, given=GIVEN | {"MinTasks": "2"})
    assert outputs == {"ClusterName": "kept2-order-fulfillment"}

    newer = {"Image": "example.com/workers:2"}
    workers_stack.check(aws, "kept2-", newer, stand_in)
    workers_stack.up(aws, "kept2-", QUIET, stand_in, given=newer)

    found = deployed_parameters(aws, "kept2-")
    assert {name: found[name] for name in (*GIVEN, "MinTasks", "NamePrefix")} == {
        **GIVEN,
        **newer,
        "MinTasks": "2",
        "NamePrefix": "kept2-",
    }
    workers_stack.down(aws, "kept2-", QUIET)
    assert stack.find(aws, workers_stack.stack_name("kept2-")) is None


def test_status_shows_tasks_and_alarms_and_down_deletes_the_workers_first(
    aws: Aws, local_aws: LocalAws, deploy_stack: DeployStack, stand_in: Path
) -> None:
    deploy_stack("both-")
    workers_stack.up(aws, "both-", QUIET, stand_in, given=GIVEN)
    aws.cloudwatch.set_alarm_state(AlarmName="both-Rings", StateValue="ALARM", StateReason="no poll")

    shown = run(local_aws.environment, "status", "--name-prefix", "both-")

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.endswith(
        "both-order-fulfillment-workers  CREATE_COMPLETE\n"
        "fulfillment  0 of 0 tasks running\n"
        "1 of 10 alarms in ALARM\n"
        "  both-Rings: no poll\n"
    ), shown.stdout

    deleted: list[str] = []

    def delete_stack(**arguments: Any) -> Any:
        deleted.append(arguments["StackName"].split("/")[1])
        return aws.cloudformation.delete_stack(**arguments)

    recording = with_cloudformation(aws, delete_stack=delete_stack)
    assert pipeline.down(recording, "both-", delete_data=False, confirm=lambda: True, progress=QUIET)
    assert deleted == ["both-order-fulfillment-workers", "both-order-fulfillment"]


TASKS = template.load(template.WORKERS)
VALUES = {name: str(rule.get("Default", "")) for name, rule in TASKS["Parameters"].items()} | GIVEN


@pytest.mark.parametrize(
    ("name", "value", "same"),
    [
        ("Image", "example.com/workers:2", False),
        ("WorkerDrainS", "20", False),
        ("FulfillmentUrl", "https://ship.example/", False),
        ("TaskCpu", "512", False),
        ("WebhookUrlSecret", "arn:aws:secretsmanager:us-east-1:000000000000:secret:url-aaaaaa", False),
        ("WorkerRelease", "another", True),
        # These change alarms and scaling, but not the tasks.
        ("MaxTasks", "20", True),
        ("AcceptableLatencyS", "90", True),
        ("AlarmTopicArn", "arn:aws:sns:us-east-1:000000000000:pager", True),
    ],
)
def test_a_release_is_named_by_what_its_tasks_run(name: str, value: str, same: bool) -> None:
    before, after = workers_stack.release(TASKS, VALUES), workers_stack.release(TASKS, VALUES | {name: value})
    assert (before == after) is same
    assert re.fullmatch(TASKS["Parameters"]["WorkerRelease"]["AllowedPattern"], after)


def test_a_release_is_named_at_every_deployment_unless_its_name_is_given(aws: Aws, stand_in: Path) -> None:
    def deployed(**given: str) -> str:
        workers_stack.up(aws, "release-", QUIET, stand_in, given=given)
        return deployed_parameters(aws, "release-")["WorkerRelease"]

    first = deployed(**GIVEN)
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert deployed() == deployed(MinTasks="2") == first
    second = deployed(Image="example.com/workers:2")
    assert second != first
    assert deployed(WorkerRelease="mine", Image="example.com/workers:3") == "mine"
    assert deployed(Image=GIVEN["Image"]) == first
    workers_stack.down(aws, "release-", QUIET)


def arguments(given: dict[str, str]) -> list[str]:
    return [word for name, value in given.items() for word in ("--parameter", f"{name}={value}")]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([], "needs a value for Image, Subnets, SecurityGroups"),
        (["--parameter", "Image"], "--parameter Image: must be Key=Value"),
        (["--parameter", "NamePrefix=x"], "NamePrefix: use --name-prefix"),
        (["--parameter", "Picture=x"], "Unknown parameter Picture. Known: AcceptableLatencyS, "),
        (["--parameter", "MaxTasks=0"], "MaxTasks '0': must be a number from 1 to 1000"),
        (["--parameter", "MaxTasks=many"], "MaxTasks 'many': must be a number"),
        (arguments(GIVEN | {"MinTasks": "11"}), "MinTasks '11': must not exceed MaxTasks, which is 10"),
        (
            arguments(GIVEN | {"WorkerWaitS": "1.5"}),
            "The workers would not start: WORKER_WAIT_S is '1.5', must be 0 to 20",
        ),
        (arguments(GIVEN | {"FulfillmentProvider": "http"}), "The workers would not start: FULFILLMENT_URL is not set"),
        (["--pipeline-only", "--parameter", "Image=x"], "Unknown parameter Image. Known: AlarmTopicArn, KmsKeyArn"),
        (["--pipeline-only", "--parameter", "KmsKeyArn=alias/x"], "KmsKeyArn 'alias/x': Empty, or the ARN of a key"),
        (arguments(GIVEN), "cannot be deployed here: Template format error: Unrecognized resource types"),
    ],
)
def test_wrong_parameters_are_one_line_before_anything_is_changed(
    local_aws: LocalAws, aws: Aws, given: list[str], problem: str
) -> None:
    said = one_line(run(local_aws.environment, "up", "--name-prefix", "wrong-", *given))

    assert problem in said
    assert stack.find(aws, "wrong-order-fulfillment") is None
    assert stack.find(aws, "wrong-order-fulfillment-workers") is None
