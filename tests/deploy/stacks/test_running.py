"""The lines that `status` shows about tasks and alarms."""

import pytest
from botocore.exceptions import EndpointConnectionError

from deploy.aws import Aws
from deploy.stacks import running
from tests.deploy.stacks.fakes import FakeClient, failing, fake_aws, refusal
from tests.support import DeployStack


def test_a_stack_without_tasks_and_alarms_says_so(aws: Aws, deploy_stack: DeployStack) -> None:
    deploy_stack("bare-")

    assert running.tasks(aws, "bare-order-fulfillment").lines() == ["tasks  -  (no service)"]
    assert running.alarms(aws, ["bare-order-fulfillment-workers"]).lines() == ["alarms  -  (no alarm)"]


CLUSTER = "arn:aws:ecs:eu-central-1:111122223333:service/cluster"
UNREACHABLE = EndpointConnectionError(endpoint_url="https://ecs")


def holding(**types: list[str]) -> FakeClient:
    """Return a CloudFormation whose stacks hold these resources: names by type."""
    kinds = {
        "services": "AWS::ECS::Service",
        "alarms": "AWS::CloudWatch::Alarm",
        "sums": "AWS::CloudWatch::CompositeAlarm",
    }
    summaries = [
        {"ResourceType": kinds[kind], "PhysicalResourceId": name, "ResourceStatus": "CREATE_COMPLETE"}
        for kind, names in types.items()
        for name in names
    ]
    return FakeClient(list_stack_resources=lambda **_: [{"StackResourceSummaries": summaries}])


def tasks(ecs: FakeClient, count: int = 2) -> list[str]:
    services = holding(services=[f"{CLUSTER}/s{n}" for n in range(count)])
    return running.tasks(fake_aws(cloudformation=services, ecs=ecs), "mine").lines()


def test_services_are_shown_with_their_tasks_by_name() -> None:
    services = [
        {"serviceName": "fulfillment", "runningCount": 1, "desiredCount": 2},
        {"serviceName": "esc", "runningCount": 3, "desiredCount": 3},
    ]
    ecs = FakeClient(describe_services=lambda **_: {"services": services})
    assert tasks(ecs) == ["esc          3 of 3 tasks running", "fulfillment  1 of 2 tasks running"]
    assert ecs.requests == [
        ("describe_services", {"cluster": "cluster", "services": [f"{CLUSTER}/s0", f"{CLUSTER}/s1"]})
    ]


def test_ten_services_are_asked_for_at_most() -> None:
    ecs = FakeClient(describe_services=lambda **_: {"services": []})
    assert tasks(ecs, 11) == tasks(ecs, 1) == []
    assert [len(request["services"]) for _, request in ecs.requests] == [10, 1]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (refusal("AccessDeniedException"), "AccessDeniedException"),
        (refusal(""), "unavailable"),
        (UNREACHABLE, 'Could not connect to the endpoint URL: "https://ecs"'),
    ],
)
def test_tasks_and_alarms_that_cannot_be_read_say_why(error: Exception, why: str) -> None:
    assert tasks(FakeClient(describe_services=failing(error))) == [f"tasks  -  ({why})"]
    aws = fake_aws(cloudformation=holding(alarms=["A"]), cloudwatch=FakeClient(describe_alarms=failing(error)))
    assert running.alarms(aws, ["mine"]).lines() == [f"alarms  -  ({why})"]


def test_active_alarms_are_shown_by_name_with_their_reason() -> None:
    found = {
        "MetricAlarms": [{"AlarmName": "b", "StateReason": "too late"}, {"AlarmName": "c"}],
        "CompositeAlarms": [{"AlarmName": "a", "StateReason": "both"}],
    }
    cloudwatch = FakeClient(describe_alarms=lambda **_: found)
    aws = fake_aws(cloudformation=holding(alarms=["b", "c", "d"], sums=["a"]), cloudwatch=cloudwatch)
    assert running.alarms(aws, ["mine"]).lines() == ["3 of 4 alarms in ALARM", "  a: both", "  b: too late", "  c: "]
    request = {
        "AlarmNames": ["b", "c", "d", "a"],
        "AlarmTypes": ["MetricAlarm", "CompositeAlarm"],
        "StateValue": "ALARM",
    }
    assert cloudwatch.requests == [("describe_alarms", request)]


def test_alarms_of_all_stacks_are_asked_for_a_hundred_at_a_time() -> None:
    cloudwatch = FakeClient(describe_alarms=lambda **_: {"MetricAlarms": [], "CompositeAlarms": []})
    aws = fake_aws(cloudformation=holding(alarms=[f"a{n}" for n in range(125)]), cloudwatch=cloudwatch)
    assert running.alarms(aws, ["one", "two"]).lines() == ["0 of 250 alarms in ALARM"]
    assert [len(request["AlarmNames"]) for _, request in cloudwatch.requests] == [100, 100, 50]


def test_without_services_or_alarms_aws_is_not_asked() -> None:
    assert tasks(FakeClient(), 0) == ["tasks  -  (no service)"]
    assert running.alarms(fake_aws(cloudformation=holding()), ["mine"]).lines() == ["alarms  -  (no alarm)"]
