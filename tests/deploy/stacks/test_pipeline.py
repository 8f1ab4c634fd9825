"""`up` and `down` of the pipeline on the local AWS."""

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import pipeline, stack
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
