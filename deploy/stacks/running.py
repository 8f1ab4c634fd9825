"""A running system, for people and for scripts: the tasks of its services, and its active alarms."""

from collections.abc import Iterable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from deploy.aws import Aws
from deploy.stacks import stack

_MAX_SERVICES = 10  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
_MAX_ALARMS = 100  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
_ALARM_TYPES = ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")


@dataclass(frozen=True, slots=True)
class Service:
    """An ECS service, and how many of its tasks run."""

    name: str
    running: int
    desired: int


@dataclass(frozen=True, slots=True)
class Services:
    """The ECS services of a stack; `problem` says why they are not known."""

    services: tuple[Service, ...] = ()
    problem: str | None = None

    def lines(self) -> list[str]:
        """Return a line for each service, or one line with `-` and the problem."""
        if self.problem is not None:
            return [f"tasks  -  ({self.problem})"]
        width = max((len(service.name) for service in self.services), default=0)
        return [
            f"{service.name:<{width}}  {service.running} of {service.desired} tasks running"
            for service in self.services
        ]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An active alarm, and AWS's reason for it."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarms of the stacks: how many there are, and the active ones. `problem` says why they are not known."""

    total: int = 0
    active: tuple[Alarm, ...] = ()
    problem: str | None = None

    def lines(self) -> list[str]:
        """Return a line with the number of active alarms, then a line for each; or one with `-` and the problem."""
        if self.problem is not None:
            return [f"alarms  -  ({self.problem})"]
        active = [f"  {alarm.name}: {alarm.reason}" for alarm in self.active]
        return [f"{len(active)} of {self.total} alarms in ALARM", *active]


def tasks(aws: Aws, stack_name: str) -> Services:
    """Return the ECS services of the stack, by name."""
    arns = stack.resources(aws, stack_name).get("AWS::ECS::Service", [])
    if not arns:
        return Services(problem="no service")
    cluster = arns[0].split("/")[-2]  # The ARN ends in service/<cluster>/<name>. All services are in one cluster.
    try:
        found = aws.ecs.describe_services(cluster=cluster, services=arns[:_MAX_SERVICES])["services"]
    except (BotoCoreError, ClientError) as error:
        return Services(problem=_why(error))
    services = [Service(each["serviceName"], each["runningCount"], each["desiredCount"]) for each in found]
    return Services(tuple(sorted(services, key=lambda service: service.name)))


def alarms(aws: Aws, stack_names: Iterable[str]) -> Alarms:
    """Return the alarms of the stacks, the active ones by name."""
    resources = [stack.resources(aws, name) for name in stack_names]
    names = [name for found in resources for kind in _ALARM_TYPES for name in found.get(kind, [])]
    if not names:
        return Alarms(problem="no alarm")
    active: list[Alarm] = []
    try:
        for start in range(0, len(names), _MAX_ALARMS):
            found = aws.cloudwatch.describe_alarms(
                AlarmNames=names[start : start + _MAX_ALARMS],
                AlarmTypes=["MetricAlarm", "CompositeAlarm"],
                StateValue="ALARM",
            )
            active += [
                Alarm(alarm["AlarmName"], alarm.get("StateReason", ""))
                for alarm in (*found["MetricAlarms"], *found["CompositeAlarms"])
            ]
    except (BotoCoreError, ClientError) as error:
        return Alarms(total=len(names), problem=_why(error))
    return Alarms(len(names), tuple(sorted(active, key=lambda alarm: alarm.name)))


def _why(error: BotoCoreError | ClientError) -> str:
    if isinstance(error, ClientError):
        return error.response["Error"].get("Code") or "unavailable"
    return " ".join(str(error).split())
