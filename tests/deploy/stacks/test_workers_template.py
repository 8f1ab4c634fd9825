"""deploy/workers.yaml against the workers it runs: their settings, their stop, their health, the queues' policies."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from annotated_types import Ge, Le

from tests.deploy.cloudwatch import PIPELINE, WORKERS, of_type, text
from tests.support import StartWorker, free_port
from workers.runner import FORCED_EXIT_MARGIN_S
from workers.settings import Settings, Worker
from workers.wiring import QUEUE_MARGIN

PARAMETERS: dict[str, dict[str, Any]] = WORKERS["Parameters"]
FIELDS = {field.alias: field for field in Settings.model_fields.values() if field.alias}
TASKS = of_type("AWS::ECS::TaskDefinition")
LONGEST_STOP_S = 120  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html

# Settings that are no parameter, and what stands in the template instead.
FIXED = {
    "ORDER_TABLE": "OrderTable",
    "ESCALATION_TABLE": "EscalationTable",
    "ORDER_FULFILLMENT_QUEUE": "OrderFulfillmentQueue",
    "ESCALATION_QUEUE": "EscalationQueue",
    "WORKER_HEALTH_PORT": "8080",  # The task has an address of its own.
    "LOG_FORMAT": "json",  # What the metric filters read.
}
LEFT_OUT = {"FULFILLMENT_TOKEN"}  # Who may describe tasks could read it. FULFILLMENT_TOKEN_SECRET is there.
# Parameters with a range of their own, and its end.
NARROWER = {
    "WORKER_DRAIN_S": LONGEST_STOP_S - FORCED_EXIT_MARGIN_S - 5,
    "WORKER_MAX_DELIVERIES": min(
        queue["RedrivePolicy"]["maxReceiveCount"]
        for queue in of_type("AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue
    )
    - QUEUE_MARGIN,
}


def parameter(variable: str) -> str:
    """Return the parameter of a variable: `WORKER_WAIT_S` is `WorkerWaitS`."""
    return "".join(word.title() for word in variable.split("_"))


TUNED = [variable for variable in FIELDS if variable not in {*FIXED, *LEFT_OUT}]


def environment(task: dict[str, Any]) -> dict[str, Any]:
    (container,) = task["ContainerDefinitions"]
    return {each["Name"]: each["Value"] for each in container["Environment"]}


@pytest.mark.parametrize("variable", TUNED)
def test_a_setting_has_a_parameter_with_the_same_default(variable: str) -> None:
    default = FIELDS[variable].default
    assert PARAMETERS[parameter(variable)]["Default"] == ("" if default is None else default)


@pytest.mark.parametrize("variable", [each for each in TUNED if PARAMETERS[parameter(each)]["Type"] == "Number"])
def test_a_number_has_the_same_range(variable: str) -> None:
    (least,) = [each.ge for each in FIELDS[variable].metadata if isinstance(each, Ge)]
    (most,) = [each.le for each in FIELDS[variable].metadata if isinstance(each, Le)]
    declared = PARAMETERS[parameter(variable)]
    assert (declared["MinValue"], declared["MaxValue"]) == (least, NARROWER.get(variable, most))
    assert least <= declared["MaxValue"] <= most


def test_the_provider_is_spelled_by_the_same_pattern() -> None:
    (pattern,) = [each.pattern for each in FIELDS["FULFILLMENT_PROVIDER"].metadata if hasattr(each, "pattern")]
    assert PARAMETERS["FulfillmentProvider"]["AllowedPattern"] == pattern


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("FulfillmentUrl", ["https://ship.example/orders?key=1"]),
        (
            "FulfillmentTokenSecret",
            [
                "arn:aws:secretsmanager:eu-central-1:123456789012:secret:provider/token-AbCdEf",
                "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:token-AbCdEf",
            ],
        ),
        ("EscalationRules", ["/app/rules.toml"]),
        ("LogLevel", PARAMETERS["LogLevel"]["AllowedValues"]),
    ],
)
def test_what_a_parameter_takes_the_worker_takes(name: str, values: list[str]) -> None:
    for value in values:
        assert re.fullmatch(PARAMETERS[name].get("AllowedPattern", ".*"), value)
        variable = next(each for each in TUNED if parameter(each) == name)
        provider = {"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": "https://ship.example/"}
        Settings.read(provider | {variable: value})


@pytest.mark.parametrize("name", TASKS)
def test_a_task_gets_every_setting_of_its_worker_and_nothing_else(name: str) -> None:
    given = environment(TASKS[name])
    own = {
        "FulfillmentTask": {each for each in TUNED if each.startswith("FULFILLMENT_")},
        "EscalationTask": {"ESCALATION_RULES"},
    }
    others = {each for owner, names in own.items() if owner != name for each in names}
    assert set(given) == {"AWS_REGION", *FIXED, *TUNED} - others
    for variable, value in given.items():
        if variable in FIXED:
            assert text(value) == FIXED[variable]
        elif variable != "AWS_REGION":
            assert value == {"Ref": parameter(variable)}


def test_the_parameters_defaults_start_a_worker() -> None:
    defaults = {each: str(PARAMETERS[parameter(each)]["Default"]) for each in TUNED}
    assert Settings.read(defaults | FIXED) == Settings.read(FIXED)


@pytest.mark.parametrize("name", TASKS)
def test_a_worker_has_ended_by_itself_before_it_is_killed(name: str) -> None:
    (container,) = TASKS[name]["ContainerDefinitions"]
    longest_drain_s = PARAMETERS["WorkerDrainS"]["MaxValue"]
    assert longest_drain_s + FORCED_EXIT_MARGIN_S < container["StopTimeout"] <= LONGEST_STOP_S
    assert PARAMETERS["WorkerWaitS"]["MaxValue"] + FORCED_EXIT_MARGIN_S < container["StopTimeout"]


def test_each_worker_has_a_task_a_service_and_a_role_of_its_own() -> None:
    assert sorted(task["ContainerDefinitions"][0]["Command"][0] for task in TASKS.values()) == sorted(Worker)
    assert sorted(service["ServiceName"] for service in of_type("AWS::ECS::Service").values()) == sorted(Worker)
    roles = [task["TaskRoleArn"]["Fn::GetAtt"][0] for task in TASKS.values()]
    assert len(set(roles)) == len(Worker)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_may_do_no_more_than_it_must(name: str) -> None:
    (container,) = TASKS[name]["ContainerDefinitions"]
    assert (container["User"], container["Privileged"]) == ("10001:10001", False)
    assert container["ReadonlyRootFilesystem"] is True
    assert container["LinuxParameters"] == {"Capabilities": {"Drop": ["ALL"]}, "InitProcessEnabled": True}
    assert TASKS[name]["RuntimePlatform"]["CpuArchitecture"] == "ARM64"
    assert "Volumes" not in TASKS[name]


@pytest.mark.parametrize("cpu", PARAMETERS["TaskCpu"]["AllowedValues"])
def test_fargate_has_each_size(cpu: str) -> None:
    """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html"""
    memory_mb = WORKERS["Mappings"]["MemoryMb"][cpu]["Memory"]
    sizes = {"256": {"512", "1024", "2048"}, "512": {"1024", "2048", "3072", "4096"}, "1024": {"2048", "3072", "4096"}}
    assert memory_mb in sizes[cpu]


def test_the_pipelines_queues_take_messages_from_the_roles_that_send_them() -> None:
    policies = json.dumps(of_type("AWS::SQS::QueuePolicy"))
    for task in TASKS.values():
        role = WORKERS["Resources"][task["TaskRoleArn"]["Fn::GetAtt"][0]]["Properties"]["RoleName"]["Fn::Sub"]
        assert f"role/{role}" in policies


def test_both_stacks_take_the_same_of_what_they_share() -> None:
    for name in ("NamePrefix", "AlarmTopicArn", "KmsKeyArn"):
        ours, theirs = PARAMETERS[name], PIPELINE["Parameters"][name]
        assert {key: ours.get(key) for key in ("Type", "Default", "AllowedPattern")} == {
            key: theirs.get(key) for key in ("Type", "Default", "AllowedPattern")
        }


def test_the_health_check_says_whether_a_running_worker_is_well(start_worker: StartWorker) -> None:
    command, *arguments = [
        text(each) for each in TASKS["FulfillmentTask"]["ContainerDefinitions"][0]["HealthCheck"]["Command"]
    ][1:]
    assert command == "python"
    port = free_port()
    arguments = [each.replace("8080", str(port)) for each in arguments]

    def check() -> int:
        return subprocess.run([sys.executable, *arguments], check=False, capture_output=True, timeout=30).returncode

    assert check() == 1
    worker = start_worker("fulfillment", env={"WORKER_HEALTH_PORT": str(port)})
    worker.wait_for("worker.started")
    assert check() == 0
    assert worker.stop() == 0
    assert check() == 1
