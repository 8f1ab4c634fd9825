"""Removes what a run has left, by its prefix: a run of the facts, or of `make acceptance`, which deploys a pipeline."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.aws_facts.lab import QUEUE_GONE, Clients, Lab
from tests.aws_facts.stacks import remove_stack
from tests.aws_facts.tables import remove_table
from tests.aws_facts.workflows import remove_state_machine

# AWS deletes a queue within a minute, a table within some minutes, and lists them until then.
_PATIENCE_S = 300.0
_POLL_S = 3.0
_LOG_GROUPS = ("/aws/lambda/", "/aws/vendedlogs/states/")
# What a removal answers if another one was first.
_GONE = {
    *QUEUE_GONE,
    *("404", "NoSuchBucket", "NoSuchEntity", "NotFound", "ResourceNotFoundException", "StateMachineDoesNotExist"),
}


class NotRemovedError(Exception):
    """Something could not be removed. `problems` has a line for each: what, and why. `removed` is the rest."""

    def __init__(self, prefix: str, removed: Sequence[str], problems: Sequence[str]) -> None:
        super().__init__(f"{len(problems)} resources of {prefix} could not be removed: {'; '.join(problems)}")
        self.removed = removed
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    names: Callable[[Lab], Iterator[str]]
    remove: Callable[[Lab, str], object]


def remove(
    client: Clients, prefix: str, progress: Callable[[str], None] | None = None, *, patience_s: float = _PATIENCE_S
) -> list[str]:
    """
    Remove everything whose name begins with *prefix*, stacks first: their own resources go with them.

    That is stacks, state machines, functions, rules, queues, tables, topics, buckets, roles, alarms and log groups. It
    does not matter who made them, so use a prefix that nothing else has.

    Returns what was removed, such as `queue facts-12345678`. Raises `NotRemovedError` if something is still there after
    *patience_s*; everything else is removed.
    """
    report = progress or (lambda _line: None)
    removed: list[str] = []
    with Lab(client, prefix, patience_s=patience_s) as lab:
        problems = _sweep(lab, removed, report)
        if problems:  # Something may have been in the way that is removed by now.
            problems = _sweep(lab, removed, report)
        left = _left(lab, removed, patience_s)
    lines = [f"{what}: {problem}" for what, problem in problems.items() if what in left or what.endswith("*")]
    lines += [f"{what}: it is still there" for what in left if what not in problems]
    if lines:
        raise NotRemovedError(prefix, [what for what in removed if what not in left], lines)
    return removed


def _sweep(lab: Lab, removed: list[str], report: Callable[[str], None]) -> dict[str, str]:
    """Remove everything once; add to *removed*, and return why something could not be removed."""
    problems: dict[str, str] = {}
    _stop_executions(lab)
    for kind in _KINDS:
        for name in _listed_names(lab, kind, problems):
            what = f"{kind.name} {name}"
            if what in removed:  # AWS lists it for a while.
                continue
            if problem := _problem(lab, kind, name):
                problems[what] = problem
                report(f"could not remove {what}: {problem}")
            else:
                removed.append(what)
                report(f"removed {what}")
    return problems


def _listed_names(lab: Lab, kind: _Kind, problems: dict[str, str]) -> list[str]:
    try:
        return list(kind.names(lab))
    except (BotoCoreError, ClientError) as error:
        problems[f"{kind.name} {lab.prefix}*"] = str(error)
        return []


def _problem(lab: Lab, kind: _Kind, name: str) -> str | None:
    try:
        kind.remove(lab, name)
    except ClientError as error:
        return None if error.response["Error"].get("Code") in _GONE else str(error)
    except BotoCoreError as error:
        return " ".join(str(error).split())
    return None


def _left(lab: Lab, removed: Sequence[str], patience_s: float) -> list[str]:
    """Return what is still listed, once AWS has had time to remove it."""
    deadline_s = time.monotonic() + patience_s
    while (left := _all(lab)) and set(left) <= set(removed) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S if lab.is_patient else 0.1)
    return left


def _all(lab: Lab) -> list[str]:
    return [f"{kind.name} {name}" for kind in _KINDS for name in _listed_names(lab, kind, {})]


def _listed(lab: Lab, service: str, call: str, key: str, **parameters: object) -> Iterator[Any]:
    for page in lab.client(service).get_paginator(call).paginate(**parameters):
        yield from page.get(key, [])


def _ours(lab: Lab, names: Iterator[str]) -> Iterator[str]:
    return (name for name in names if name.startswith(lab.prefix))


def _stacks(lab: Lab) -> Iterator[str]:
    statuses = lab.client("cloudformation").meta.service_model.shape_for("StackStatus").enum
    existing = [status for status in statuses if status != "DELETE_COMPLETE"]
    found = _listed(lab, "cloudformation", "list_stacks", "StackSummaries", StackStatusFilter=existing)
    return _ours(lab, (stack["StackName"] for stack in found))


def _stop_executions(lab: Lab) -> None:
    """
    Stop what runs: a state machine, and so its stack, is deleted only when its executions have ended.

    https://repost.aws/knowledge-center/step-functions-stuck-deleting-status
    """
    arn = f"arn:{lab.partition}:states:{lab.region}:{lab.account}:stateMachine:"
    with contextlib.suppress(BotoCoreError, ClientError):  # They end by themselves, but later.
        for name in _state_machines(lab):
            running = _listed(
                lab,
                "stepfunctions",
                "list_executions",
                "executions",
                stateMachineArn=f"{arn}{name}",
                statusFilter="RUNNING",
            )
            for execution in running:
                with contextlib.suppress(ClientError):  # It has ended in the meantime.
                    lab.workflows.stop_execution(executionArn=execution["executionArn"])


def _state_machines(lab: Lab) -> Iterator[str]:
    found = _listed(lab, "stepfunctions", "list_state_machines", "stateMachines")
    return _ours(lab, (machine["name"] for machine in found))


def _functions(lab: Lab) -> Iterator[str]:
    found = _listed(lab, "lambda", "list_functions", "Functions")
    return _ours(lab, (function["FunctionName"] for function in found))


def _rules(lab: Lab) -> Iterator[str]:
    found = _listed(lab, "events", "list_rules", "Rules", NamePrefix=lab.prefix)
    return _ours(lab, (rule["Name"] for rule in found))


def _remove_rule(lab: Lab, name: str) -> None:
    events = lab.client("events")
    targets = [target["Id"] for target in events.list_targets_by_rule(Rule=name)["Targets"]]
    if targets:
        events.remove_targets(Rule=name, Ids=targets)
    events.delete_rule(Name=name)


def _queues(lab: Lab) -> Iterator[str]:
    urls = _listed(lab, "sqs", "list_queues", "QueueUrls", QueueNamePrefix=lab.prefix)
    return _ours(lab, (url.rpartition("/")[2] for url in urls))


def _remove_queue(lab: Lab, name: str) -> None:
    lab.sqs.delete_queue(QueueUrl=lab.sqs.get_queue_url(QueueName=name)["QueueUrl"])


def _tables(lab: Lab) -> Iterator[str]:
    return _ours(lab, _listed(lab, "dynamodb", "list_tables", "TableNames"))


def _topics(lab: Lab) -> Iterator[str]:
    found = _listed(lab, "sns", "list_topics", "Topics")
    return _ours(lab, (topic["TopicArn"].rpartition(":")[2] for topic in found))


def _remove_topic(lab: Lab, name: str) -> None:
    lab.client("sns").delete_topic(TopicArn=f"arn:{lab.partition}:sns:{lab.region}:{lab.account}:{name}")


def _buckets(lab: Lab) -> Iterator[str]:
    return _ours(lab, (bucket["Name"] for bucket in lab.client("s3").list_buckets()["Buckets"]))


def _remove_bucket(lab: Lab, name: str) -> None:
    s3 = lab.client("s3")
    for stored in list(_listed(lab, "s3", "list_objects_v2", "Contents", Bucket=name)):
        s3.delete_object(Bucket=name, Key=stored["Key"])
    s3.delete_bucket(Bucket=name)


def _roles(lab: Lab) -> Iterator[str]:
    return _ours(lab, (role["RoleName"] for role in _listed(lab, "iam", "list_roles", "Roles")))


def _remove_role(lab: Lab, name: str) -> None:
    iam = lab.client("iam")
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def _alarms(lab: Lab) -> Iterator[str]:
    found = _listed(lab, "cloudwatch", "describe_alarms", "MetricAlarms", AlarmNamePrefix=lab.prefix)
    return (alarm["AlarmName"] for alarm in found)


def _log_groups(lab: Lab) -> Iterator[str]:
    for place in _LOG_GROUPS:
        found = _listed(lab, "logs", "describe_log_groups", "logGroups", logGroupNamePrefix=f"{place}{lab.prefix}")
        yield from (group["logGroupName"] for group in found)


_KINDS = (
    _Kind("stack", _stacks, remove_stack),
    _Kind("state machine", _state_machines, remove_state_machine),
    _Kind("function", _functions, lambda lab, name: lab.client("lambda").delete_function(FunctionName=name)),
    _Kind("rule", _rules, _remove_rule),
    _Kind("queue", _queues, _remove_queue),
    _Kind("table", _tables, remove_table),
    _Kind("topic", _topics, _remove_topic),
    _Kind("bucket", _buckets, _remove_bucket),
    _Kind("role", _roles, _remove_role),
    _Kind("alarm", _alarms, lambda lab, name: lab.client("cloudwatch").delete_alarms(AlarmNames=[name])),
    _Kind("log group", _log_groups, lambda lab, name: lab.client("logs").delete_log_group(logGroupName=name)),
)
