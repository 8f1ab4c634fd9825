"""What the deployer relies on, besides stacks and buckets: names in use, names just freed, an account's quota."""

from tests.aws_facts.fact import facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.queues import SQS_API
from tests.aws_facts.stacks import STACK_API, create_stack, propose, remove_stack, stack_of, template

cloudformation, sqs, iam = facts_of("cloudformation"), facts_of("sqs"), facts_of("iam")
cloudwatch, function = facts_of("cloudwatch"), facts_of("lambda")


@cloudformation(
    "The events of a stack come newest first, each with an id of its own.",
    source=STACK_API + "API_DescribeStackEvents.html",
    relied_on_by=("deploy/stacks/events.py::newest_first",),
    expected=["CREATE_COMPLETE", True, True],
)
def events_come_newest_first(lab: Lab) -> object:
    name = stack_of(lab).name
    pages = lab.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=name)
    events = [event for page in pages for event in page["StackEvents"]]
    times = [event["Timestamp"] for event in events]
    return [
        events[0]["ResourceStatus"],
        times == sorted(times, reverse=True),
        len({event["EventId"] for event in events}) == len(events),
    ]


@cloudformation(
    "A deleted stack is listed, and its events are found by its ARN, with the time at which each resource was deleted.",
    source=STACK_API + "API_ListStacks.html, " + STACK_API + "API_DescribeStackEvents.html",
    relied_on_by=("deploy/stacks/preflight.py::_deleted", "deploy/stacks/preflight.py::_queue_deleted"),
    expected=[1, True],
)
def a_deleted_stack_keeps_its_events(lab: Lab) -> object:
    client, name = lab.client("cloudformation"), create_stack(lab).name
    remove_stack(lab, name)
    pages = client.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    found = [stack for page in pages for stack in page["StackSummaries"] if stack["StackName"] == name]
    events = client.describe_stack_events(StackName=found[0]["StackId"])["StackEvents"]
    deleted = [event for event in events if event["LogicalResourceId"] == "Topic" and "Timestamp" in event]
    return [len(found), "DELETE_COMPLETE" in {event["ResourceStatus"] for event in deleted}]


@cloudformation(
    "A change set is found by its own name and that of its stack.",
    source=STACK_API + "API_DescribeChangeSet.html",
    relied_on_by=("deploy/stacks/changes.py::ChangeSet",),
    expected=True,
)
def a_change_set_is_found_by_two_names(lab: Lab) -> object:
    name = stack_of(lab).name
    kept = [{"ParameterKey": "Mark", "UsePreviousValue": True}]
    proposed = propose(lab, name, template(DisplayName="z"), "UPDATE", Parameters=kept)
    found = lab.client("cloudformation").describe_change_set(StackName=name, ChangeSetName=proposed["ChangeSetName"])
    return bool(found["ChangeSetId"] == proposed["ChangeSetId"])


@sqs(
    "The name of a queue that was deleted less than 60 seconds ago is refused: QueueDeletedRecently.",
    source=SQS_API + "API_CreateQueue.html",
    relied_on_by=("deploy/stacks/preflight.py::QUEUE_NAME_FREE_AFTER_S",),
    expected="AWS.SimpleQueueService.QueueDeletedRecently",
)
def a_name_that_was_just_freed_is_refused(lab: Lab) -> object:
    url = lab.queue()
    lab.sqs.delete_queue(QueueUrl=url)
    return error_of(lab.sqs.create_queue, QueueName=url.rpartition("/")[2])


@iam(
    "A missing role is NoSuchEntity.",
    source="https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRole.html",
    relied_on_by=("deploy/stacks/preflight.py::_role",),
    expected="NoSuchEntity",
)
def a_missing_role_is_not_found(lab: Lab) -> object:
    return error_of(lab.client("iam").get_role, RoleName=lab.name())


@cloudwatch(
    "A missing dashboard has the status 404.",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetDashboard.html",
    relied_on_by=("deploy/stacks/preflight.py::_is_dashboard",),
    expected="404",
)
def a_missing_dashboard_is_not_found(lab: Lab) -> object:
    return error_of(lab.client("cloudwatch").get_dashboard, status=True, DashboardName=lab.name()).rpartition(" ")[2]


@function(
    "The account's settings have the number of concurrent executions without a reserve.",
    source="https://docs.aws.amazon.com/lambda/latest/api/API_AccountLimit.html",
    relied_on_by=("deploy/stacks/preflight.py::report_few_executions",),
    expected=True,
)
def the_account_has_a_limit_of_executions(lab: Lab) -> object:
    limit = lab.client("lambda").get_account_settings()["AccountLimit"]
    return isinstance(limit["UnreservedConcurrentExecutions"], int)
