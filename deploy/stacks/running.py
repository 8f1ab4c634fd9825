"""Describes a running system in lines of text for people: the tasks of its services, and its active alarms."""

from collections.abc import Iterable

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import Aws
from deploy.stacks import stack

_MAX_SERVICES = 10  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
_MAX_ALARMS = 100  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
_ALARM_TYPES = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")


def tasks(aws: Aws, stack_name: str) -> list[str]:
    """Return a line for each ECS service of the stack, or one line with `-` and the reason if that fails."""
    arns = stack.resources(aws, stack_name).get("AWS::ECS::Service", [])
    if not arns:
        return ["tasks  -  (no service)"]
    cluster = arns[0].split("/")[-2]  # The ARN ends in service/<cluster>/<name>. All services are in one cluster.
    try:
        services = aws.ecs.describe_services(cluster=cluster, services=arns[:_MAX_SERVICES])["services"]
    except (BotoCoreError, ClientError) as error:
        return [f"tasks  -  ({_why(error)})"]
    width = max((len(service["serviceName"]) for service in services), default=0)
    return [
        f"{service['serviceName']:<{width}}  {service['runningCount']} of {service['desiredCount']} tasks running"
        for service in sorted(services, key=lambda service: service["serviceName"])
    ]


def alarms(aws: Aws, stack_names: Iterable[str]) -> list[str]:
    """Return a line with the number of active alarms, then a line with AWS's reason for each active alarm."""
    resources = [stack.resources(aws, name) for name in stack_names]
    names = [name for found in resources for kind in _ALARM_TYPES for name in found.get(kind, [])]
    if not names:
        return ["alarms  -  (no alarm)"]
    active: list[str] = []
    try:
        for start in range(0, len(names), _MAX_ALARMS):
            found = aws.cloudwatch.describe_alarms(
                AlarmNames=names[start : start + _MAX_ALARMS],
                AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                StateValue="ALARM",
            )
            active += [
                f"  {alarm['AlarmName']}: {alarm.get('StateReason', '')}"
                for alarm in (*found["MetricAlarms"], *found["CompositeAlarms"])
            ]
    except (BotoCoreError, ClientError) as error:
        return [f"alarms  -  ({_why(error)})"]
    return [f"{len(active)} of {len(names)} alarms in ALARM", *sorted(active)]


def _why(error: BotoCoreError | ClientError) -> str:
    if isinstance(error, ClientError):
        return error.response["Error"].get("Code") or "unavailable"
    return " ".join(str(error).split())
