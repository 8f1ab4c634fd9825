import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.fakes import FakeClient, fake_stack, refused
from workers.domain.retention import FOR_EVER, Retention
from workers.operations.errors import OperationError
from workers.operations.retention import read_retention
from workers.operations.stack import Stack

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/OrderTable"


def tagged(*tags: tuple[str, str]) -> Stack:
    def list_tags(ResourceArn: str) -> object:  # noqa: N803 - AWS's name.
        assert ResourceArn == ARN
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags]}

    dynamodb = FakeClient(describe_table=lambda **_: {"Table": {"TableArn": ARN}}, list_tags_of_resource=list_tags)
    return fake_stack(dynamodb=dynamodb)


async def test_the_retention_is_a_tag_of_the_order_table() -> None:
    assert await read_retention(tagged(("Owner", "shop"), ("OrderRetentionDays", "365"))) == Retention(365)


async def test_without_permission_to_read_the_tag_nothing_expires() -> None:
    def refuse(**_: object) -> object:
        raise refused("AccessDeniedException", "ListTagsOfResource")

    dynamodb = FakeClient(describe_table=lambda **_: {"Table": {"TableArn": ARN}}, list_tags_of_resource=refuse)
    assert await read_retention(fake_stack(dynamodb=dynamodb)) == FOR_EVER


async def test_an_outage_is_not_taken_for_a_missing_permission() -> None:
    def fail(**_: object) -> object:
        raise refused("InternalServerError", "DescribeTable", 500)

    with pytest.raises(ClientError, match="InternalServerError"):
        await read_retention(fake_stack(dynamodb=FakeClient(describe_table=fail)))


@pytest.mark.parametrize("tags", [[], [("Owner", "shop")], [("OrderRetentionDays", "")]])
async def test_without_the_tag_nothing_expires(tags: list[tuple[str, str]]) -> None:
    assert await read_retention(tagged(*tags)) == FOR_EVER


@pytest.mark.parametrize("value", ["89", "3651", "-90", "90.5", "forever", "\u0669\u0669"])
async def test_a_tag_that_was_edited_is_one_clear_line(value: str) -> None:
    with pytest.raises(OperationError, match="the tag OrderRetentionDays of table OrderTable must be 90 to 3650 days"):
        await read_retention(tagged(("OrderRetentionDays", value)))


@pytest.mark.parametrize("days", [90, 3650])
async def test_the_shortest_and_the_longest_retention_are_taken(days: int) -> None:
    assert await read_retention(tagged(("OrderRetentionDays", str(days)))) == Retention(days)
