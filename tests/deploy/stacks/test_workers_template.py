"""deploy/workers.yaml against the workers that it runs: settings, stop, health check, the queues' policies."""

import contextlib
import itertools
import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from annotated_types import Ge, Le

from deploy.errors import DeployError
from deploy.stacks.template import check_parameters
from tests.deploy.cloudwatch import PIPELINE, WORKERS, of_type, text
from tests.support import StartWorker, free_port
from workers.consumer.timings import DEFAULT_TIMINGS
from workers.errors import FatalError
from workers.kinds import Worker
from workers.monitoring import SHUTDOWN_S
from workers.proxies import proxy_for
from workers.runner import FORCED_EXIT_MARGIN_S, longest_stop_s
from workers.settings import Settings
from workers.tracing.export import FLUSH_S as TRACES_FLUSH_S
from workers.tracing.variables import asks_for_tracing
from workers.trials import MAX_TRIALS
from workers.wiring import QUEUE_MARGIN

PARAMETERS: dict[str, dict[str, Any]] = WORKERS["Parameters"]
FIELDS = {field.alias: field for field in Settings.model_fields.values() if field.alias}
TASKS = of_type("AWS::ECS::TaskDefinition")
LONGEST_STOP_S = 120  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html

# Settings without a parameter, and their values in the template.
FIXED = {
    "ORDER_TABLE": "OrderTable",
    "ESCALATION_TABLE": "EscalationTable",
    "ORDER_FULFILLMENT_QUEUE": "OrderFulfillmentQueue",
    "ESCALATION_QUEUE": "EscalationQueue",
    "WORKER_HEALTH_PORT": "8080",  # Each task has its own address.
    "LOG_FORMAT": "json",  # The metric filters read JSON.
}
LEFT_OUT = {
    "FULFILLMENT_TOKEN",  # Users who may describe tasks could read it. FULFILLMENT_TOKEN_SECRET is used instead.
    "WORKER_HEALTH_HOST",  # The image sets it.
}
# Parameters with a smaller maximum than the setting.
NARROWER = {
    "WORKER_DRAIN_S": LONGEST_STOP_S - FORCED_EXIT_MARGIN_S - 5,
    "WORKER_MAX_DELIVERIES": 15,  # tests/deploy/test_alarms.py and the test below say why.
}


def parameter(variable: str) -> str:
    """Return the parameter of a variable: `WorkerWaitS` for `WORKER_WAIT_S`."""
    if variable == "WORKER_TASK_PROTECTION":
        return "TaskProtection"
    return "".join(word.title() for word in variable.split("_"))


# Each deployment has its own. The parameter's default is only for deployments without `python -m deploy`.
NAMED_BY_DEPLOYMENT = {"WORKER_RELEASE"}
TUNED = [variable for variable in FIELDS if variable not in {*FIXED, *LEFT_OUT}]


def container_of(task: dict[str, Any]) -> Any:
    """Return the container of the worker itself."""
    return task["ContainerDefinitions"][0]


def collector_of(task: dict[str, Any]) -> Any:
    """Return the container that a task has only if a collector is given."""
    (_, conditional) = task["ContainerDefinitions"]
    condition, collector, otherwise = conditional["Fn::If"]
    assert (condition, otherwise) == ("HasTracingCollector", {"Ref": "AWS::NoValue"})
    return collector


def environment(task: dict[str, Any]) -> dict[str, Any]:
    container = container_of(task)
    return {variable["Name"]: variable["Value"] for variable in container["Environment"] if "Name" in variable}


def optional(task: dict[str, Any]) -> dict[str, Any]:
    """Return the variables that a task has only under a condition: name to condition and value."""
    container = container_of(task)
    conditions = [variable["Fn::If"] for variable in container["Environment"] if "Fn::If" in variable]
    assert all(otherwise == {"Ref": "AWS::NoValue"} for _, _, otherwise in conditions)
    return {variable["Name"]: (condition, variable["Value"]) for condition, variable, _ in conditions}


@pytest.mark.parametrize("variable", [variable for variable in TUNED if variable not in NAMED_BY_DEPLOYMENT])
def test_a_setting_has_a_parameter_with_the_same_default(variable: str) -> None:
    default = FIELDS[variable].default
    expected = "" if default is None else "false" if default is False else default
    assert PARAMETERS[parameter(variable)]["Default"] == expected


@pytest.mark.parametrize("variable", [name for name in TUNED if PARAMETERS[parameter(name)]["Type"] == "Number"])
def test_a_number_has_the_same_range(variable: str) -> None:
    (least,) = [limit.ge for limit in FIELDS[variable].metadata if isinstance(limit, Ge)]
    (most,) = [limit.le for limit in FIELDS[variable].metadata if isinstance(limit, Le)]
    declared = PARAMETERS[parameter(variable)]
    assert (declared["MinValue"], declared["MaxValue"]) == (least, NARROWER.get(variable, most))
    assert least <= declared["MaxValue"] <= most


def test_deliveries_leave_room_for_trials_and_many_stops() -> None:
    most = min(
        queue["RedrivePolicy"]["maxReceiveCount"]
        for queue in of_type("AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue
    )
    assert NARROWER["WORKER_MAX_DELIVERIES"] <= most - QUEUE_MARGIN
    assert NARROWER["WORKER_MAX_DELIVERIES"] + MAX_TRIALS + 50 < most, "fifty stops, each of which is a delivery"


def test_the_provider_has_the_same_pattern() -> None:
    (pattern,) = [limit.pattern for limit in FIELDS["FULFILLMENT_PROVIDER"].metadata if hasattr(limit, "pattern")]
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
        ("TaskProtection", PARAMETERS["TaskProtection"]["AllowedValues"]),
        ("LogLevel", PARAMETERS["LogLevel"]["AllowedValues"]),
    ],
)
def test_the_worker_accepts_what_a_parameter_accepts(name: str, values: list[str]) -> None:
    for value in values:
        assert re.fullmatch(PARAMETERS[name].get("AllowedPattern", ".*"), value)
        variable = next(variable for variable in TUNED if parameter(variable) == name)
        provider = {"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": "https://ship.example/"}
        Settings.read(provider | {variable: value})


@pytest.mark.parametrize("name", TASKS)
def test_a_task_gets_every_setting_of_its_worker_and_nothing_else(name: str) -> None:
    given = environment(TASKS[name])
    own = {
        "FulfillmentTask": {variable for variable in TUNED if variable.startswith("FULFILLMENT_")},
        "EscalationTask": {"ESCALATION_RULES"},
    }
    others = {variable for owner, names in own.items() if owner != name for variable in names}
    assert set(given) == {"AWS_REGION", *FIXED, *TUNED} - others
    for variable, value in given.items():
        if variable in FIXED:
            assert text(value) == FIXED[variable]
        elif variable != "AWS_REGION":
            assert value == {"Ref": parameter(variable)}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_gets_a_proxy_and_traces_only_if_a_parameter_says_so(name: str) -> None:
    assert optional(TASKS[name]) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": ("HasTracingCollector", "http://127.0.0.1:4318"),
        "OTEL_TRACES_SAMPLER": ("HasTracingCollector", "parentbased_traceidratio"),
        "OTEL_TRACES_SAMPLER_ARG": ("HasTracingCollector", {"Ref": "TracingShare"}),
        "HTTPS_PROXY": ("HasHttpsProxy", {"Ref": "HttpsProxy"}),
        "NO_PROXY": ("HasNoProxy", {"Ref": "NoProxy"}),
    }
    for parameter_name in ("HttpsProxy", "NoProxy", "TracingCollectorImage"):
        assert PARAMETERS[parameter_name]["Default"] == ""
        condition = f"Has{parameter_name.removesuffix('Image')}"
        empty = {"Fn::Equals": [{"Ref": parameter_name}, ""]}
        assert WORKERS["Conditions"][condition] == {"Fn::Not": [empty]}


@pytest.mark.parametrize("name", TASKS)
def test_a_collector_takes_the_spans_where_the_worker_sends_them(name: str) -> None:
    collector, (_, endpoint) = collector_of(TASKS[name]), optional(TASKS[name])["OTEL_EXPORTER_OTLP_ENDPOINT"]
    config = yaml.safe_load(WORKERS["Mappings"]["Collector"]["Config"]["Yaml"])
    assert f"http://{config['receivers']['otlp']['protocols']['http']['endpoint']}" == endpoint
    assert asks_for_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    parts = config["service"]["pipelines"]["traces"]
    assert {part: set(names) for part, names in parts.items()} == {
        part: set(config[part]) for part in ("receivers", "processors", "exporters")
    }
    given = {variable["Name"]: variable["Value"] for variable in collector["Environment"] if "Name" in variable}
    assert given["COLLECTOR_CONFIG"] == {"Fn::FindInMap": ["Collector", "Config", "Yaml"]}
    assert collector["Command"] == ["--config=env:COLLECTOR_CONFIG"]


@pytest.mark.parametrize("name", TASKS)
def test_a_collector_that_fails_ends_no_worker_and_stops_after_it(name: str) -> None:
    collector, worker = collector_of(TASKS[name]), container_of(TASKS[name])
    assert (collector["Essential"], worker["Essential"]) == (False, True)
    depends = {"ContainerName": collector["Name"], "Condition": "START"}
    assert worker["DependsOn"] == [{"Fn::If": ["HasTracingCollector", depends, {"Ref": "AWS::NoValue"}]}]
    least = min(int(sizes["Memory"]) for sizes in WORKERS["Mappings"]["MemoryMb"].values())
    assert collector["Memory"] <= least - 256, "leaves the worker what it needs"
    assert collector["ReadonlyRootFilesystem"] is True


def test_the_worker_accepts_the_proxies_that_a_parameter_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {"Parameters": {"HttpsProxy": PARAMETERS["HttpsProxy"]}}
    for proxy in ("http://proxy.example:3128", "http://10.0.0.1:3128", "https://proxy"):
        check_parameters(declared, {"HttpsProxy": proxy})
        monkeypatch.setenv("https_proxy", proxy)
        found = proxy_for("https://sqs.eu-central-1.amazonaws.com")
        assert found is not None
        assert found.url == proxy
    for refused in ("proxy.example:3128", "http://ann:secret@proxy:3128", "socks5://proxy", "http://proxy:3128/path"):
        with pytest.raises(DeployError, match=r"Empty, or http://HOST:PORT, without user and password\.$"):
            check_parameters(declared, {"HttpsProxy": refused})


def test_the_worker_calls_hosts_directly_that_a_parameter_names(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {"Parameters": {"NoProxy": PARAMETERS["NoProxy"]}}
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    for hosts in ("*", "amazonaws.com", ".amazonaws.com,ship.example:8443", "10.0.0.1,ship.example"):
        check_parameters(declared, {"NoProxy": hosts})
        monkeypatch.setenv("no_proxy", hosts)
        direct = {host for host in ("sqs.amazonaws.com", "ship.example") if proxy_for(f"https://{host}") is None}
        assert direct == {
            "*": {"sqs.amazonaws.com", "ship.example"},
            "10.0.0.1,ship.example": {"ship.example"},
        }.get(hosts, {"sqs.amazonaws.com"})
    for refused in ("amazonaws.com, ship.example", "10.0.0.0/8", "a,*", "a,,b"):
        with pytest.raises(DeployError, match="NoProxy"):
            check_parameters(declared, {"NoProxy": refused})


def test_every_role_has_the_boundary_if_one_is_given() -> None:
    expected = {"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]}
    assert {role["PermissionsBoundary"] == expected for role in of_type("AWS::IAM::Role").values()} == {True}
    for source in (WORKERS, PIPELINE):
        declared = {"Parameters": {"PermissionsBoundaryArn": source["Parameters"]["PermissionsBoundaryArn"]}}
        for accepted in (
            "",
            "arn:aws:iam::111122223333:policy/teams/Boundary",
            "arn:aws:iam::aws:policy/PowerUserAccess",
        ):
            check_parameters(declared, {"PermissionsBoundaryArn": accepted})
        for refused in ("Boundary", "arn:aws:iam::111122223333:role/Boundary", "arn:aws:iam::111122223333:policy/a b"):
            with pytest.raises(DeployError, match="PermissionsBoundaryArn"):
                check_parameters(declared, {"PermissionsBoundaryArn": refused})


def test_a_worker_starts_with_the_parameters_defaults() -> None:
    defaults = {variable: str(PARAMETERS[parameter(variable)]["Default"]) for variable in TUNED}
    assert Settings.read(defaults | FIXED) == Settings.read(FIXED | {"WORKER_RELEASE": "unnamed"})


@pytest.mark.parametrize(
    ("release", "accepted"),
    [
        *((release, True) for release in ("unnamed", "3f9a0c1b2d4e", "v1.2_rc", "1" * 12 + "a" * 52)),
        *((release, False) for release in ("", "v1-2", "v 1", "a" * 65, "a1234567890123", "v1/2")),
    ],
)
def test_parameter_and_setting_accept_the_same_releases(release: str, accepted: bool) -> None:
    assert bool(re.fullmatch(PARAMETERS["WorkerRelease"]["AllowedPattern"], release)) is accepted
    if release:  # Empty, it counts as absent.
        with contextlib.nullcontext() if accepted else pytest.raises(FatalError):
            Settings.read({"WORKER_RELEASE": release})


@pytest.mark.parametrize("name", TASKS)
def test_a_worker_ends_by_itself_before_ecs_kills_it(name: str) -> None:
    container = container_of(TASKS[name])
    for drain, wait in itertools.product(("MinValue", "MaxValue"), repeat=2):
        settings = Settings.read(
            {
                "WORKER_DRAIN_S": str(PARAMETERS["WorkerDrainS"][drain]),
                "WORKER_WAIT_S": str(PARAMETERS["WorkerWaitS"][wait]),
            }
        )
        assert longest_stop_s(settings) < container["StopTimeout"] <= LONGEST_STOP_S


def test_the_last_deletes_and_connections_end_before_a_stop_is_forced() -> None:
    assert DEFAULT_TIMINGS.flush_s + TRACES_FLUSH_S + SHUTDOWN_S < FORCED_EXIT_MARGIN_S


def test_each_worker_has_its_own_task_service_and_role() -> None:
    assert sorted(task["ContainerDefinitions"][0]["Command"][0] for task in TASKS.values()) == sorted(Worker)
    assert sorted(service["ServiceName"] for service in of_type("AWS::ECS::Service").values()) == sorted(Worker)
    roles = [task["TaskRoleArn"]["Fn::GetAtt"][0] for task in TASKS.values()]
    assert len(set(roles)) == len(Worker)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_runs_without_privileges(name: str) -> None:
    container = container_of(TASKS[name])
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


def test_shared_parameters_are_declared_alike_in_both_templates() -> None:
    for name in PARAMETERS.keys() & PIPELINE["Parameters"].keys():
        ours, theirs = PARAMETERS[name], PIPELINE["Parameters"][name]
        assert {key: ours.get(key) for key in ("Type", "Default", "AllowedPattern")} == {
            key: theirs.get(key) for key in ("Type", "Default", "AllowedPattern")
        }


def test_the_health_check_follows_a_running_worker(start_worker: StartWorker) -> None:
    command, *arguments = [
        text(word) for word in TASKS["FulfillmentTask"]["ContainerDefinitions"][0]["HealthCheck"]["Command"]
    ][1:]
    assert command == "python"
    port = free_port()
    arguments = [word.replace("8080", str(port)) for word in arguments]

    def check() -> int:
        return subprocess.run([sys.executable, *arguments], check=False, capture_output=True, timeout=30).returncode

    assert check() == 1
    worker = start_worker("fulfillment", env={"WORKER_HEALTH_PORT": str(port)})
    worker.wait_for("worker.started")
    assert check() == 0
    assert worker.stop() == 0
    assert check() == 1


@pytest.mark.parametrize(
    ("name", "service", "what"),
    [
        ("ChannelTopicArns", "sns", "Empty, or the ARNs of standard SNS topics, separated by commas."),
        ("ChannelQueueArns", "sqs", "Empty, or the ARNs of standard SQS queues, not FIFO, separated by commas."),
    ],
)
def test_fifo_channels_are_refused_by_the_workers_template(name: str, service: str, what: str) -> None:
    standard, other = (f"arn:aws:{service}:eu-west-1:{account}:Pager" for account in ("111122223333", "444455556666"))
    declared = {"Parameters": {name: PARAMETERS[name]}}
    for accepted in ("", standard, f"{standard},{other}", f"{standard}-*"):
        check_parameters(declared, {name: accepted})
    for refused in (f"{standard}.fifo", f"{standard},{other}.fifo", "Pager"):
        with pytest.raises(DeployError) as raised:
            check_parameters(declared, {name: refused})
        assert str(raised.value) == f"{name} {refused!r}: {what}"
