"""Deploying and deleting the pipeline on the local AWS, as `up` and `down` do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import pipeline, stack, template
from tests.support import DeployStack

QUIET = Progress(quiet=True)
Template = dict[str, Any]
Edited = Callable[[Callable[[Template], object]], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    """The pipeline's template with a change of one's own, as a file."""

    def write(edit: Callable[[Template], object]) -> Path:
        source = template.load(template.PIPELINE)
        for name, path in (("VerifyCCAndPrice", "Code"), ("OrderFulfillmentStateMachine", "DefinitionS3Location")):
            properties = source["Resources"][name]["Properties"]
            properties[path] = str(template.PIPELINE.parent / properties[path])
        edit(source)
        file = tmp_path / "template.json"
        file.write_text(json.dumps(source), encoding="utf-8")
        return file

    return write


def broken(source: Template) -> None:
    """One resource that AWS refuses, after the order table is there."""
    queue = {"QueueName": "never", "VisibilityTimeout": 999_999}
    source["Resources"]["Broken"] = {"Type": "AWS::SQS::Queue", "DependsOn": "OrderTable", "Properties": queue}


def down(aws: Aws, prefix: str, *, delete_data: bool = False, answer: bool = True) -> bool:
    return pipeline.down(aws, prefix, delete_data=delete_data, confirm=lambda: answer, progress=QUIET)


def table_names(aws: Aws, prefix: str) -> list[str]:
    return [name for name in aws.dynamodb.list_tables()["TableNames"] if name.startswith(prefix)]


def test_up_creates_the_stack_and_again_changes_nothing(aws: Aws) -> None:
    created = pipeline.up(aws, "again-", QUIET)
    again = pipeline.up(aws, "again-", QUIET)

    assert (created.changed, again.changed) == (True, False)
    assert created.outputs == again.outputs
    assert created.outputs["OrderTableName"] == "again-OrderTable"
    assert pipeline.status(aws, "again-")


def test_up_brings_a_changed_template_to_the_stack(aws: Aws, edited: Edited) -> None:
    pipeline.up(aws, "changed-", QUIET)

    def longer(source: Template) -> None:
        source["Resources"]["EscalationQueue"]["Properties"]["VisibilityTimeout"] = 77

    deployment = pipeline.up(aws, "changed-", QUIET, edited(longer))

    assert deployment.changed
    attributes = aws.sqs.get_queue_attributes(
        QueueUrl=deployment.outputs["EscalationQueueUrl"], AttributeNames=["VisibilityTimeout"]
    )
    assert attributes["Attributes"] == {"VisibilityTimeout": "77"}


def test_a_template_over_the_inline_limit_goes_through_the_bucket(aws: Aws, edited: Edited) -> None:
    def large(source: Template) -> None:
        source["Metadata"] = {"Padding": "x" * 60_000}

    assert pipeline.up(aws, "large-", QUIET, edited(large)).changed


def test_a_failed_creation_names_the_resource_and_the_reason_and_the_next_one_recovers(
    aws: Aws, edited: Edited
) -> None:
    with pytest.raises(stack.StackFailedError) as failure:
        pipeline.up(aws, "failed-", QUIET, edited(broken))

    assert "Broken (AWS::SQS::Queue) CREATE_FAILED: Invalid value for the parameter VisibilityTimeout" in str(
        failure.value
    )
    failed = pipeline.status(aws, "failed-")
    assert failed
    assert failed.stack_status == "ROLLBACK_COMPLETE"
    # The retained tables are still there, and what the next attempt builds on.
    assert table_names(aws, "failed-") == ["failed-EscalationTable", "failed-OrderTable"]
    assert pipeline.up(aws, "failed-", QUIET).changed


def test_a_failed_update_leaves_the_stack_as_it_was(aws: Aws, edited: Edited) -> None:
    before = pipeline.up(aws, "rolled-", QUIET)

    with pytest.raises(stack.StackFailedError, match=r"rolled-order-fulfillment failed .*: Broken"):
        pipeline.up(aws, "rolled-", QUIET, edited(broken))

    status = pipeline.status(aws, "rolled-")
    assert status
    assert (status.stack_status, status.outputs) == ("UPDATE_ROLLBACK_COMPLETE", before.outputs)
    assert not pipeline.up(aws, "rolled-", QUIET).changed


def test_up_over_retained_tables_imports_them_with_what_they_hold(aws: Aws) -> None:
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


def test_up_leaves_a_table_alone_that_is_somebody_elses(aws: Aws) -> None:
    aws.dynamodb.create_table(
        TableName="foreign-OrderTable",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "N"}],
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
    )

    with pytest.raises(DeployError, match="foreign-OrderTable that is not this pipeline's"):
        pipeline.up(aws, "foreign-", QUIET)
    assert pipeline.status(aws, "foreign-") is None


def test_up_takes_over_from_a_change_set_that_nobody_executed(aws: Aws) -> None:
    aws.cloudformation.create_change_set(
        StackName="reviewed-order-fulfillment",
        ChangeSetName="forgotten",
        ChangeSetType="CREATE",
        TemplateBody=json.dumps({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}),
    )

    assert pipeline.up(aws, "reviewed-", QUIET).changed


def test_up_does_not_take_the_tables_of_a_deployment_under_way_for_retained_ones(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.up(aws, "twice-", QUIET)
    monkeypatch.setattr(stack, "settle", lambda *_: None)  # It looked before the other one began.

    with pytest.raises(DeployError, match=r"^Another deployment of twice-order-fulfillment is under way"):
        pipeline.up(aws, "twice-", QUIET)


def test_up_does_not_remove_what_a_failed_deletion_left(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "find", lambda *_: {"StackStatus": "DELETE_FAILED"})
    monkeypatch.setattr(stack, "delete", lambda *_: pytest.fail("deleted"))

    with pytest.raises(DeployError, match=r"was deleted in part only\. Finish that first: python -m deploy down$"):
        pipeline.up(aws, "partial-", QUIET)


def test_down_deletes_an_empty_stack_with_its_tables(aws: Aws) -> None:
    pipeline.up(aws, "empty-", QUIET)

    assert down(aws, "empty-")

    assert pipeline.status(aws, "empty-") is None
    assert table_names(aws, "empty-") == []
    assert down(aws, "empty-"), "nothing left to do is no failure"


def test_down_does_nothing_when_the_answer_is_no(aws: Aws) -> None:
    pipeline.up(aws, "no-", QUIET)

    assert not down(aws, "no-", answer=False)
    assert pipeline.status(aws, "no-")


def test_down_refuses_while_anything_would_be_lost_and_says_what(deploy_stack: DeployStack, aws: Aws) -> None:
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


def test_down_finds_the_tables_of_a_stack_that_is_gone(aws: Aws) -> None:
    pipeline.up(aws, "orphan-", QUIET)
    aws.dynamodb.put_item(TableName="orphan-OrderTable", Item={"OrderId": {"S": "1"}})
    stack.delete(aws, "orphan-order-fulfillment", QUIET)

    with pytest.raises(DeployError, match="orphan-OrderTable holds 1 item"):
        down(aws, "orphan-")
    assert down(aws, "orphan-", delete_data=True)
    assert table_names(aws, "orphan-") == []


def test_down_refuses_while_executions_run(aws: Aws, edited: Edited) -> None:
    waiting = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 86_400, "End": True}}}

    def wait(source: Template) -> None:
        properties = source["Resources"]["OrderFulfillmentStateMachine"]["Properties"]
        del properties["DefinitionS3Location"], properties["DefinitionSubstitutions"]
        properties["DefinitionString"] = json.dumps(waiting)

    deployment = pipeline.up(aws, "busy-", QUIET, edited(wait))
    aws.stepfunctions.start_execution(stateMachineArn=deployment.outputs["StateMachineArn"])

    with pytest.raises(DeployError, match="1 execution is running"):
        down(aws, "busy-")
