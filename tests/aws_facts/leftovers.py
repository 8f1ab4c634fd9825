"""Removes what a killed run has left."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.aws_facts.lab import Clients, Lab
from tests.aws_facts.stacks import remove_stack
from tests.aws_facts.tables import remove_table
from tests.aws_facts.workflows import remove_state_machine

_PATIENCE_S = 60.0
_STACKS = [
    "CREATE_COMPLETE",
    "CREATE_FAILED",
    "REVIEW_IN_PROGRESS",
    "ROLLBACK_COMPLETE",
    "UPDATE_COMPLETE",
    "DELETE_FAILED",
]


def remove(client: Clients, prefix: str, progress: Callable[[str], None] | None = None) -> list[str]:
    """
    Remove all stacks, state machines, rules, queues, tables, topics, buckets and roles whose names begin with *prefix*.

    Returns what was removed, such as `queue facts-12345678`. It does not matter who made them, so use a prefix that
    nothing else has.
    """
    report = progress or (lambda _line: None)
    removed = []
    with Lab(client, prefix, patience_s=_PATIENCE_S) as lab:
        for kind, names, removal in (
            ("stack", _stacks, remove_stack),
            ("state machine", _state_machines, remove_state_machine),
            ("rule", _rules, _remove_rule),
            ("queue", _queues, _remove_queue),
            ("table", _tables, remove_table),
            ("topic", _topics, _remove_topic),
            ("bucket", _buckets, _remove_bucket),
            ("role", _roles, _remove_role),
        ):
            for name in list(names(lab)):
                removal(lab, name)
                removed.append(f"{kind} {name}")
                report(f"removed {removed[-1]}")
    return removed


def _listed(lab: Lab, service: str, call: str, key: str, **parameters: object) -> Iterator[Any]:
    for page in lab.client(service).get_paginator(call).paginate(**parameters):
        yield from page.get(key, [])


def _ours(lab: Lab, names: Iterator[str]) -> Iterator[str]:
    return (name for name in names if name.startswith(lab.prefix))


def _stacks(lab: Lab) -> Iterator[str]:
    found = _listed(lab, "cloudformation", "list_stacks", "StackSummaries", StackStatusFilter=_STACKS)
    return _ours(lab, (stack["StackName"] for stack in found))


def _state_machines(lab: Lab) -> Iterator[str]:
    found = _listed(lab, "stepfunctions", "list_state_machines", "stateMachines")
    return _ours(lab, (machine["name"] for machine in found))


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
