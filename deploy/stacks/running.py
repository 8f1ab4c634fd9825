"""What a deployed system is doing: the tasks of its services, the alarms that ring. As lines for people."""

from collections.abc import Iterable

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import Aws
from deploy.stacks import stack

_MAX_SERVICES = 10  # DescribeServices takes this many.
_MAX_ALARMS = 100  # DescribeAlarms takes this many names.
_ALARM_TYPES = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")


def tasks(aws: Aws, stack_name: str) -> list[str]:
    """Return a line for each ECS service of the stack; `-` and why, where they cannot be told."""
    arns = stack.resources(aws, stack_name).get("AWS::ECS::Service", [])
    if not arns:
        return ["tasks  -  (no service)"]
    cluster = arns[0].split("/")[-2]  # service/<cluster>/<name>, all of one cluster.
    try:
        services = aws.ecs.describe_services(cluster=cluster, services=arns[:_MAX_SERVICES])["services"]
    except (BotoCoreError, ClientError) as error:
        return [f"tasks  -  ({_why(error)})"]
    width = max((len(service["serviceName"]) for service in services), default=0)
    return [
        f"{service['serviceName']:<{width}}  {service['runningCount']} of {service['desiredCount']} tasks running"
        for service in sorted(services, key=lambda each: each["serviceName"])
    ]


def alarms(aws: Aws, stack_names: Iterable[str]) -> list[str]:
    """Return how many alarms of the stacks ring, then those, with AWS's reason."""
    resources = [stack.resources(aws, name) for name in stack_names]
    names = [name for found in resources for kind in _ALARM_TYPES for name in found.get(kind, [])]
    if not names:
        return ["alarms  -  (none is set up)"]
    ringing: list[str] = []
    try:
        for start in range(0, len(names), _MAX_ALARMS):
            found = aws.cloudwatch.describe_alarms(
                AlarmNames=names[start : start + _MAX_ALARMS],
                AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                StateValue="ALARM",
            )
            ringing += [f"  {each['AlarmName']}: {each.get('StateReason', '')}" for each in found["MetricAlarms"]]
            ringing += [f"  {each['AlarmName']}: {each.get('StateReason', '')}" for each in found["CompositeAlarms"]]
    except (BotoCoreError, ClientError) as error:
        return [f"alarms  -  ({_why(error)})"]
    return [f"{len(ringing)} of {len(names)} alarms in ALARM", *sorted(ringing)]


def _why(error: BotoCoreError | ClientError) -> str:
    if isinstance(error, ClientError):
        return error.response["Error"].get("Code") or "not to be had here"
    return " ".join(str(error).split())
