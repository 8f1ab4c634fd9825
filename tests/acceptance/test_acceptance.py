"""`make acceptance` on the local AWS: from end to end, killed half-way, and with what cannot be removed."""

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.local.aws import ROOT, LocalAws
from deploy.stacks.artifacts import zipped
from tests import forked
from tests.acceptance import __main__ as command
from tests.acceptance.conftest import ACCOUNT, Recorded
from tests.acceptance.models import violations
from tests.acceptance.permissions import LISTED, allowed, needed
from tests.aws_facts.conftest import NAMES
from tests.support import CA_BUNDLE
from workers.domain.cards import mask

# Three facts: one that the local AWS does as AWS, and two known deviations.
FACTS = "_at_most_ten"
ORDERS = 4
# Names of parts: of a stack, and of a state machine.
PARTS = {"ChangeSetName", "name"}
CARDS = ("1234123456785678", "123412345678", "0" * 16)  # Of the samples and of the orders.


def leftovers(local_aws: LocalAws) -> list[str]:
    """Return everything on the local AWS whose name has the prefix of a run."""
    client = local_aws.client
    names = [
        *(stack["StackName"] for stack in client("cloudformation").describe_stacks()["Stacks"]),
        *client("sqs").list_queues().get("QueueUrls", []),
        *client("dynamodb").list_tables()["TableNames"],
        *(role["RoleName"] for role in client("iam").list_roles()["Roles"]),
        *(group["logGroupName"] for group in client("logs").describe_log_groups()["logGroups"]),
        *(machine["name"] for machine in client("stepfunctions").list_state_machines()["stateMachines"]),
        *(function["FunctionName"] for function in client("lambda").list_functions()["Functions"]),
        *(rule["Name"] for rule in client("events").list_rules()["Rules"]),
        *(alarm["AlarmName"] for alarm in client("cloudwatch").describe_alarms()["MetricAlarms"]),
        *(bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]),
    ]
    return [name for name in names if "acceptance-" in name] + _objects(client("s3"))


def _objects(s3: Any) -> list[str]:
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if "artifacts" in bucket["Name"]]
    keys = [stored["Key"] for name in buckets for stored in s3.list_objects_v2(Bucket=name).get("Contents", [])]
    return [key for key in keys if "acceptance-" in key]


def others(operation: str, asked: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Return what a call names that does not have the prefix of a run: call, parameter, name."""
    return {
        (operation, key, value)
        for key, value in asked.items()
        if key in NAMES - PARTS and "acceptance-" not in value and not value.startswith("order-fulfillment-artifacts-")
    }


def test_a_run_proves_everything_reports_it_and_leaves_nothing(
    recorded: Recorded, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.md"
    code = recorded.run("--facts", FACTS, "--orders", str(ORDERS), "--report", path)
    report, output = path.read_text(encoding="utf-8"), capfd.readouterr().err
    assert code == 0, output
    assert leftovers(recorded.local_aws) == []
    assert "# Acceptance of order fulfillment on AWS: passed" in report
    for text in (
        f"| account | {ACCOUNT} |",
        "a known deviation of the local AWS",
        "- relied on by: `workers/",
        "| 004 | SUCCEEDED |",
        f"| orders | {ORDERS} submitted, {ORDERS - 1} fulfilled, 1 escalated |",
        "| submitted to FULFILLED, seconds | p50 ",
        "| orders settled a second | ",
        "| trace header on messages of the OrderFulfillmentQueue | no trace header |",
        "- parameters: ",
        "TableProtection='false'",
        "2 AWS::DynamoDB::Table",
        "| workers' log lines at warning or error, except escalations | none |",
        "| SendMessage | 10 | ",
        "| 10 | 5 | ",
        "Nothing with the prefix",
    ):
        assert text in report
    # The account and the cost are shown before anything is made.
    assert re.search(rf"account +{ACCOUNT}.*region.*at most about \$.*DIFFERS.*Creating the stack", output, re.DOTALL)
    written = report + output + next(tmp_path.glob("*workers.log")).read_text(encoding="utf-8")
    assert mask(written) == written
    assert [card for card in CARDS if card in written] == []
    # The tables had no protection that had to be taken off.
    assert "UpdateTable" not in {model.name for _, model, _ in recorded.calls}
    calls = [(service, model, asked) for service, model, asked in recorded.calls if "-facts-" not in str(asked)]
    assert [text for _, model, asked in calls for text in violations(model, asked)] == []
    assert {named for _, model, asked in calls for named in others(model.name, asked)} == set()
    needs = {action for service, model, asked in calls for action in needed(service, model.name, asked)}
    assert {action for action in needs if not allowed(action)} == set(), LISTED


@contextmanager
def started(local_aws: LocalAws, report: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = forked.Popen(
        [
            *("-m", "tests.acceptance", "--account", ACCOUNT, "--facts", "sqs.a_batch_has_at_most_ten_entries"),
            *("--orders", "4", "--report", str(report)),
        ],
        cwd=ROOT,
        env=local_aws.environment | CA_BUNDLE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[bytes], text: str) -> str:
    """Read the output until a line has *text*; return everything so far."""
    assert process.stderr
    lines = ""
    for line in process.stderr:
        lines += line.decode()
        if text in lines:
            return lines
    raise AssertionError(f"no {text!r} in:\n{lines}")


def test_what_a_kill_leaves_is_removed_by_its_prefix(recorded: Recorded, tmp_path: Path) -> None:
    with started(recorded.local_aws, tmp_path / "report.md") as process:
        output = read_until(process, "Following the samples")
        (prefix,) = re.findall("CLEAN=(acceptance-[0-9a-f]{6}-)", output)[:1]
        process.kill()
        process.wait()
    assert leftovers(recorded.local_aws)
    assert recorded.run("--clean", prefix) == 0
    assert leftovers(recorded.local_aws) == []


def test_a_termination_removes_everything_and_still_reports(local_aws: LocalAws, tmp_path: Path) -> None:
    with started(local_aws, tmp_path / "report.md") as process:
        read_until(process, "Creating the stack")
        process.send_signal(signal.SIGTERM)
        assert process.stderr
        process.stderr.read()
        assert process.wait() == 130
    assert leftovers(local_aws) == []
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "# Acceptance of order fulfillment on AWS: interrupted" in report
    assert "Nothing with the prefix" in report


def test_what_cannot_be_removed_is_said_and_the_rest_is_removed(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix = "acceptance-0a0b0c-"
    sqs, account = recorded.local_aws.client("sqs"), recorded.find()
    for name in ("kept", "removed"):
        sqs.create_queue(QueueName=f"{prefix}{name}")

    def refuse(params: dict[str, Any], **_: object) -> None:
        if params["QueueUrl"].endswith("kept"):
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "DeleteQueue")

    account.client("sqs").meta.events.register("provide-client-params.sqs.DeleteQueue", refuse)
    assert command.main(["--account", ACCOUNT, "--clean", prefix], lambda: account) == 1
    shown = capsys.readouterr().err
    assert f"removed queue {prefix}removed" in shown
    assert f"Removed 1 resources; 1 could not be removed\nleft: queue {prefix}kept: " in shown
    assert shown.endswith("(AccessDenied) when calling the DeleteQueue operation: not you\n")
    assert recorded.run("--clean", prefix) == 0
    assert leftovers(recorded.local_aws) == []


STATEMENT = {"Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})
PRINCIPAL = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [PRINCIPAL]})


def make_one_of_each(client: Callable[[str], Any], prefix: str) -> set[str]:
    """Make what the deletion of a stack may leave; return what that is."""
    queue = client("sqs").create_queue(QueueName=f"{prefix}Queue")["QueueUrl"]
    client("sqs").send_message(QueueUrl=queue, MessageBody="x")
    client("events").put_rule(Name=f"{prefix}Rule", EventPattern='{"source": ["x"]}')
    target = {"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{prefix}Queue"}
    client("events").put_targets(Rule=f"{prefix}Rule", Targets=[target])
    client("logs").create_log_group(logGroupName=f"/aws/lambda/{prefix}Function")
    client("logs").create_log_group(logGroupName=f"/aws/vendedlogs/states/{prefix}Machine")
    client("cloudwatch").put_metric_alarm(
        AlarmName=f"{prefix}Alarm",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=1,
    )
    client("iam").create_role(RoleName=f"{prefix}Role", AssumeRolePolicyDocument=TRUST)
    client("iam").put_role_policy(RoleName=f"{prefix}Role", PolicyName="p", PolicyDocument=POLICY)
    client("s3").create_bucket(Bucket=f"{prefix}bucket")
    client("s3").put_object(Bucket=f"{prefix}bucket", Key="x", Body=b"x")
    client("sns").create_topic(Name=f"{prefix}Topic")
    client("dynamodb").create_table(
        TableName=f"{prefix}Table",
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
    )
    client("lambda").create_function(
        FunctionName=f"{prefix}Function",
        Role=f"arn:aws:iam::{ACCOUNT}:role/{prefix}Role",
        Runtime="python3.13",
        Handler="verify_cc_and_price.handler",
        Code={"ZipFile": zipped(ROOT / "lambda")},
    )
    return {
        f"queue {prefix}Queue",
        f"rule {prefix}Rule",
        f"log group /aws/lambda/{prefix}Function",
        f"log group /aws/vendedlogs/states/{prefix}Machine",
        f"alarm {prefix}Alarm",
        f"role {prefix}Role",
        f"bucket {prefix}bucket",
        f"topic {prefix}Topic",
        f"table {prefix}Table",
        f"function {prefix}Function",
    }


def test_what_the_deletion_of_a_stack_left_is_removed_too(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_one_of_each(recorded.local_aws.client, "acceptance-0d0e0f-")
    kept = recorded.local_aws.client("sqs").create_queue(QueueName="acceptance-0d0e0-kept")["QueueUrl"]
    assert recorded.run("--clean", "acceptance-0d0e0f-") == 0
    removed = set(re.findall("^removed (.+)$", capsys.readouterr().err, re.MULTILINE))
    assert removed == made
    recorded.local_aws.client("sqs").delete_queue(QueueUrl=kept)  # It was still there.
    assert leftovers(recorded.local_aws) == []
