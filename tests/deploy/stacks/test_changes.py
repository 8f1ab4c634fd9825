"""`up` shows a change set before it is executed, asks about it, and refuses it if data would be lost."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.progress import Progress
from deploy.stacks import changes, pipeline, stack
from deploy.stacks.changes import ResourceChange, Review
from tests.deploy.stacks.fakes import FakeClient, fake_aws
from tests.deploy.stacks.support import Resources, edited

QUIET = Progress(quiet=True)
PREFIX = "reviews-"
NAME = "reviews-order-fulfillment"
CHANGE_SET = changes.ChangeSet(StackName="stack", ChangeSetName="change-set")
KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def deployed(aws: Aws) -> pipeline.Deployment:
    return pipeline.up(aws, PREFIX, QUIET)


def renamed_queue(resources: Resources) -> None:
    resources["EscalationDLQ"]["Properties"]["QueueName"] = "reviews-Another"


def removed_table(resources: Resources) -> None:
    for name in [name for name in resources if name != "EscalationTable"]:
        del resources[name]
    resources["EscalationTable"]["Properties"]["Tags"] = [{"Key": "a", "Value": "b"}]


def other_key(resources: Resources) -> None:
    resources["OrderTable"]["Properties"]["KeySchema"] = [{"AttributeName": "UpdatedAt", "KeyType": "HASH"}]


def other_attribute(resources: Resources) -> None:
    resources["OrderTable"]["Properties"]["AttributeDefinitions"][2]["AttributeType"] = "N"


def new_index(resources: Resources) -> None:
    properties = resources["OrderTable"]["Properties"]
    properties["AttributeDefinitions"].append({"AttributeName": "Name", "AttributeType": "S"})
    properties["GlobalSecondaryIndexes"].append(
        {
            "IndexName": "ByName",
            "KeySchema": [{"AttributeName": "Name", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    )


def longer_visibility(resources: Resources) -> None:
    resources["EscalationQueue"]["Properties"]["VisibilityTimeout"] = 77


def slower_function(resources: Resources) -> None:
    resources["VerifyCCAndPrice"]["Properties"]["Timeout"] = 4


def deployed_template(aws: Aws) -> Any:
    return aws.cloudformation.get_template(StackName=NAME)["TemplateBody"]


def change_sets(aws: Aws) -> list[Any]:
    """Return the change sets that are not executed yet."""
    found = aws.cloudformation.list_change_sets(StackName=NAME)["Summaries"]
    return [change_set for change_set in found if change_set["ExecutionStatus"] == "AVAILABLE"]


def never() -> bool:
    pytest.fail("asked")


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("edit", "refusal"),
    [
        (renamed_queue, "EscalationDLQ would be replaced, with everything in it"),
        (removed_table, "OrderTable would be removed"),
        (other_key, "OrderTable may be replaced"),
        (other_attribute, "OrderTable would be replaced"),
    ],
)
def test_a_table_or_queue_is_not_replaced_even_if_confirmed(
    aws: Aws, tmp_path: Path, edit: Callable[[Resources], None], refusal: str
) -> None:
    before = deployed_template(aws)

    with pytest.raises(DeployError, match=rf"^Nothing was changed: .*{refusal}.*--allow-replacement$"):
        pipeline.up(aws, PREFIX, QUIET, edited(tmp_path, edit), review=Review(lambda: True))

    assert deployed_template(aws) == before
    assert change_sets(aws) == []


@pytest.mark.usefixtures("deployed")
def test_a_refusal_says_what_to_do(aws: Aws, tmp_path: Path) -> None:
    review = Review(lambda: True, remedy="Start over.")

    with pytest.raises(DeployError, match=r"with everything in it\. Start over\.$"):
        pipeline.up(aws, PREFIX, QUIET, edited(tmp_path, renamed_queue), review=review)


@pytest.mark.usefixtures("deployed")
def test_a_change_of_a_queue_is_shown_and_made_if_confirmed(aws: Aws, tmp_path: Path) -> None:
    path, seen = edited(tmp_path, longer_visibility), io.StringIO()

    with pytest.raises(DeployError, match=r"^Nothing was changed$"):
        pipeline.up(aws, PREFIX, Progress(seen), path, review=Review(lambda: False))

    assert re.search(
        r"^  Modify  EscalationQueue +AWS::SQS::Queue +in place +VisibilityTimeout$", seen.getvalue(), re.MULTILINE
    )
    assert change_sets(aws) == []
    assert pipeline.up(aws, PREFIX, QUIET, path, review=Review(lambda: True)).changed


@pytest.mark.usefixtures("deployed")
def test_an_interrupted_question_leaves_no_change_set(aws: Aws, tmp_path: Path) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    def edit(resources: Resources) -> None:
        resources["OrderFulfillmentQueue"]["Properties"]["VisibilityTimeout"] = 99

    with pytest.raises(KeyboardInterrupt):
        pipeline.up(aws, PREFIX, QUIET, edited(tmp_path, edit), review=Review(interrupted))
    assert change_sets(aws) == []


@pytest.mark.usefixtures("deployed")
def test_a_resource_without_data_is_changed_without_a_question(aws: Aws, tmp_path: Path) -> None:
    def edit(resources: Resources) -> None:
        longer_visibility(resources)  # The stack has this value already, from the call below.
        slower_function(resources)

    pipeline.up(aws, PREFIX, QUIET, edited(tmp_path, longer_visibility))
    assert pipeline.up(aws, PREFIX, QUIET, edited(tmp_path, edit), review=Review(never)).changed


def test_a_new_index_does_not_replace_its_table(aws: Aws, tmp_path: Path) -> None:
    pipeline.up(aws, "indexed-", QUIET)
    aws.dynamodb.put_item(TableName="indexed-OrderTable", Item={"OrderId": {"S": "1"}})
    seen = io.StringIO()

    assert pipeline.up(aws, "indexed-", Progress(seen), edited(tmp_path, new_index)).changed

    line = next(text for text in seen.getvalue().splitlines() if " OrderTable " in text)
    assert "in place" in line
    assert "AttributeDefinitions" in line
    assert aws.dynamodb.scan(TableName="indexed-OrderTable")["Count"] == 1


def test_allow_replacement_replaces_a_queue(aws: Aws, tmp_path: Path) -> None:
    pipeline.up(aws, "replaced-", QUIET)
    review = Review(lambda: True, allow_replacement=True)

    deployment = pipeline.up(aws, "replaced-", QUIET, edited(tmp_path, renamed_queue), review=review)

    assert deployment.outputs["EscalationDLQName"] == "reviews-Another"


@pytest.mark.parametrize("replacement", ["replaced", "may be replaced"])
def test_only_tables_and_queues_hold_data(replacement: str) -> None:
    types = ("AWS::SQS::Queue", "AWS::DynamoDB::Table", "AWS::SQS::QueuePolicy")
    losing = [ResourceChange("Modify", "X", kind, replacement).loses_data for kind in types]
    added = [ResourceChange("Add", "X", kind).touches_data for kind in types]

    assert losing == [True, True, False]
    assert added == [False, False, False]


def test_tables_are_protected_until_the_parameter_says_otherwise(aws: Aws) -> None:
    def is_protected() -> bool:
        return aws.dynamodb.describe_table(TableName="bare-OrderTable")["Table"]["DeletionProtectionEnabled"]

    pipeline.up(aws, "bare-", QUIET)
    aws.dynamodb.put_item(TableName="bare-OrderTable", Item={"OrderId": {"S": "1"}})
    assert is_protected()
    assert pipeline.up(aws, "bare-", QUIET, given={"TableProtection": "false"}).changed
    assert not is_protected()
    assert aws.dynamodb.scan(TableName="bare-OrderTable")["Count"] == 1
    assert pipeline.down(aws, "bare-", delete_data=True, confirm=lambda: True, progress=QUIET)


def test_a_kms_key_is_added_and_removed_in_place_and_other_parameters_stay(aws: Aws) -> None:
    prefix, role = "keyed-", "arn:aws:iam::000000000000:role/Ops"
    outputs = pipeline.up(aws, prefix, QUIET, given={"SenderArns": role}).outputs
    aws.dynamodb.put_item(TableName="keyed-OrderTable", Item={"OrderId": {"S": "1"}})
    aws.sqs.send_message(QueueUrl=outputs["EscalationQueueUrl"], MessageBody="x")

    def encryption() -> tuple[str | None, str | None, str | None, str | None]:
        queue = aws.sqs.get_queue_attributes(QueueUrl=outputs["EscalationQueueUrl"], AttributeNames=["All"])[
            "Attributes"
        ]
        machine = aws.stepfunctions.describe_state_machine(stateMachineArn=outputs["StateMachineArn"])
        table = aws.dynamodb.describe_table(TableName="keyed-OrderTable")["Table"].get("SSEDescription", {})
        assert queue["ApproximateNumberOfMessages"] == "1"
        assert role in queue["Policy"]
        history = machine.get("encryptionConfiguration", {}).get("kmsKeyId")
        return queue.get("KmsMasterKeyId"), queue.get("SqsManagedSseEnabled"), table.get("KMSMasterKeyArn"), history

    assert encryption() == (None, "true", None, None)
    assert pipeline.up(aws, prefix, QUIET, given={"KmsKeyArn": KEY}).changed
    assert encryption() == (KEY, None, KEY, KEY)
    assert not pipeline.up(aws, prefix, QUIET).changed, "parameters that are not given keep their value"
    assert pipeline.up(aws, prefix, QUIET, given={"KmsKeyArn": ""}).changed
    assert encryption()[0] is None
    assert encryption()[3] is None
    assert stack.parameters(stack.find(aws, "keyed-order-fulfillment")) == {
        "NamePrefix": prefix,
        "AlarmTopicArn": "",
        "IntakeConcurrency": "10",
        "KmsKeyArn": "",
        "OrderRetentionDays": "",
        "PermissionsBoundaryArn": "",
        "SenderArns": role,
        "StuckAfterMinutes": "360",
        "SweepSchedule": "rate(1 hour)",
        "SweepState": "PENDING",
        "TableProtection": "true",
        "TakeDroppedFiles": "false",
    }
    assert aws.dynamodb.scan(TableName="keyed-OrderTable")["Count"] == 1
    assert pipeline.down(aws, prefix, delete_data=True, confirm=lambda: True, progress=QUIET)


def test_a_retention_is_set_changed_and_removed_in_place(aws: Aws) -> None:
    def tags() -> list[tuple[str, str]]:
        table = aws.dynamodb.describe_table(TableName="kept-OrderTable")["Table"]
        found = aws.dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
        return [(tag["Key"], tag["Value"]) for tag in found if not tag["Key"].startswith("aws:")]

    pipeline.up(aws, "kept-", QUIET)
    aws.dynamodb.put_item(TableName="kept-OrderTable", Item={"OrderId": {"S": "1"}})
    assert tags() == []
    for days, expected in (("90", [("OrderRetentionDays", "90")]), ("365", [("OrderRetentionDays", "365")]), ("", [])):
        assert pipeline.up(aws, "kept-", QUIET, given={"OrderRetentionDays": days}).changed
        assert tags() == expected
    assert aws.dynamodb.scan(TableName="kept-OrderTable")["Count"] == 1
    with pytest.raises(DeployError, match="OrderRetentionDays"):
        pipeline.up(aws, "kept-", QUIET, given={"OrderRetentionDays": "30"})


def resource(kind: str, action: str = "Modify", replacement: str = "False", **targets: str) -> Any:
    details = [{"Target": {"Attribute": attribute, "Name": name}} for name, attribute in targets.items()]
    change = {"LogicalResourceId": "X", "ResourceType": kind, "Action": action, "Details": details}
    return {"ResourceChange": change | ({"Replacement": replacement} if replacement else {})}


def attributes(**kinds: str) -> dict[str, Any]:
    """Return a template with a table `X` that defines these attributes."""
    definitions = [{"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items()]
    return {"Resources": {"X": {"Properties": {"AttributeDefinitions": definitions}}}}


def changes_of(*pages: list[Any], deployed: Any = None, new: Any = None) -> list[ResourceChange]:
    client = FakeClient(
        describe_change_set=lambda **_: [{"StackId": "stack", "Changes": page} for page in pages],
        get_template=lambda **_: {"TemplateBody": deployed},
    )
    found = changes.read(fake_aws(cloudformation=client), CHANGE_SET, new or {})
    described, *got = client.requests
    assert described == ("describe_change_set", CHANGE_SET)
    assert got == ([] if deployed is None else [("get_template", {"StackName": "stack"})])
    return found


TABLE, QUEUE, TOPIC = "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::SNS::Topic"


def test_changes_of_all_pages_are_read_in_their_order() -> None:
    found = changes_of(
        [resource(QUEUE, VisibilityTimeout="Properties"), {"Type": "Hook"}], [resource(TOPIC, "Add", "")]
    )
    assert found == [
        ResourceChange("Modify", "X", QUEUE, "in place", ("VisibilityTimeout",)),
        ResourceChange("Add", "X", TOPIC, "", ()),
    ]


@pytest.mark.parametrize(
    ("replacement", "shown"),
    [("True", "replaced"), ("Conditional", "may be replaced"), ("False", "in place"), ("", "")],
)
def test_a_replacement_is_said_in_words(replacement: str, shown: str) -> None:
    (found,) = changes_of([resource(QUEUE, replacement=replacement)])
    assert found.replacement == shown


def test_each_changed_property_is_named_once_and_tags_by_their_attribute() -> None:
    details = [
        {"Target": {"Attribute": "Properties", "Name": "B"}},
        {"Target": {"Attribute": "Tags"}},
        {"Target": {"Attribute": "Properties", "Name": "B"}},
        {},
    ]
    change = resource(QUEUE)
    change["ResourceChange"]["Details"] = details
    assert changes_of([change])[0].properties == ("B", "Tags", "")


@pytest.mark.parametrize(
    ("old", "new", "replacement", "properties", "decided"),
    [
        ({"Id": "S"}, {"Id": "S", "Name": "S"}, "Conditional", {}, "in place"),
        ({"Id": "S", "Name": "S"}, {"Id": "S"}, "Conditional", {}, "in place"),
        ({"Id": "S"}, {"Id": "N"}, "Conditional", {}, "replaced"),
        ({"Id": "S", "Name": "S"}, {"Id": "S", "Name": "N"}, "False", {}, "replaced"),
        ({"Id": "S"}, {"Id": "S", "Name": "S"}, "Conditional", {"KeySchema": "Properties"}, "may be replaced"),
        ({"Id": "S"}, {"Id": "S", "Name": "S"}, "True", {}, "replaced"),
    ],
)
def test_only_another_type_of_an_attribute_replaces_a_table(
    old: dict[str, str], new: dict[str, str], replacement: str, properties: dict[str, str], decided: str
) -> None:
    change = resource(TABLE, replacement=replacement, AttributeDefinitions="Properties", **properties)
    body = attributes(**old)
    for deployed in (body, json.dumps(body)):
        (found,) = changes_of([change], deployed=deployed, new=attributes(**new))
        assert found.replacement == decided


@pytest.mark.parametrize(
    "change",
    [
        resource(TABLE, replacement="Conditional", Tags="Tags"),
        resource(QUEUE, replacement="Conditional", AttributeDefinitions="Properties"),
        resource(TABLE, "Add", "Conditional", AttributeDefinitions="Properties"),
    ],
)
def test_other_changes_are_left_as_aws_says(change: Any) -> None:
    assert changes_of([change])[0].replacement == "may be replaced"


def test_only_the_table_whose_attributes_change_is_decided_anew() -> None:
    found = changes_of(
        [resource(TABLE, replacement="Conditional", AttributeDefinitions="Properties"), resource(QUEUE, "Remove", "")],
        deployed=attributes(Id="S"),
        new=attributes(Id="S", Name="S"),
    )
    assert [change.replacement for change in found] == ["in place", ""]


@pytest.mark.parametrize(
    ("action", "kind", "touches", "loses", "fate"),
    [
        ("Remove", TABLE, True, True, "removed"),
        ("Remove", TOPIC, False, False, "removed"),
        ("Modify", TABLE, True, False, "in place"),
        ("Add", QUEUE, False, False, "in place"),
        ("Import", TABLE, False, False, "in place"),
    ],
)
def test_removing_or_changing_a_table_or_queue_touches_data(
    action: str, kind: str, touches: bool, loses: bool, fate: str
) -> None:
    change = ResourceChange(action, "X", kind, "in place")
    assert (change.touches_data, change.loses_data, change.fate) == (touches, loses, fate)


CHANGES = [
    ResourceChange("Modify", "Queue", QUEUE, "replaced", ("QueueName", "Tags")),
    ResourceChange("Remove", "OrderTable", TABLE),
    ResourceChange("Modify", "Other", TABLE, "may be replaced"),
    ResourceChange("Add", "Topic", TOPIC),
]


def test_changes_are_shown_in_columns() -> None:
    said = io.StringIO()
    Review(lambda: True, allow_replacement=True)("mine", CHANGES, Progress(said))
    assert said.getvalue().splitlines() == [
        "Changes to mine:",
        "  Modify  Queue       AWS::SQS::Queue       replaced         QueueName, Tags",
        "  Remove  OrderTable  AWS::DynamoDB::Table  removed",
        "  Modify  Other       AWS::DynamoDB::Table  may be replaced",
        "  Add     Topic       AWS::SNS::Topic",
    ]


def test_a_refusal_names_all_that_would_be_lost() -> None:
    with pytest.raises(DeployError) as raised:
        Review(never)("mine", CHANGES, QUIET)
    assert str(raised.value) == (
        "Nothing was changed: Queue would be replaced, OrderTable would be removed, Other may be replaced,"
        " with everything in it. To do it anyway: --allow-replacement"
    )


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize(
    ("found", "asks"),
    [
        (CHANGES, True),
        ([ResourceChange("Modify", "X", QUEUE, "in place"), CHANGES[-1]], True),
        ([CHANGES[-1], ResourceChange("Remove", "X", TOPIC)], False),
        ([], False),
    ],
)
def test_a_question_is_asked_only_about_data(found: list[ResourceChange], asks: bool, answer: bool) -> None:
    asked: list[bool] = []

    def confirm() -> bool:
        asked.append(answer)
        return answer

    review = Review(confirm, allow_replacement=True)
    if asks and not answer:
        with pytest.raises(DeployError, match=r"^Nothing was changed$"):
            review("mine", found, QUIET)
    else:
        review("mine", found, QUIET)
    assert len(asked) == asks


def test_a_review_that_agrees_allows_no_replacement() -> None:
    with pytest.raises(DeployError, match="would be removed"):
        changes.AGREED("mine", CHANGES[1:2], QUIET)
    changes.AGREED("mine", [ResourceChange("Modify", "X", QUEUE, "in place")], QUIET)
