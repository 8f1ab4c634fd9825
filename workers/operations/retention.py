"""How long the stack keeps final orders and resolved cases."""

from typing import TYPE_CHECKING

from workers.aws.errors import translate
from workers.domain.retention import FOR_EVER, MAX_RETENTION_DAYS, MIN_RETENTION_DAYS, Retention
from workers.errors import AccessDeniedError
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import ClientError

if TYPE_CHECKING:
    from workers.operations.stack import Stack

RETENTION_TAG = (
    "OrderRetentionDays"  # Of the order table. deploy/pipeline.yaml sets it from the parameter of this name.
)


async def read_retention(stack: "Stack") -> Retention:
    """
    Return the stack's retention, from the tag of its order table.

    Without permission to read the tag, nothing expires: an operator can still resolve a case.

    Raises:
        OperationError: The tag was edited and is not a number of days.
    """
    try:
        table = await stack.dynamodb.call("describe_table", TableName=stack.names.order_table)
        answer = await stack.dynamodb.call("list_tags_of_resource", ResourceArn=table["Table"]["TableArn"])
    except ClientError as error:
        if not isinstance(translate(error), AccessDeniedError):
            raise
        return FOR_EVER
    days = next((tag["Value"] for tag in answer["Tags"] if tag["Key"] == RETENTION_TAG), "")
    if not days:
        return FOR_EVER
    if not (days.isascii() and days.isdigit() and MIN_RETENTION_DAYS <= int(days) <= MAX_RETENTION_DAYS):
        raise OperationError(
            f"the tag {RETENTION_TAG} of table {stack.names.order_table} must be {MIN_RETENTION_DAYS} to"
            f" {MAX_RETENTION_DAYS} days: deploy the stack again"
        )
    return Retention(int(days))
