"""The operators' policy in deploy/README.md allows what `orders`, the console and `deploy status` do, nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.aws import Aws
from deploy.local.aws import ROOT, LocalAws
from deploy.stacks import template
from deploy.stacks import workers as workers_stack
from tests.deploy.permissions import ACCOUNT, Permission, Recorder, granted
from tests.deploy.stacks.test_workers import GIVEN, SERVICE
from tests.integration.command_line import CARD, CommandLine
from tests.integration.pipeline import Pipeline
from tests.support import DeployStack
from workers.testing.sdk import REGION

README = ROOT / "deploy" / "README.md"
PREFIX = "operators-"


def policy(bucket: str) -> dict[str, object]:
    """Return the README's policy for operators, filled in for this stack."""
    (text,) = [
        block
        for block in re.findall(r"```json\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
        if "ResolveAndCancelOrders" in block
    ]
    values = {"<REGION>": REGION, "<ACCOUNT>": ACCOUNT, "<PREFIX>": PREFIX, "<BUCKET>": bucket}
    for name, value in values.items():
        text = text.replace(name, value)
    document: dict[str, object] = json.loads(text)
    return document


@pytest.fixture(scope="module")
def operators(
    deploy_stack: DeployStack, aws: Aws, local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory
) -> tuple[set[Permission], str]:
    """The permissions that the commands of `orders`, `status` and the console's pages needed; the intake's bucket."""
    pipeline, directory = Pipeline(deploy_stack(PREFIX)), tmp_path_factory.mktemp("operator")
    worker = pipeline.start("escalation", directory / "escalation.log")
    try:
        with Recorder(local_aws.endpoint) as proxy:
            work(CommandLine(pipeline.stack), proxy.url, pipeline, directory)
            deploy_stand_in(aws)
            CommandLine(pipeline.stack)("status", AWS_ENDPOINT_URL=proxy.url)
            environment = local_aws.environment | {"AWS_ENDPOINT_URL": proxy.url}
            stack = pipeline.stack
            names = stack.worker_environment() | {"STATE_MACHINE": stack.state_machine_arn}
            pages = [sys.executable, "-m", "tests.deploy.console_reads"]
            subprocess.run(pages, cwd=ROOT, env=names | {"AWS_ENDPOINT_URL": proxy.url}, check=True)
            status = [sys.executable, "-m", "deploy", "status", "--name-prefix", PREFIX]
            subprocess.run(status, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
            bucket = pipeline.stack.outputs["OrderIntakeBucketName"]
            return {(action, re.sub(f"({bucket}/[a-z]+/).*", r"\1*", name)) for action, name in proxy.needed()}, bucket
    finally:
        worker.kill()


def work(orders: CommandLine, endpoint: str, pipeline: Pipeline, directory: Path) -> None:
    """Submit orders, look at everything, resolve, cancel and erase, replay one dead letter and discard another."""

    def run(*arguments: str, stdin: str = "") -> str:
        ran = orders(*arguments, stdin=stdin, AWS_ENDPOINT_URL=endpoint, STATE_MACHINE=machine)
        assert ran.code == 0, ran.err
        return ran.out

    machine = f"{PREFIX}OrderFulfillmentStateMachine"
    named = ("again", "shipped", "left")
    file = directory / "orders.jsonl"
    lines = [{"OrderId": name, "Name": "Ada", "ItemName": "Lamp", "Price": "-1", "CC": CARD} for name in named]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    for url in [pipeline.stack.order_fulfillment_dlq_url, pipeline.stack.escalation_dlq_url] * 2:
        pipeline.client("sqs").send_message(QueueUrl=url, MessageBody="x y")

    run("sweep", "--now")  # Before anything waits: then no order counts as stuck.
    run("sweep", "--json")
    run("list", "--stuck")
    run("submit", str(file), "--wait", "--anyway")
    run("submit", str(file), "--bulk", "--anyway")
    (intake,) = json.loads(run("bulk", "list", "--json"))
    run("bulk", "show", intake["intake"])
    run("list", "--json")
    run("escalations", "list", "--json")
    run("escalations", "show", "again")
    resolved_by = ("--actor", "ada", "--note", "as agreed", "--yes")
    run("escalations", "resolve", "again", "resubmit", "--price", "1", "--card-number-stdin", *resolved_by, stdin=CARD)
    run("escalations", "resolve", "shipped", "fulfill", "--shipment-id", "S-1", *resolved_by)
    run("escalations", "resolve", "left", "cancel", *resolved_by)
    run("show", "again")
    pipeline.put_order("cancelled")
    run("cancel", "cancelled", "--yes")
    run("erase", "shipped", "--yes")
    run("list", "--name", "ada", "--since", "1d", "--json")
    run("escalations", "list", "--state", "resolved", "--csv")
    for name in ("fulfillment", "escalation"):
        run("workers", "pause", name)
        run("workers", "resume", name)
    run("queues")
    for name in ("fulfillment", "escalation"):
        run("dead-letters", "replay", name, "--limit", "1", "--yes")
        run("dead-letters", "discard", name, "--yes")


def deploy_stand_in(aws: Aws) -> None:
    """Deploy a stand-in for the workers' stack, because the local AWS lacks some of its types."""
    source = {"Parameters": template.load(template.WORKERS)["Parameters"], "Resources": SERVICE}
    given = GIVEN | {"NamePrefix": PREFIX}
    name = workers_stack.stack_name(PREFIX)
    aws.cloudformation.create_stack(
        StackName=name,
        TemplateBody=template.body(source),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    aws.cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def test_an_operator_may_do_what_the_commands_do_and_nothing_else(operators: tuple[set[Permission], str]) -> None:
    called, bucket = operators
    allowed = granted([policy(bucket)])
    needed = called | {
        ("s3:AbortMultipartUpload", f"arn:aws:s3:::{bucket}/submitted/*"),  # Only if an upload fails.
        ("states:StopExecution", f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{PREFIX}BulkOrderIntake:*"),  # By hand.
    }

    assert sorted(needed - allowed) == [], "calls without a grant"
    assert sorted(allowed - needed) == [], "grants without a call"
