"""What deploy/README.md says about restoring tables and erasing data, done with its own commands on the local AWS."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from deploy.aws import Aws
from deploy.local.aws import LocalAws
from deploy.progress import Progress
from deploy.stacks import pipeline, template
from tests.deploy.aws_commands import Command, commands
from tests.deploy.permissions import ACCOUNT
from tests.docs.pages import blocks, page
from tests.integration.command_line import CommandLine
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployStack
from workers.testing.sdk import REGION

README = page("deploy/README.md")
PREFIX = "restored-"
TABLE = f"{PREFIX}OrderTable"
T = "2026-01-31T12:00:00"


def section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert found
    return found[1].replace("<PREFIX>", PREFIX)


def steps() -> dict[int, list[Command]]:
    """Return the commands of each step of a restore."""
    parts = re.split(r"^\*\*(\d+)\. ", section("Restore"), flags=re.MULTILINE)[1:]
    return {
        int(number): [command for block in blocks(text, "sh") for command in commands(block)]
        for number, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("block", blocks(README, "sh"), ids=lambda block: block.split("\n", 1)[0][:40])
def test_every_aws_command_fits_the_models_of_the_sdk(block: str) -> None:
    written = re.findall(r"^\s*(?:\w+=\$\()?aws (?!ecr get-login-password)[a-z]", block, re.MULTILINE)
    assert len(list(commands(block))) == len(written)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("aws dynamodb restore-tables --x 1", "dynamodb has no restore-tables"),
        ("aws dynamodb delete-table --table T", "DeleteTable has no --table"),
        ("aws dynamodb delete-table", "Missing required parameter in input: "),
        ("aws ecs update-service --service s --desired-count x", "invalid literal"),
    ],
)
def test_a_wrong_command_is_found(command: str, problem: str) -> None:
    with pytest.raises((AssertionError, ValueError), match=problem):
        list(commands(command))


class Table:
    """The rehearsal's system, with the commands of the page."""

    def __init__(self, system: Pipeline) -> None:
        self.system = system
        self.dynamodb = system.client("dynamodb")
        self.backup = ""

    def run(self, step: int) -> None:
        """Run the commands of a step, except for those about tasks, which the local AWS does not have."""
        for command in steps()[step]:
            if command.service in {"ecs", "application-autoscaling"}:
                continue
            arguments = {
                name: self.backup if value == "$BACKUP" else value for name, value in command.arguments.items()
            }
            if arguments.get("QueueUrl") == "$ORDER_FULFILLMENT_QUEUE_URL":
                arguments["QueueUrl"] = self.system.stack.order_fulfillment_queue_url
            if arn := arguments.get("ResourceArn"):
                arguments["ResourceArn"] = arn.replace("$AWS_REGION", REGION).replace("$ACCOUNT", ACCOUNT)
            ran = Command(command.text, command.service, command.operation, arguments, command.waiter).run(
                self.system.client
            )
            if command.operation.name == "CreateBackup":
                self.backup = ran["BackupDetails"]["BackupArn"]
            if command.operation.name == "DescribeBackup":
                assert ran["BackupDescription"]["BackupDetails"]["BackupStatus"] == "AVAILABLE"

    def items(self, table: str) -> dict[str, Any]:
        read = TypeDeserializer().deserialize
        found = self.dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
        return {item["OrderId"]["S"]: {name: read(value) for name, value in item.items()} for item in found}


@pytest.fixture
def table(deploy_stack: DeployStack) -> Table:
    return Table(Pipeline(deploy_stack(PREFIX)))


def test_a_restored_table_is_brought_into_use(
    table: Table, aws: Aws, local_aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = table.system
    system.put_order("001", "FULFILLED", UpdatedAt=f"{T[:-5]}11:00.000Z")
    system.put_order("002", UpdatedAt=f"{T[:-5]}11:30.000Z")
    good = table.items(TABLE)
    before = table.dynamodb.describe_table(TableName=TABLE)["Table"]
    table.run(2)
    looked = CommandLine(system.stack)("list", ORDER_TABLE=f"{TABLE}-restored")
    assert "002" in looked.out, looked.err
    system.put_order("003", UpdatedAt="2026-01-31T13:00:00.000Z")
    new = table.items(TABLE)["003"]
    system.put_order("001", Name="", UpdatedAt="2026-01-31T13:30:00.000Z")

    for name, value in local_aws.environment.items():
        monkeypatch.setenv(name, value)
    (take_over,) = blocks(section("Restore"), "python")
    exec(compile(take_over, "README", "exec"), {})
    for step in (5, 6):
        table.run(step)

    assert table.items(TABLE) == good | {"003": new}
    assert_as_deployed(table, before)
    assert not pipeline.up(aws, PREFIX, Progress(quiet=True)).changed, "the stack does not notice"
    worker = system.start("fulfillment", tmp_path / "worker.log")
    try:
        system.send_fulfillment("002")
        wait_until(lambda: system.status("002") == "FULFILLED")
    finally:
        worker.kill()
    (send,) = steps()[9]
    assert send.arguments["MessageBody"] == "001", "the id is the whole message"

    table.run(10)
    assert table.items(TABLE).keys() == {"001", "002", "003"}
    with pytest.raises(ClientError, match="ResourceNotFound"):
        table.dynamodb.describe_table(TableName=f"{TABLE}-restored")
    with pytest.raises(ClientError, match="BackupNotFound"):
        table.dynamodb.describe_backup(BackupArn=table.backup)


def assert_as_deployed(table: Table, before: dict[str, Any]) -> None:
    """The table has all that the template gives it, restored or set again in step 6."""
    properties = template.load(template.PIPELINE)["Resources"]["OrderTable"]["Properties"]
    described = table.dynamodb.describe_table(TableName=TABLE)["Table"]
    for name in ("KeySchema", "DeletionProtectionEnabled", "AttributeDefinitions"):
        assert described[name] == before[name], name
    keys = [(index["IndexName"], index["KeySchema"]) for index in described["GlobalSecondaryIndexes"]]
    assert keys == [(index["IndexName"], index["KeySchema"]) for index in properties["GlobalSecondaryIndexes"]]
    open_orders = table.dynamodb.query(
        TableName=TABLE,
        IndexName="OpenOrders",
        KeyConditionExpression="OpenKey = :key",
        ExpressionAttributeValues={":key": {"S": "RECEIVED#0"}},
    )
    assert {item["OrderId"]["S"] for item in open_orders["Items"]} == {"002", "003"}
    backups = table.dynamodb.describe_continuous_backups(TableName=TABLE)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    expiry = table.dynamodb.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", "ExpiresAt")


def test_the_steps_set_every_property_that_a_restore_leaves_out() -> None:
    """A new property of a table must be restored or set: https://docs.aws.amazon.com/.../PointInTimeRecovery_Howitworks."""
    restored = {"TableName", "BillingMode", "SSESpecification", "AttributeDefinitions", "KeySchema"}
    restored |= {"GlobalSecondaryIndexes"}
    operations = {
        "DeletionProtectionEnabled": "UpdateTable",
        "PointInTimeRecoverySpecification": "UpdateContinuousBackups",
        "TimeToLiveSpecification": "UpdateTimeToLive",
    }
    resources = template.load(template.PIPELINE)["Resources"]
    left = {
        name: value
        for resource in resources.values()
        if resource["Type"] == template.TABLE_TYPE
        for name, value in resource["Properties"].items()
        if name not in restored
    }
    done = {command.operation.name: command.arguments for command in steps()[6]}
    (_, tags, _) = left.pop("Tags")["Fn::If"]
    (tag,) = done.pop("TagResource")["Tags"]
    assert [tag["Key"]] == [each["Key"] for each in tags]
    assert {operations[name] for name in left} == set(done)
    # The steps restore a protected table, as the parameter TableProtection says by default.
    protected = ('{"Fn::If": ["ProtectsTables", true, false]}', '{"Ref": "TableProtection"}')
    for name, value in left.items():
        text = json.dumps(value)
        for condition in protected:
            text = text.replace(condition, "true")
        assert done[operations[name]][name] == json.loads(text)


def test_an_order_that_was_final_before_the_retention_was_set_gets_an_expiry(table: Table) -> None:
    system = table.system
    system.put_order("004", "ESCALATED")
    (block,) = [block for block in blocks(section("Retention and erasure"), "sh") if block.startswith("aws ")]
    (update,) = commands(block.replace('"001"', '"004"'))

    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        update.run(system.client)
    system.put_order("004", "CANCELLED")
    update.run(system.client)
    assert (system.order("004") or {})["ExpiresAt"] == 1830297600


def test_the_page_says_how_long_everything_is_kept() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| .+? \| (.+?) \|$", section("Retention and erasure"), re.MULTILINE))
    resources = template.load(template.PIPELINE)["Resources"] | template.load(template.WORKERS)["Resources"]
    days = {
        name: value // 86_400
        for name, resource in resources.items()
        if (value := resource.get("Properties", {}).get("MessageRetentionPeriod"))
    }
    assert {days["OrderFulfillmentQueue"], days["EscalationQueue"]} == {10}
    assert rows["queues"].startswith("10 days")
    assert {days["OrderFulfillmentDLQ"], days["EscalationDLQ"]} == {14}
    assert rows["dead-letter queues"].startswith("14 days")
    logs = {r["Properties"]["RetentionInDays"] for r in resources.values() if r["Type"] == "AWS::Logs::LogGroup"}
    assert logs == {30}
    assert rows["log groups of the function, the workflow, the sweep and the workers"] == "30 days"
