"""What several checks do with tables."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tests.aws_facts.lab import Lab

DYNAMODB_API = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/"
DYNAMODB_GUIDE = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/"

Item = dict[str, dict[str, Any]]


def table_of(lab: Lab) -> str:
    """Return the run's table: like the order table, with its index of open orders."""
    return lab.shared("table", lambda: _create(lab))


def other_table_of(lab: Lab) -> str:
    """Return a second table, like the first."""
    return lab.shared("other table", lambda: _create(lab))


def _create(lab: Lab) -> str:
    name = lab.name()
    lab.removes(lambda: remove_table(lab, name), "ResourceNotFoundException")
    lab.dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": "S"} for attribute in ("OrderId", "OpenKey", "UpdatedAt")
        ],
        KeySchema=[{"AttributeName": "OrderId", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "OpenOrders",
                "KeySchema": [
                    {"AttributeName": "OpenKey", "KeyType": "HASH"},
                    {"AttributeName": "UpdatedAt", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
    )
    wait_until_active(lab, name)
    return name


def wait_until_active(lab: Lab, name: str) -> None:
    while lab.dynamodb.describe_table(TableName=name)["Table"]["TableStatus"] != "ACTIVE":
        lab.sleep(0.5)


def remove_table(lab: Lab, name: str) -> None:
    wait_until_active(lab, name)  # A table that is being created cannot be deleted.
    if lab.dynamodb.describe_table(TableName=name)["Table"].get("DeletionProtectionEnabled"):
        lab.dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
        wait_until_active(lab, name)
    lab.dynamodb.delete_table(TableName=name)


def s(value: str) -> dict[str, str]:
    return {"S": value}


def n(value: int) -> dict[str, str]:
    return {"N": str(value)}


def put_order(lab: Lab, **attributes: Mapping[str, Any]) -> str:
    """Store an order that execution "a" has received, with these attributes besides; return its id."""
    order_id = lab.name()
    item = {"Status": s("RECEIVED"), "ExecutionArn": s("a"), "UpdatedAt": s("2025")} | attributes
    lab.dynamodb.put_item(TableName=table_of(lab), Item={"OrderId": s(order_id)} | item)
    return order_id


def get_order(lab: Lab, order_id: str) -> Item | None:
    answer = lab.dynamodb.get_item(TableName=table_of(lab), Key={"OrderId": s(order_id)}, ConsistentRead=True)
    item: Item | None = answer.get("Item")
    return item


def answer_of(call: Callable[..., Any], /, **parameters: object) -> dict[str, Any]:
    """Return the answer of a call, also if it is an error."""
    try:
        answer: dict[str, Any] = call(**parameters)
    except ClientError as error:
        return dict(error.response)
    return answer


def code_of(answer: Mapping[str, Any]) -> str:
    """Return the code in an answer, or in a part of it; "ok" if there is none."""
    return str(answer["Error"]["Code"]) if "Error" in answer else "ok"


def status_of(item: Item | None) -> str | None:
    """Return the status of a stored order."""
    return str(item["Status"]["S"]) if item else None
