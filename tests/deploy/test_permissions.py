"""
A role allows what its part really does, and nothing else.

The workers' requests are recorded while they do everything they can. The roles come from the templates, as
CloudFormation resolves them. Both a call without a grant and a grant without a call fail here.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from deploy.aws import Aws
from deploy.check_state_machine import DEFINITIONS
from deploy.local.aws import LocalAws
from deploy.progress import Progress
from deploy.stacks import template
from deploy.stacks.pipeline import up
from tests.deploy.permissions import ACCOUNT, ANY, Permission, Recorder, arn, granted, listed
from tests.integration.faulty_provider import Fault, FaultyProvider
from tests.integration.pipeline import Pipeline
from tests.statemachine import bulk
from tests.support import DeployStack
from tests.workers.ecs_agent import running_agent
from workers.task_protection import Agent, TaskProtection

PREFIX = "permissions-"
KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"
# Two working channels, and one that does not answer, which causes reminders.
RULES = """
[[rules]]
severity = "warning"
channels = ["pager", "settlement", "gone"]
[channels.pager]
type = "sns"
topic_arn = "{topic}"
[channels.settlement]
type = "sqs"
queue = "permissions-Settlement"
[channels.gone]
type = "webhook"
url = "http://127.0.0.1:1/"
"""
# AWS's own lists, for requests that we do not make ourselves.
LOG_DELIVERY = {  # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
}
TRACING = {  # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
ON_CHILDREN = ("DescribeExecution", "StopExecution")
PULLING = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}


@dataclass(frozen=True, slots=True)
class Account:
    """The pipeline, and the policies of both stacks' roles as CloudFormation created them, by name without prefix."""

    pipeline: Pipeline
    topic: str
    secret: str
    roles: Mapping[str, list[dict[str, Any]]]
    roles_with_protection: Mapping[str, list[dict[str, Any]]]
    roles_with_collector: Mapping[str, list[dict[str, Any]]]
    roles_with_key: Mapping[str, list[dict[str, Any]]]


def policies(local_aws: LocalAws, prefix: str) -> dict[str, list[dict[str, Any]]]:
    iam = local_aws.client("iam")
    names = [role["RoleName"] for role in iam.list_roles()["Roles"]]
    return {
        role.removeprefix(prefix): [
            iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        ]
        for role in names
        if role.startswith(prefix)
    }


def create_workers_roles(local_aws: LocalAws, prefix: str, **given: str) -> None:
    """Create the roles of the workers' template and their log groups. The local AWS lacks some of its other types."""
    source = template.load(template.WORKERS)
    kept = ("AWS::IAM::Role", "AWS::Logs::LogGroup")
    source["Resources"] = {name: resource for name, resource in source["Resources"].items() if resource["Type"] in kept}
    del source["Outputs"]
    given = {"NamePrefix": prefix, "Image": "i", "Subnets": "subnet-1", "SecurityGroups": "sg-1"} | given
    cloudformation = local_aws.client("cloudformation")
    cloudformation.create_stack(
        StackName=f"{prefix}roles",
        TemplateBody=template.body(source),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=f"{prefix}roles", WaiterConfig={"Delay": 1})


@pytest.fixture(scope="module")
def account(local_aws: LocalAws, aws: Aws, deploy_stack: DeployStack) -> Account:
    deployed = deploy_stack(PREFIX)
    local_aws.client("sqs").create_queue(QueueName="permissions-Settlement")
    topic = local_aws.client("sns").create_topic(Name="permissions-pager")["TopicArn"]
    secret = local_aws.client("secretsmanager").create_secret(Name="permissions-token", SecretString="s3cret")["ARN"]
    given = {
        "ImageRepositoryArn": arn("ecr", "repository/workers"),
        "FulfillmentTokenSecret": secret,
        "ChannelTopicArns": topic,
        "ChannelQueueArns": arn("sqs", "permissions-Settlement"),
        "WebhookUrlSecret": arn("secretsmanager", "secret:url-aaaaaa"),
        "WebhookAuthorizationSecret": arn("secretsmanager", "secret:auth-aaaaaa"),
    }
    create_workers_roles(local_aws, PREFIX, **given)
    create_workers_roles(local_aws, "protecting-", TaskProtection="true")
    create_workers_roles(local_aws, "collecting-", TracingCollectorImage="collector")
    create_workers_roles(local_aws, "keyed-roles-", **given, KmsKeyArn=KEY)
    up(aws, "keyed-roles-", Progress(quiet=True), given={"KmsKeyArn": KEY})
    return Account(
        pipeline=Pipeline(deployed),
        topic=topic,
        secret=secret,
        roles=policies(local_aws, PREFIX),
        roles_with_protection=policies(local_aws, "protecting-"),
        roles_with_collector=policies(local_aws, "collecting-"),
        roles_with_key=policies(local_aws, "keyed-roles-"),
    )


@pytest.fixture(scope="module")
def recorded(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[Permission]]]:
    """The permissions that each worker needed to do everything it can."""
    directory = tmp_path_factory.mktemp("permissions")
    upstream = account.pipeline.stack.local_aws.endpoint
    with contextlib.ExitStack() as running:
        proxies = {name: running.enter_context(Recorder(upstream)) for name in ("fulfillment", "escalation")}
        fulfill(account, proxies["fulfillment"], directory, running)
        escalate(account, proxies["escalation"], directory, running)
        yield {name: proxy.needed() for name, proxy in proxies.items()}


def fulfill(account: Account, proxy: Recorder, directory: Path, running: contextlib.ExitStack) -> None:
    """Ship an order, have one refused and one fail, and receive an undecodable message."""
    pipeline, provider = account.pipeline, running.enter_context(FaultyProvider(seed=1))
    provider.curses = {"refused": Fault.REFUSED, "failing": Fault.ERROR}
    worker = pipeline.start(
        "fulfillment",
        directory / "fulfillment.log",
        AWS_ENDPOINT_URL=proxy.url,
        FULFILLMENT_PROVIDER="http",
        FULFILLMENT_URL=provider.url,
        FULFILLMENT_TOKEN_SECRET=account.secret,
    )
    running.callback(worker.kill)
    for order_id in ("shipped", "refused", "failing"):
        pipeline.put_order(order_id)
        pipeline.send_order(order_id)
    pipeline.send_fulfillment("{not json")
    worker.wait_for("order.fulfilled", order_id="shipped")
    worker.wait_for("message.acknowledged", order_id="refused", outcome="escalated")
    worker.wait_for("message.released", order_id="failing")
    worker.wait_for("message.dead_lettered", outcome="undecodable")
    assert worker.stop() == 0, worker.output()
    pipeline.take(pipeline.stack.escalation_queue_url)


def escalate(account: Account, proxy: Recorder, directory: Path, running: contextlib.ExitStack) -> None:
    """Open cases of every kind, notify all channels, fail, and receive an undecodable message."""
    pipeline, rules = account.pipeline, directory / "rules.toml"
    rules.write_text(RULES.format(topic=account.topic), encoding="utf-8")
    worker = pipeline.start(
        "escalation", directory / "escalation.log", AWS_ENDPOINT_URL=proxy.url, ESCALATION_RULES=str(rules)
    )
    running.callback(worker.kill)
    pipeline.put_order("wrong")
    pipeline.put_order("refused-later", "ESCALATED")
    pipeline.client("dynamodb").put_item(
        TableName=pipeline.stack.escalation_table, Item={"CaseId": {"S": "unreadable"}, "Version": {"N": "1"}}
    )

    def send(order_id: str | None, reason: str, **more: str) -> str:
        execution = pipeline.arn(f"of-{order_id}")
        return pipeline.send_escalation({"OrderId": order_id, "Reasons": [reason], "ExecutionArn": execution} | more)

    opened = send("wrong", "INVALID_PRICE")
    refused = send("refused-later", "FULFILLMENT_REJECTED", Source="fulfillment")
    failed = send(None, "WORKFLOW_FAILED", Source="eventbridge")
    unreadable = send("unreadable", "INVALID_PRICE")
    pipeline.send_escalation("{not json")
    for message_id, outcome in ((opened, "escalated"), (refused, "escalated"), (failed, "postponed")):
        worker.wait_for("message.acknowledged", message_id=message_id, outcome=outcome)
    worker.wait_for("message.released", message_id=unreadable)
    worker.wait_for("message.dead_lettered", outcome="undecodable")
    worker.wait_for("routing.deferred", case_id="wrong")
    assert worker.stop() == 0, worker.output()


@pytest.mark.parametrize(
    ("worker", "role"), [("fulfillment", "RoleForFulfillmentWorker"), ("escalation", "RoleForEscalationWorker")]
)
def test_a_worker_may_do_what_it_does_and_nothing_else(
    account: Account, recorded: dict[str, set[Permission]], worker: str, role: str
) -> None:
    needed, allowed = recorded[worker], granted(account.roles[role])
    tables = (account.pipeline.stack.order_table, account.pipeline.stack.escalation_table)
    of_version_1 = {("dynamodb:GetItem", arn("dynamodb", f"table/{table}")) for table in tables}

    assert sorted(needed - allowed) == [], "calls without a grant"
    assert sorted(allowed - needed - of_version_1) == [], "grants without a call"
    assert of_version_1 <= allowed, "tasks of version 1 still run during an update"


@pytest.mark.parametrize("role", ["RoleForFulfillmentWorker", "RoleForEscalationWorker"])
async def test_a_worker_may_protect_its_task_if_that_is_on(account: Account, role: str) -> None:
    """ECS's agent makes these calls for the worker: UpdateTaskProtection for a PUT, GetTaskProtection for a GET."""
    task = arn("ecs", "task/protecting-order-fulfillment/*")
    actions = {"GET": "ecs:GetTaskProtection", "PUT": "ecs:UpdateTaskProtection"}
    async with running_agent() as agent, ClientSession() as session:
        handling_s = [30.0]
        protection = TaskProtection(
            agent=Agent(session, agent.uri), handling_s=lambda: handling_s, drain_s=25, max_handle_s=900
        )
        async with asyncio.timeout(5):
            stop = asyncio.Event()
            running = asyncio.create_task(protection.run(stop, every_s=0.01))
            await agent.called(2)
            handling_s.clear()
            await agent.called(3)
            stop.set()
            await running
    needed = {(actions[method], task) for method, _ in agent.calls}

    def ecs(documents: list[dict[str, Any]]) -> set[Permission]:
        return {permission for permission in granted(documents) if permission[0].startswith("ecs:")}

    assert ecs(account.roles_with_protection[role]) == needed
    assert ecs(account.roles[role]) == set()


@pytest.mark.parametrize("role", ["RoleForFulfillmentWorker", "RoleForEscalationWorker"])
def test_a_collector_may_send_traces_if_there_is_one(account: Account, role: str) -> None:
    """Its exporter `awsxray` makes one kind of call: PutTraceSegments."""

    def xray(documents: list[dict[str, Any]]) -> set[Permission]:
        return {permission for permission in granted(documents) if permission[0].startswith("xray:")}

    assert xray(account.roles_with_collector[role]) == {("xray:PutTraceSegments", ANY)}
    assert xray(account.roles[role]) == set()


def test_the_workflow_may_do_what_its_definition_does_and_nothing_else(account: Account) -> None:
    definition = json.loads((DEFINITIONS / "order-fulfillment.asl.json").read_text(encoding="utf-8"))
    stack = account.pipeline.stack
    resources = {
        "${OrderTableName}": arn("dynamodb", f"table/{stack.order_table}"),
        "${VerifyCCAndPriceArn}": arn("lambda", f"function:{stack.outputs['VerifyCCAndPriceName']}"),
        "${OrderFulfillmentQueueUrl}": arn("sqs", stack.outputs["OrderFulfillmentQueueName"]),
        "${EscalationQueueUrl}": arn("sqs", stack.outputs["EscalationQueueName"]),
    }
    integrations = {
        "dynamodb:putItem": ("dynamodb:PutItem", "TableName"),
        "lambda:invoke": ("lambda:InvokeFunction", "FunctionName"),
        "sqs:sendMessage": ("sqs:SendMessage", "QueueUrl"),
    }
    needed = {(action, ANY) for action in LOG_DELIVERY | TRACING}
    for state in definition["States"].values():
        if state["Type"] == "Task":
            action, argument = integrations[state["Resource"].partition(":::")[2]]
            needed.add((action, resources[state["Arguments"][argument]]))
    allowed = granted(account.roles["Role4OrderFulfillmentStepFunctions"])

    assert sorted(needed - allowed) == [], "calls without a grant"
    assert sorted(allowed - needed) == [], "grants without a call"


def tasks(machine: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the tasks of a state machine and of those in its maps."""
    for state in machine["States"].values():
        if state["Type"] == "Task":
            yield state
        if "ItemProcessor" in state:
            yield from tasks(state["ItemProcessor"])


def test_the_sweep_may_do_what_its_definition_does_and_nothing_else(account: Account) -> None:
    definition = json.loads((DEFINITIONS / "stuck-order-sweep.asl.json").read_text(encoding="utf-8"))
    stack = account.pipeline.stack
    table = arn("dynamodb", f"table/{stack.order_table}")
    queues = {
        f"${{{name}Url}}": arn("sqs", stack.outputs[f"{name}Name"])
        for name in ("OrderFulfillmentQueue", "EscalationQueue")
    }
    needed = {(action, ANY) for action in LOG_DELIVERY | TRACING}
    for state in tasks(definition):
        asked = state["Arguments"]
        match state["Resource"].partition(":::")[2].split(":"):
            case ["aws-sdk", "cloudwatch", "getMetricData" | "putMetricData" as call]:
                needed.add((f"cloudwatch:{call[0].upper()}{call[1:]}", ANY))
            case ["aws-sdk", "dynamodb", "batchGetItem"]:
                needed.add(("dynamodb:BatchGetItem", table))
            case ["aws-sdk", "dynamodb", "query"]:
                needed.add(("dynamodb:Query", f"{table}/index/{asked['IndexName']}"))
            case ["aws-sdk", "sqs", "getQueueAttributes"]:
                needed.add(("sqs:GetQueueAttributes", queues[asked["QueueUrl"]]))
            case ["sqs", "sendMessage"]:
                needed.add(("sqs:SendMessage", queues[asked["QueueUrl"]]))
            case other:
                raise AssertionError(other)
    allowed = granted(account.roles["RoleForStuckOrderSweep"])

    assert sorted(needed - allowed) == [], "calls without a grant"
    assert sorted(allowed - needed) == [], "grants without a call"
    (statement,) = [
        statement
        for document in account.roles["RoleForStuckOrderSweep"]
        for statement in document["Statement"]
        if statement["Action"] == "cloudwatch:PutMetricData"
    ]
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": f"{PREFIX}OrderFulfillment"}}


def test_the_schedule_may_start_the_sweep_and_nothing_else(account: Account, local_aws: LocalAws) -> None:
    sweep = arn("states", f"stateMachine:{PREFIX}StuckOrderSweep")
    assert granted(account.roles["RoleForSweepSchedule"]) == {("states:StartExecution", sweep)}
    target = local_aws.client("scheduler").get_schedule(Name=f"{PREFIX}StuckOrderSweep")["Target"]
    assert (target["Arn"], target["RoleArn"]) == (sweep, f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}RoleForSweepSchedule")


def test_an_intake_may_do_what_its_definition_does_and_nothing_else(account: Account) -> None:
    stack = account.pipeline.stack
    bucket = f"arn:aws:s3:::{stack.outputs['OrderIntakeBucketName']}"
    itself = stack.outputs["BulkOrderIntakeArn"]
    needed = {(action, ANY) for action in LOG_DELIVERY | TRACING} | {
        # Its children: https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
        ("states:StartExecution", itself),
        *((f"states:{action}", f"{itself.replace(':stateMachine:', ':execution:')}:*") for action in ON_CHILDREN),
    }
    for state in every_state(bulk.load()):
        if "ItemReader" in state:
            assert state["ItemReader"]["Parameters"]["Bucket"] == "${OrderIntakeBucketName}"
            needed.add(("s3:GetObject", f"{bucket}/*"))
        match state["Type"], state.get("Resource", "").partition(":::")[2]:
            case "Task", "states:startExecution":
                assert state["Arguments"]["StateMachineArn"] == "${OrderFulfillmentStateMachineArn}"
                needed.add(("states:StartExecution", stack.state_machine_arn))
            case "Task", "aws-sdk:sfn:listMapRuns":
                needed.add(("states:ListMapRuns", f"{itself.replace(':stateMachine:', ':execution:')}:*"))
            case "Task", "aws-sdk:sfn:describeMapRun":
                needed.add(("states:DescribeMapRun", f"{itself.replace(':stateMachine:', ':mapRun:')}/*"))
            case "Task", resource:
                assert (resource, state["Arguments"]["Bucket"]) == ("aws-sdk:s3:putObject", "${OrderIntakeBucketName}")
                needed.add(("s3:PutObject", f"{bucket}/reports/*"))
    allowed = granted(account.roles["RoleForBulkOrderIntake"])

    assert sorted(needed - allowed) == [], "calls without a grant"
    assert sorted(allowed - needed) == [], "grants without a call"


def test_the_rule_for_dropped_files_may_start_intakes_and_nothing_else(account: Account) -> None:
    resources = template.load(template.PIPELINE)["Resources"]
    assert resources["RoleForDroppedFilesRule"]["Condition"] == resources["DroppedFilesRule"]["Condition"]
    (policy,) = resources["RoleForDroppedFilesRule"]["Properties"]["Policies"]
    assert granted([policy["PolicyDocument"] | {"Statement": [frozen(policy)]}]) == {
        ("states:StartExecution", "BulkOrderIntake")
    }
    assert "RoleForDroppedFilesRule" not in account.roles, "off by default"


def frozen(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a policy's only statement without a key, with the name of its resource."""
    statement, _ = policy["PolicyDocument"]["Statement"]
    return {**statement, "Resource": statement["Resource"]["Ref"]}


def every_state(machine: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the states of a machine, and of those nested in it."""
    for state in machine["States"].values():
        yield state
        if "ItemProcessor" in state:
            yield from every_state(state["ItemProcessor"])


def test_the_function_may_write_its_log_and_nothing_else(account: Account, local_aws: LocalAws) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html"""
    group = arn("logs", f"log-group:/aws/lambda/{PREFIX}VerifyCCAndPrice:*")

    assert granted(account.roles["RoleForLambda"]) == {
        ("logs:CreateLogStream", group),
        ("logs:PutLogEvents", group),
    }
    for role in account.roles:
        attached = local_aws.client("iam").list_attached_role_policies(RoleName=f"{PREFIX}{role}")
        assert attached["AttachedPolicies"] == [], f"{role}: a policy that is not in the template"


def test_ecs_may_start_workers_and_nothing_else(account: Account) -> None:
    groups = [f"log-group:/ecs/{PREFIX}order-fulfillment/{worker}:*" for worker in ("fulfillment", "escalation")]
    needed = {(action, arn("ecr", "repository/workers")) for action in PULLING} | {("ecr:GetAuthorizationToken", ANY)}
    needed |= {
        (f"logs:{action}", arn("logs", group)) for action in ("CreateLogStream", "PutLogEvents") for group in groups
    }
    needed |= {
        ("secretsmanager:GetSecretValue", arn("secretsmanager", f"secret:{name}-aaaaaa")) for name in ("url", "auth")
    }

    assert granted(account.roles["RoleForStartingWorkers"]) == needed


def test_a_queues_policy_names_all_roles_that_may_send(account: Account) -> None:
    """And all roles that it names may send."""
    senders: dict[str, set[str]] = {}
    for role, documents in account.roles.items():
        for action, resource in granted(documents):
            if action == "sqs:SendMessage":
                senders.setdefault(resource, set()).add(f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}{role}")
    for name in ("OrderFulfillmentQueue", "EscalationQueue", "OrderFulfillmentDLQ", "EscalationDLQ"):
        url = account.pipeline.stack.outputs[f"{name}Url"]
        asked = account.pipeline.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "QueueArn"])
        statements = json.loads(asked["Attributes"]["Policy"])["Statement"]
        policy = {statement["Sid"]: statement for statement in statements}
        others = policy["DenyOtherSenders"]

        assert set(others["Condition"]["ArnNotLike"]["aws:PrincipalArn"]) == senders[asked["Attributes"]["QueueArn"]]
        assert (others["Effect"], others["Principal"], others["Action"]) == ("Deny", "*", "sqs:SendMessage")
        assert policy["DenyWithoutTls"]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        allowed = [statement["Principal"] for statement in statements if statement["Effect"] == "Allow"]
        assert allowed == ([{"Service": "events.amazonaws.com"}] if name == "EscalationQueue" else [])


def test_a_given_key_is_granted_for_the_services_that_use_it(
    account: Account, recorded: dict[str, set[Permission]]
) -> None:
    def key_statements(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        statements = [statement for document in documents for statement in document["Statement"]]
        return [found for found in statements if any(action.startswith("kms:") for action in listed(found["Action"]))]

    assert [key_statements(documents) for documents in account.roles.values() if key_statements(documents)] == []
    for worker, role in (("fulfillment", "RoleForFulfillmentWorker"), ("escalation", "RoleForEscalationWorker")):
        (statement,) = key_statements(account.roles_with_key[role])
        used = {action.partition(":")[0] for action, _ in recorded[worker]}

        assert statement["Resource"] == KEY
        via = statement["Condition"]["StringEquals"]["kms:ViaService"]
        assert set(via) == {f"{service}.us-east-1.amazonaws.com" for service in used}
    for role, machine, last, services in (
        (
            "Role4OrderFulfillmentStepFunctions",
            "OrderFulfillmentStateMachine",
            "EncryptOrdersAndMessages",
            ("dynamodb", "sqs"),
        ),
        ("RoleForStuckOrderSweep", "StuckOrderSweep", "ReadOrdersAndEncryptMessages", ("dynamodb", "sqs")),
        ("RoleForBulkOrderIntake", "BulkOrderIntake", "EncryptFilesAndOrders", ("s3", "states")),
    ):
        workflow = key_statements(account.roles_with_key[role])
        assert {statement["Resource"] for statement in workflow} == {KEY}
        conditions = {statement["Sid"]: statement["Condition"]["StringEquals"] for statement in workflow}
        history = arn("states", f"stateMachine:keyed-roles-{machine}")
        assert conditions == {
            "EncryptHistory": {"kms:EncryptionContext:aws:states:stateMachineArn": history},
            "EncryptLogs": {"kms:EncryptionContext:SourceArn": arn("logs", "*")},
            last: {"kms:ViaService": [f"{service}.us-east-1.amazonaws.com" for service in services]},
        }
