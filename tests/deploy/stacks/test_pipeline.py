"""`up` and `down` of the pipeline on the local AWS."""

import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import artifacts, contents, intake_bucket, pipeline, stack
from deploy.stacks import workers as workers_stack
from deploy.stacks.contents import Contents, Table
from deploy.stacks.options import StackOptions
from tests.deploy.stacks.fakes import FakeClient, MissingError, fake_aws
from tests.deploy.stacks.support import Resources, edited, with_cloudformation
from tests.support import DeployStack

QUIET = Progress(quiet=True)


def broken(resources: Resources) -> None:
    """Add a queue that AWS refuses, created after the order table."""
    queue = {"QueueName": "never", "VisibilityTimeout": 999_999}
    resources["Broken"] = {"Type": "AWS::SQS::Queue", "DependsOn": "OrderTable", "Properties": queue}


def down(aws: Aws, prefix: str, *, delete_data: bool = False, answer: bool = True) -> bool:
    return pipeline.down(aws, prefix, delete_data=delete_data, confirm=lambda: answer, progress=QUIET)


def table_names(aws: Aws, prefix: str) -> list[str]:
    return [name for name in aws.dynamodb.list_tables()["TableNames"] if name.startswith(prefix)]


def test_a_second_up_changes_nothing(aws: Aws) -> None:
    created = pipeline.up(aws, "again-", QUIET)
    again = pipeline.up(aws, "again-", QUIET)

    assert (created.changed, again.changed) == (True, False)
    assert created.outputs == again.outputs
    assert created.outputs["OrderTableName"] == "again-OrderTable"
    assert pipeline.status(aws, "again-")


def test_up_applies_a_changed_template(aws: Aws, tmp_path: Path) -> None:
    pipeline.up(aws, "changed-", QUIET)

    def longer(resources: Resources) -> None:
        resources["EscalationQueue"]["Properties"]["VisibilityTimeout"] = 77

    deployment = pipeline.up(aws, "changed-", QUIET, edited(tmp_path, longer))

    assert deployment.changed
    attributes = aws.sqs.get_queue_attributes(
        QueueUrl=deployment.outputs["EscalationQueueUrl"], AttributeNames=["VisibilityTimeout"]
    )
    assert attributes["Attributes"] == {"VisibilityTimeout": "77"}


def test_a_template_over_the_inline_limit_goes_through_the_bucket(aws: Aws, tmp_path: Path) -> None:
    def large(resources: Resources) -> None:
        resources["OrderTable"]["Metadata"] = {"Padding": "x" * 60_000}

    assert pipeline.up(aws, "large-", QUIET, edited(tmp_path, large)).changed


def test_a_failed_creation_names_its_cause_and_the_next_up_recovers(aws: Aws, tmp_path: Path) -> None:
    with pytest.raises(stack.StackFailedError) as failure:
        pipeline.up(aws, "failed-", QUIET, edited(tmp_path, broken))

    assert "Broken (AWS::SQS::Queue) CREATE_FAILED: Invalid value for the parameter VisibilityTimeout" in str(
        failure.value
    )
    failed = pipeline.status(aws, "failed-")
    assert failed
    assert failed.stack_status == "ROLLBACK_COMPLETE"
    # The retained tables are still there. The next attempt imports them.
    assert table_names(aws, "failed-") == ["failed-EscalationTable", "failed-OrderTable"]
    assert pipeline.up(aws, "failed-", QUIET).changed


def test_a_failed_update_leaves_the_stack_as_it_was(aws: Aws, tmp_path: Path) -> None:
    before = pipeline.up(aws, "rolled-", QUIET)

    with pytest.raises(stack.StackFailedError, match=r"rolled-order-fulfillment failed .*: Broken"):
        pipeline.up(aws, "rolled-", QUIET, edited(tmp_path, broken))

    status = pipeline.status(aws, "rolled-")
    assert status
    assert (status.stack_status, status.outputs) == ("UPDATE_ROLLBACK_COMPLETE", before.outputs)
    assert not pipeline.up(aws, "rolled-", QUIET).changed


def test_up_imports_retained_tables_with_their_items(aws: Aws) -> None:
    pipeline.up(aws, "kept-", QUIET)
    aws.dynamodb.put_item(TableName="kept-OrderTable", Item={"OrderId": {"S": "1"}})
    stack.delete(aws, "kept-order-fulfillment", QUIET)
    assert pipeline.status(aws, "kept-") is None

    deployment = pipeline.up(aws, "kept-", QUIET)

    assert deployment.outputs["OrderTableName"] == "kept-OrderTable"
    assert aws.dynamodb.scan(TableName="kept-OrderTable")["Items"] == [{"OrderId": {"S": "1"}}]
    assert set(stack.resources(aws, deployment.stack_name)["AWS::DynamoDB::Table"]) == {
        "kept-OrderTable",
        "kept-EscalationTable",
    }
    assert not pipeline.up(aws, "kept-", QUIET).changed


def test_up_refuses_a_table_that_is_not_the_pipelines(aws: Aws) -> None:
    aws.dynamodb.create_table(
        TableName="foreign-OrderTable",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
    )

    with pytest.raises(DeployError, match="The table foreign-OrderTable exists already and is not this pipeline's"):
        pipeline.up(aws, "foreign-", QUIET)
    assert pipeline.status(aws, "foreign-") is None


def test_up_ignores_a_change_set_that_was_never_executed(aws: Aws) -> None:
    aws.cloudformation.create_change_set(
        StackName="reviewed-order-fulfillment",
        ChangeSetName="forgotten",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}),
    )

    assert pipeline.up(aws, "reviewed-", QUIET).changed


def test_up_does_not_import_the_tables_of_another_running_deployment(aws: Aws) -> None:
    pipeline.up(aws, "twice-", QUIET)
    looks = 0

    def describe_stacks(**arguments: Any) -> Any:
        """Not find the stack at the first look, as if the other deployment began right after it."""
        nonlocal looks
        looks += 1
        name = "unknown" if looks == 1 else arguments["StackName"]
        return aws.cloudformation.describe_stacks(StackName=name)

    with pytest.raises(DeployError, match=r"^Another deployment of twice-order-fulfillment is under way"):
        pipeline.up(with_cloudformation(aws, describe_stacks=describe_stacks), "twice-", QUIET)


def test_up_does_not_delete_what_a_failed_deletion_left(aws: Aws) -> None:
    def delete_stack(**_: Any) -> NoReturn:
        pytest.fail("deleted")

    partly_deleted = with_cloudformation(
        aws,
        describe_stacks=lambda **_: {"Stacks": [{"StackStatus": "DELETE_FAILED"}]},
        delete_stack=delete_stack,
    )

    with pytest.raises(DeployError, match=r"is only partly deleted\. Finish that first: python -m deploy down$"):
        pipeline.up(partly_deleted, "partial-", QUIET)


def test_down_deletes_an_empty_stack_with_its_tables(aws: Aws) -> None:
    pipeline.up(aws, "empty-", QUIET)

    assert down(aws, "empty-")

    assert pipeline.status(aws, "empty-") is None
    assert table_names(aws, "empty-") == []
    assert down(aws, "empty-"), "a second down does nothing and succeeds"


def test_down_does_nothing_when_the_answer_is_no(aws: Aws) -> None:
    pipeline.up(aws, "no-", QUIET)

    assert not down(aws, "no-", answer=False)
    assert pipeline.status(aws, "no-")


def test_down_refuses_to_lose_data_and_lists_it(deploy_stack: DeployStack, aws: Aws) -> None:
    deployed = deploy_stack("full-")
    aws.dynamodb.put_item(TableName=deployed.order_table, Item={"OrderId": {"S": "1"}})
    aws.dynamodb.put_item(TableName=deployed.order_table, Item={"OrderId": {"S": "2"}})
    for url, delay_s in ((deployed.escalation_queue_url, 0), (deployed.escalation_dlq_url, 900)):
        aws.sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=delay_s)
    aws.sqs.send_message(QueueUrl=deployed.order_fulfillment_queue_url, MessageBody="x")
    aws.sqs.receive_message(QueueUrl=deployed.order_fulfillment_queue_url)

    with pytest.raises(DeployError) as refusal:
        down(aws, "full-")

    assert str(refusal.value).startswith("Nothing was deleted: full-OrderTable holds 2 items; ")
    assert "full-EscalationQueue holds 1 message (1 visible, 0 in flight, 0 delayed)" in str(refusal.value)
    assert "full-EscalationDLQ holds 1 message (0 visible, 0 in flight, 1 delayed)" in str(refusal.value)
    assert "full-OrderFulfillmentQueue holds 1 message (0 visible, 1 in flight, 0 delayed)" in str(refusal.value)
    assert "full-EscalationTable" not in str(refusal.value)
    assert "--delete-data" in str(refusal.value)

    assert down(aws, "full-", delete_data=True)
    assert pipeline.status(aws, "full-") is None
    assert table_names(aws, "full-") == []


def test_down_finds_the_tables_of_a_deleted_stack(aws: Aws) -> None:
    pipeline.up(aws, "orphan-", QUIET)
    aws.dynamodb.put_item(TableName="orphan-OrderTable", Item={"OrderId": {"S": "1"}})
    stack.delete(aws, "orphan-order-fulfillment", QUIET)

    with pytest.raises(DeployError, match="orphan-OrderTable holds 1 item"):
        down(aws, "orphan-")
    assert down(aws, "orphan-", delete_data=True)
    assert table_names(aws, "orphan-") == []


def test_down_refuses_while_executions_run(aws: Aws, tmp_path: Path) -> None:
    waiting = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 86_400, "End": True}}}

    def wait(resources: Resources) -> None:
        properties = resources["OrderFulfillmentStateMachine"]["Properties"]
        del properties["DefinitionS3Location"], properties["DefinitionSubstitutions"]
        properties["DefinitionString"] = json.dumps(waiting)

    deployment = pipeline.up(aws, "busy-", QUIET, edited(tmp_path, wait))
    aws.stepfunctions.start_execution(stateMachineArn=deployment.outputs["StateMachineArn"])

    with pytest.raises(DeployError, match="1 execution is running"):
        down(aws, "busy-")


class Scripted:
    """Both stacks and what they hold, in memory. `steps` has what is done, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.steps: list[str] = []
        self.stacks: dict[str, str] = {}
        self.holds = Contents((), (), 0)
        self.bucket_remains: str | None = None
        self.changes: list[stack.Change] = []
        self.tables: dict[str, Any] = {}
        self.time_to_live = "DISABLED"
        self.said = io.StringIO()
        for name in ("find", "make_ready", "delete", "deploy", "apply"):
            monkeypatch.setattr(stack, name, getattr(self, name))
        monkeypatch.setattr(contents, "look", lambda *_: self.holds)
        monkeypatch.setattr(artifacts, "ensure", lambda _aws, bucket: self.steps.append(f"bucket {bucket.stack_name}"))
        monkeypatch.setattr(artifacts, "upload", lambda _aws, bucket, artifact: f"{bucket.stack_name}{artifact.suffix}")
        monkeypatch.setattr(artifacts, "as_argument", lambda _aws, _bucket, source: {"TemplateBody": len(source)})
        monkeypatch.setattr(artifacts, "remove", self.remove)
        monkeypatch.setattr(intake_bucket, "empty", lambda _aws, name: self.steps.append(f"empty the bucket of {name}"))
        monkeypatch.setattr(
            workers_stack, "down", lambda _aws, prefix, _progress: self.steps.append(f"workers {prefix}")
        )
        self.dynamodb = FakeClient(
            describe_table=self.describe_table,
            update_table=self.describe_table,
            delete_table=lambda **_: {},
            describe_time_to_live=lambda **_: {"TimeToLiveDescription": {"TimeToLiveStatus": self.time_to_live}},
        )
        self.aws = fake_aws(dynamodb=self.dynamodb)

    def find(self, _aws: Aws, name: str) -> Any:
        status = self.stacks.get(name)
        return {"StackName": name, "StackStatus": status, "Outputs": []} if status else None

    def make_ready(self, aws: Aws, name: str, _progress: Progress) -> Any:
        return self.find(aws, name)

    def delete(self, _aws: Aws, name: str, _progress: Progress) -> None:
        self.steps.append(f"delete {name}")

    def deploy(self, _aws: Aws, name: str, change: stack.Change, *_: Any) -> Any:
        self.steps.append(f"{change.kind} {name}")
        self.changes.append(change)
        return True, {
            "Outputs": [{"OutputKey": "Url", "OutputValue": "u"}],
            "Parameters": [{"ParameterKey": "SenderArns", "ParameterValue": "them"}],
        }

    def apply(self, _aws: Aws, name: str, change: stack.Change, *_: Any) -> bool:
        self.deploy(_aws, name, change)
        return True

    def remove(self, _aws: Aws, bucket: artifacts.Bucket) -> str | None:
        self.steps.append(f"remove artifacts of {bucket.stack_name}")
        return self.bucket_remains

    def describe_table(self, **request: Any) -> Any:
        if request["TableName"] not in self.tables:
            raise MissingError
        return {"Table": self.tables[request["TableName"]]}

    def down(self, *, delete_data: bool = False, answer: bool = True) -> bool:
        return pipeline.down(
            self.aws, "p-", delete_data=delete_data, confirm=lambda: answer, progress=Progress(self.said)
        )

    def up(self, **options: Any) -> pipeline.Deployment:
        return pipeline.up(self.aws, "p-", Progress(self.said), **options)

    def lines(self) -> list[str]:
        return self.said.getvalue().splitlines()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted(monkeypatch)


ANN = "arn:aws:iam::111122223333:user/ann"
NAME, WORKERS = "p-order-fulfillment", "p-order-fulfillment-workers"
FULL = Contents((Table("p-Orders", 2, more=False), Table("p-Cases", 0, more=False)), (), 1)
PROTECTED = {"DeletionProtectionEnabled": True}
EMPTY = Contents((Table("p-Orders", 0, more=False), Table("p-Cases", 0, more=False)), (), 0)


def test_nothing_to_delete_is_said_and_old_artifacts_are_removed(scripted: Scripted) -> None:
    assert scripted.down(answer=False)
    assert scripted.steps == [f"remove artifacts of {NAME}"]
    assert scripted.lines() == [
        f"There is no stack {NAME} in eu-central-1, account 111122223333, and none of its tables"
    ]


@pytest.mark.parametrize("busy", [NAME, WORKERS])
def test_a_busy_stack_is_not_deleted(scripted: Scripted, busy: str) -> None:
    scripted.stacks = {busy: "UPDATE_IN_PROGRESS"}
    with pytest.raises(DeployError, match="is busy"):
        scripted.down()
    assert scripted.steps == []


def test_data_is_deleted_only_if_asked_for(scripted: Scripted) -> None:
    scripted.stacks, scripted.holds = {NAME: "CREATE_COMPLETE"}, FULL
    with pytest.raises(DeployError) as raised:
        scripted.down()
    assert str(raised.value) == (
        "Nothing was deleted: p-Orders holds 2 items; 1 execution is running. To delete it too: --delete-data"
    )
    assert not scripted.down(delete_data=True, answer=False)
    assert scripted.steps == []
    assert scripted.lines()[-1] == "Nothing was deleted"


@pytest.mark.parametrize(
    ("stacks", "target", "workers"),
    [
        ({NAME: "CREATE_COMPLETE", WORKERS: "CREATE_COMPLETE"}, "the stack", True),
        ({NAME: "CREATE_COMPLETE"}, "the stack", False),
        ({WORKERS: "CREATE_COMPLETE"}, "the rest of the stack", True),
        ({}, "the rest of the stack", False),
    ],
)
def test_workers_stack_tables_and_artifacts_are_deleted_in_this_order(
    scripted: Scripted, stacks: dict[str, str], target: str, workers: bool
) -> None:
    scripted.stacks, scripted.holds, scripted.tables = stacks, EMPTY, {"p-Orders": PROTECTED}
    scripted.bucket_remains = "it holds artifacts of other stacks"
    assert scripted.down()
    assert scripted.steps == [
        "workers p-",
        f"empty the bucket of {NAME}",
        f"delete {NAME}",
        f"remove artifacts of {NAME}",
    ]
    assert scripted.dynamodb.calls == [
        "describe_table",
        "update_table",
        "table_exists",
        "delete_table",
        "table_not_exists",
        "describe_table",
    ]
    assert scripted.lines() == [
        f"This deletes {target} {NAME} in eu-central-1, account 111122223333:",
        *([f"  {WORKERS} first, so that no worker keeps running"] if workers else []),
        *("  p-Orders  0 items", "  p-Cases   0 items", "  0 running executions"),
        "The table p-Orders is deleted (AWS keeps a backup for 35 days if recovery was on)",
        "The bucket order-fulfillment-artifacts-111122223333-eu-central-1 remains: it holds artifacts of other stacks",
        f"The stack {NAME} and its tables are deleted",
    ]


def test_the_protection_of_a_table_is_ended_before_it_is_deleted(scripted: Scripted) -> None:
    scripted.holds, scripted.tables = EMPTY, {"p-Orders": PROTECTED}
    scripted.down()
    assert scripted.dynamodb.requests[1] == (
        "update_table",
        {"TableName": "p-Orders", "DeletionProtectionEnabled": False},
    )
    waits = {name: request["WaiterConfig"] for name, request in scripted.dynamodb.requests if "WaiterConfig" in request}
    assert waits == {
        "table_exists": {"Delay": 1, "MaxAttempts": 120},
        "table_not_exists": {"Delay": 1, "MaxAttempts": 300},
    }


def test_a_table_without_protection_is_only_deleted(scripted: Scripted) -> None:
    scripted.holds, scripted.tables = EMPTY, {"p-Orders": {"DeletionProtectionEnabled": False}}
    scripted.down()
    assert "update_table" not in scripted.dynamodb.calls
    assert "delete_table" in scripted.dynamodb.calls


def test_a_new_stack_is_created_from_the_packaged_template(scripted: Scripted) -> None:
    deployment = scripted.up(at_first={"SenderArns": ANN}, given={"KmsKeyArn": ""})
    assert deployment == pipeline.Deployment(NAME, {"Url": "u"}, {"SenderArns": "them"}, changed=True)
    assert scripted.steps == [f"bucket {NAME}", f"CREATE {NAME}"]
    (change,) = scripted.changes
    assert change.parameters == {"SenderArns": ANN, "KmsKeyArn": "", "NamePrefix": "p-"}
    code = change.source["Resources"]["VerifyCCAndPrice"]["Properties"]["Code"]
    assert code == {
        "S3Bucket": "order-fulfillment-artifacts-111122223333-eu-central-1",
        "S3Key": "p-order-fulfillment.zip",
    }


ROLE = "arn:aws:iam::111122223333:role/Deploy"
TEAM = [{"Key": "Team", "Value": "orders"}]


def test_a_new_stack_gets_tags_and_role(scripted: Scripted) -> None:
    scripted.up(options=StackOptions({"Team": "orders"}, ROLE))
    (change,) = scripted.changes
    assert (change.tags, change.role_arn) == (TEAM, ROLE)


def test_a_deployed_stack_keeps_its_tags_and_role(scripted: Scripted) -> None:
    scripted.monkeypatch.setattr(stack, "make_ready", lambda *_: {"Tags": TEAM})
    scripted.up()
    (change,) = scripted.changes
    assert (change.tags, change.role_arn) == (TEAM, None)


def test_an_import_has_the_role_and_leaves_tags_to_the_update(scripted: Scripted) -> None:
    """An import may not change its resources."""
    scripted.tables = retained()
    scripted.up(options=StackOptions({"Team": "orders"}, ROLE))
    assert [(change.kind, change.tags, change.role_arn) for change in scripted.changes] == [
        ("IMPORT", None, ROLE),
        ("UPDATE", TEAM, ROLE),
    ]


def test_a_deployed_stack_keeps_its_senders(scripted: Scripted) -> None:
    scripted.stacks = {NAME: "CREATE_COMPLETE"}
    senders = [{"ParameterKey": "SenderArns", "ParameterValue": ANN}]
    scripted.monkeypatch.setattr(stack, "make_ready", lambda *_: {"Parameters": senders})
    scripted.up(at_first={"SenderArns": "eve"})
    (change,) = scripted.changes
    assert (change.kind, change.parameters, set(change.kept)) == ("UPDATE", {"NamePrefix": "p-"}, {"SenderArns"})


def retained(**keys: str) -> dict[str, Any]:
    names = {"Order": "OrderId", "Escalation": "CaseId"} | keys
    return {
        f"p-{table}Table": {"KeySchema": [{"AttributeName": key, "KeyType": "HASH"}]} for table, key in names.items()
    }


def test_tables_of_an_earlier_stack_are_imported_first(scripted: Scripted) -> None:
    scripted.tables = retained()
    scripted.up()
    assert scripted.steps == [f"bucket {NAME}", f"IMPORT {NAME}", f"UPDATE {NAME}"]
    imported, updated = scripted.changes
    assert scripted.lines() == ["Importing p-OrderTable, p-EscalationTable with all items, from an earlier stack"]
    assert list(imported.source["Resources"]) == ["OrderTable", "EscalationTable"]
    assert "Outputs" not in imported.source
    assert imported.source["Parameters"] == updated.source["Parameters"]
    assert imported.parameters == {"NamePrefix": "p-"}
    assert imported.imports == [
        {
            "ResourceType": "AWS::DynamoDB::Table",
            "LogicalResourceId": table,
            "ResourceIdentifier": {"TableName": f"p-{table}"},
        }
        for table in ("OrderTable", "EscalationTable")
    ]


@pytest.mark.parametrize(
    ("time_to_live", "imported"), [("DISABLED", False), ("DISABLING", False), ("ENABLING", True), ("ENABLED", True)]
)
def test_what_an_imported_table_lacks_is_left_to_the_update(
    scripted: Scripted, time_to_live: str, imported: bool
) -> None:
    """CloudFormation changes nothing in an import, and later only what differs from the imported template."""
    scripted.tables, scripted.time_to_live = retained(), time_to_live
    scripted.up()
    properties = [change.source["Resources"]["OrderTable"]["Properties"] for change in scripted.changes]
    assert ["TimeToLiveSpecification" in found for found in properties] == [imported, True]
    assert ["Tags" in found for found in properties] == [False, True]


def test_only_the_tables_that_exist_are_imported(scripted: Scripted) -> None:
    scripted.tables = {"p-EscalationTable": retained()["p-EscalationTable"]}
    scripted.up()
    assert list(scripted.changes[0].source["Resources"]) == ["EscalationTable"]


def test_a_table_with_another_key_is_not_imported(scripted: Scripted) -> None:
    scripted.tables = retained(Order="Id")
    with pytest.raises(DeployError, match="The table p-OrderTable exists already and is not this pipeline's"):
        scripted.up()
    assert scripted.changes == []


@pytest.mark.parametrize(("status", "refused"), [("REVIEW_IN_PROGRESS", False), ("CREATE_IN_PROGRESS", True)])
def test_tables_of_a_running_deployment_are_not_imported(scripted: Scripted, status: str, refused: bool) -> None:
    scripted.tables, scripted.stacks = retained(), {NAME: status}
    scripted.monkeypatch.setattr(stack, "make_ready", lambda *_: None)
    with pytest.raises(DeployError, match="Another deployment") if refused else nullcontext():
        scripted.up()
    assert len(scripted.changes) == (0 if refused else 2)


def test_a_missing_stack_has_no_status(scripted: Scripted) -> None:
    assert pipeline.status(scripted.aws, "p-") is None
    scripted.stacks, scripted.holds = {NAME: "CREATE_COMPLETE"}, FULL
    assert pipeline.status(scripted.aws, "p-") == pipeline.Status("CREATE_COMPLETE", {}, FULL)
