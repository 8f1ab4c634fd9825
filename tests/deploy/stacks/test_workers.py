"""The workers' stack beside the pipeline's. The local AWS lacks some of its types, so a stand-in is deployed there."""

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.local.aws import LocalAws
from deploy.progress import Progress
from deploy.stacks import artifacts, parameters, pipeline, stack, template
from deploy.stacks import workers as workers_stack
from deploy.stacks.options import StackOptions
from tests.deploy.stacks.fakes import FakeClient, failing, fake_aws, refusal
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
        "1 of 15 alarms in ALARM\n"
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


def test_the_order_of_a_templates_fields_makes_no_other_release() -> None:
    backwards = json.loads(json.dumps(TASKS), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert [*backwards["Resources"]] == [*TASKS["Resources"]][::-1]
    backwards["Resources"] = dict(reversed(backwards["Resources"].items()))  # Only that of the tasks counts.
    assert workers_stack.release(backwards, VALUES) == workers_stack.release(TASKS, VALUES)


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
        (["--pipeline-only", "--parameter", "Image=x"], "Unknown parameter Image. Known: AlarmTopicArn, IntakeC"),
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


def test_the_tasks_environment_is_read_from_the_parameters() -> None:
    environment = workers_stack._environment(TASKS, VALUES)
    assert environment["WORKER_DRAIN_S"] == VALUES["WorkerDrainS"]
    assert {name for name in environment if name.startswith("WORKER_")} >= {"WORKER_DRAIN_S", "WORKER_WAIT_S"}
    assert workers_stack._environment(TASKS, {}) == {}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"MinTasks": "3", "MaxTasks": "2"}, "MinTasks '3': must not exceed MaxTasks, which is 2"),
        ({"MinTasks": "1.5"}, "MinTasks '1.5': must be a whole number"),
        ({"MaxTasks": "2.0"}, "MaxTasks '2.0': must be a whole number"),
        ({"WorkerDrainS": "-1"}, "The workers would not start: WORKER_DRAIN_S is '-1', must be 0 to 600 seconds"),
    ],
)
def test_values_that_contradict_each_other_are_refused(values: dict[str, str], problem: str) -> None:
    workers_stack._check_together(TASKS, VALUES | {"MinTasks": "2", "MaxTasks": "2"})
    with pytest.raises(DeployError) as raised:
        workers_stack._check_together(TASKS, VALUES | values)
    assert str(raised.value) == problem


def test_what_is_deployed_is_given_kept_or_a_default() -> None:
    source = {"Parameters": {"A": {"Default": 1}, "B": {"Default": 1}, "C": {"Default": 1}, "D": {}}}
    merged = parameters.Parameters({"C": "3", "D": "4"}, frozenset({"B"}))
    assert workers_stack._values(source, {"A": "9", "B": "2"}, merged) == {"A": "1", "B": "2", "C": "3", "D": "4"}


class Deployed:
    """A stack that exists or not; records the change that is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, existing: Any) -> None:
        self.change: stack.Change | None = None
        self.deleted: list[str] = []
        monkeypatch.setattr(stack, "make_ready", lambda _aws, _name, _progress: existing)
        monkeypatch.setattr(stack, "find", lambda _aws, _name: existing)
        monkeypatch.setattr(stack, "deploy", self.deploy)
        monkeypatch.setattr(stack, "delete", lambda _aws, name, _progress: self.deleted.append(name))
        monkeypatch.setattr(artifacts, "ensure", lambda _aws, _bucket: None)
        monkeypatch.setattr(artifacts, "as_argument", lambda _aws, bucket, _source: {"TemplateURL": bucket.stack_name})
        monkeypatch.setattr(artifacts, "remove", lambda _aws, bucket: self.deleted.append(bucket.stack_name))

    def deploy(self, _aws: Aws, _name: str, change: stack.Change, *_: Any) -> Any:
        self.change = change
        return True, {"Outputs": [{"OutputKey": "Cluster", "OutputValue": "c"}]}


EXISTING = {
    "StackName": "mine",
    "Parameters": [
        {"ParameterKey": name, "ParameterValue": value}
        for name, value in (("Image", "old"), ("TaskCpu", "512"), ("WorkerRelease", "old"))
    ],
}


@pytest.mark.parametrize(("existing", "kind", "kept"), [(None, "CREATE", {}), (EXISTING, "UPDATE", {"TaskCpu": "512"})])
def test_the_release_is_named_in_the_change(
    monkeypatch: pytest.MonkeyPatch, existing: Any, kind: str, kept: dict[str, str]
) -> None:
    deployed = Deployed(monkeypatch, existing)
    assert workers_stack.up(fake_aws(), "p-", QUIET, given=GIVEN) == {"Cluster": "c"}
    change = deployed.change
    assert change is not None
    assert (change.kind, set(change.kept), change.template) == (
        *(kind, set(kept)),
        {"TemplateURL": "p-order-fulfillment-workers"},
    )
    release = workers_stack.release(TASKS, VALUES | {"NamePrefix": "p-"} | kept)
    assert change.parameters == {**GIVEN, "NamePrefix": "p-", "WorkerRelease": release}
    workers_stack.up(fake_aws(), "p-", QUIET, given=GIVEN | {"WorkerRelease": "mine"})
    assert deployed.change is not None
    assert deployed.change.parameters["WorkerRelease"] == "mine"


def test_the_workers_stack_gets_tags_and_role_too(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = Deployed(monkeypatch, EXISTING | {"Tags": [{"Key": "Cost", "Value": "1"}]})
    role = "arn:aws:iam::111122223333:role/Deploy"
    workers_stack.up(fake_aws(), "p-", QUIET, given=GIVEN, options=StackOptions({"Team": "orders"}, role))
    assert deployed.change is not None
    assert deployed.change.tags == [{"Key": "Cost", "Value": "1"}, {"Key": "Team", "Value": "orders"}]
    assert deployed.change.role_arn == role


def test_down_deletes_the_workers_and_their_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = Deployed(monkeypatch, None)
    workers_stack.down(fake_aws(), "p-", QUIET)
    assert deployed.deleted == ["p-order-fulfillment-workers"] * 2


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (None, None, ""),
        (refusal("X", message="Unrecognized resource types: [AWS::X]"), DeployError, "cannot be deployed here: Unrec"),
        (refusal("AccessDenied"), ClientError, "AccessDenied"),
    ],
)
def test_the_template_is_validated_before_anything_changes(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, expected: type[Exception] | None, text: str
) -> None:
    Deployed(monkeypatch, None)
    client = FakeClient(validate_template=failing(error) if error else lambda **_: {})
    with pytest.raises(expected, match=text) if expected else nullcontext():
        workers_stack.check(fake_aws(cloudformation=client), "p-", GIVEN)
    assert client.requests == [("validate_template", {"TemplateURL": "p-order-fulfillment-workers"})]


def test_values_are_checked_before_anything_changes_and_the_bucket_is_there_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Deployed(monkeypatch, None)
    steps: list[str] = []
    monkeypatch.setattr(artifacts, "ensure", lambda _aws, bucket: steps.append(bucket.stack_name))
    client = FakeClient(validate_template=lambda **_: steps.append("validated"))
    with pytest.raises(DeployError, match="MinTasks '5': must not exceed MaxTasks"):
        workers_stack.check(fake_aws(cloudformation=client), "p-", GIVEN | {"MinTasks": "5", "MaxTasks": "4"})
    assert steps == []
    workers_stack.check(fake_aws(cloudformation=client), "p-", GIVEN)
    assert steps == ["p-order-fulfillment-workers", "validated"]


def test_a_missing_parameter_comes_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    Deployed(monkeypatch, None)
    with pytest.raises(DeployError, match=r"needs a value for Image, .*\. Without workers: --pipeline-only$"):
        workers_stack.check(fake_aws(), "p-", {})
