"""Items that expire, the tag that says when, and the transaction that erases an order."""

from tests.aws_facts.fact import facts_of
from tests.aws_facts.lab import Lab
from tests.aws_facts.tables import (
    DYNAMODB_API,
    answer_of,
    code_of,
    get_order,
    n,
    other_table_of,
    put_order,
    s,
    table_of,
)

fact = facts_of("dynamodb")


@fact(
    "A transaction deletes an item and replaces another one whole; if a condition does not hold, it does neither.",
    source=DYNAMODB_API + "API_TransactWriteItems.html",
    relied_on_by=("workers/operations/erase.py::TransactItems",),
    expected=["TransactionCanceledException", True, True, "ok", False, ["OrderId", "Status"]],
)
def a_transaction_deletes_and_replaces(lab: Lab) -> object:
    order_id, case_id, other = put_order(lab), lab.name(), other_table_of(lab)
    lab.dynamodb.put_item(TableName=other, Item={"OrderId": s(case_id), "Version": n(2)})

    def erase(version: int) -> str:
        delete = {
            "TableName": other,
            "Key": {"OrderId": s(case_id)},
            "ConditionExpression": "Version = :version",
            "ExpressionAttributeValues": {":version": n(version)},
        }
        put = {
            "TableName": table_of(lab),
            "Item": {"OrderId": s(order_id), "Status": s("CANCELLED")},
            "ConditionExpression": "ExecutionArn = :execution",
            "ExpressionAttributeValues": {":execution": s("a")},
        }
        return code_of(answer_of(lab.dynamodb.transact_write_items, TransactItems=[{"Delete": delete}, {"Put": put}]))

    def has_case() -> bool:
        return "Item" in lab.dynamodb.get_item(TableName=other, Key={"OrderId": s(case_id)}, ConsistentRead=True)

    refused = [erase(1), has_case(), "ExecutionArn" in (get_order(lab, order_id) or {})]
    return [*refused, erase(2), has_case(), sorted(get_order(lab, order_id) or {})]


@fact(
    "A table's tags are listed by the table's ARN.",
    source=DYNAMODB_API + "API_ListTagsOfResource.html",
    relied_on_by=("workers/operations/retention.py::list_tags_of_resource",),
    expected=[["Kept", "90"]],
)
def tags_are_listed_by_arn(lab: Lab) -> object:
    arn = lab.dynamodb.describe_table(TableName=other_table_of(lab))["Table"]["TableArn"]
    lab.dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "Kept", "Value": "90"}])
    while not (tags := lab.dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]):  # Eventually consistent.
        lab.sleep(0.5)
    return [[tag["Key"], tag["Value"]] for tag in tags if tag["Key"] == "Kept"]


@fact(
    "Time to live is DISABLED at first; enabling it again within an hour is a ValidationException.",
    source=DYNAMODB_API + "API_UpdateTimeToLive.html",
    relied_on_by=("deploy/stacks/pipeline.py::describe_time_to_live",),
    expected=["DISABLED", "ok", "ValidationException", True],
)
def time_to_live_is_enabled_once(lab: Lab) -> object:
    table = other_table_of(lab)

    def status() -> str:
        answer = lab.dynamodb.describe_time_to_live(TableName=table)
        return str(answer["TimeToLiveDescription"]["TimeToLiveStatus"])

    def enable() -> str:
        setting = {"AttributeName": "ExpiresAt", "Enabled": True}
        return code_of(answer_of(lab.dynamodb.update_time_to_live, TableName=table, TimeToLiveSpecification=setting))

    return [status(), enable(), enable(), status() in {"ENABLING", "ENABLED"}]
