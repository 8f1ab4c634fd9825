from dataclasses import replace
from typing import Any

import pytest

from tests.workers.domain.examples import CARD, case, order_copy
from tests.workers.operations.fakes import FakeClient, fake_stack
from workers.aws.case_items import case_item
from workers.aws.items import from_item, to_item
from workers.domain.orders import Order, OrderStatus
from workers.operations.case_story import Difference, differences, read_case_story
from workers.operations.stack import Stack
from workers.operations.story import UnknownIdError

ORDER = {"OrderId": "001", "Status": "ESCALATED", "Name": "Ada"}


def stack(item: dict[str, Any] | None, order: dict[str, Any] | None = None) -> tuple[Stack, FakeClient]:
    client = FakeClient(
        get_item=lambda **_: {} if item is None else {"Item": to_item(item)},
        batch_get_item=lambda **_: {"Responses": {"OrderTable": [] if order is None else [to_item(order)]}},
    )
    return fake_stack(dynamodb=client), client


CASE = from_item(case_item(case()))


async def test_a_case_and_its_order_take_two_requests() -> None:
    aws, client = stack(CASE, ORDER)
    story = await read_case_story(aws, "001")
    assert (story.case, story.item) == (replace(case(), version=3), CASE)
    assert story.order == Order("001", OrderStatus.ESCALATED, None, name="Ada")
    assert len(client.requests) == 2


async def test_an_order_that_is_gone_or_unreadable_is_told_apart() -> None:
    gone = await read_case_story(stack(CASE)[0], "001")
    assert (gone.order, gone.order_problem) == (None, None)
    odd = await read_case_story(stack(CASE, ORDER | {"Status": "LOST"})[0], "001")
    assert (odd.order, odd.order_problem is None) == (None, False)


async def test_a_case_without_an_order_takes_one_request() -> None:
    aws, client = stack(from_item(case_item(case(order_id=None))))
    assert (await read_case_story(aws, "001")).order is None
    assert len(client.requests) == 1


@pytest.mark.parametrize("edit", [{"Evidence": "text"}, {"Evidence": ["x"]}, {"Severity": "odd"}, {"Reasons": 7}])
async def test_an_edited_case_is_told_as_its_item(edit: dict[str, Any]) -> None:
    story = await read_case_story(stack(CASE | edit)[0], "001")
    assert (story.case, story.item) == (None, CASE | edit)
    lacking = {name: value for name, value in CASE.items() if name not in edit and name != "OpenedAt"}
    assert (await read_case_story(stack(lacking)[0], "001")).case is None


@pytest.mark.parametrize("case_id", ["nope", CARD, ""])
async def test_an_unknown_case_is_one_line_and_a_card_number_is_not_sent(case_id: str) -> None:
    aws, client = stack(None)
    with pytest.raises(UnknownIdError, match=r"^there is no case [^0-9]*$"):
        await read_case_story(aws, case_id)
    assert len(client.requests) == (case_id == "nope")


def test_an_order_is_compared_as_it_was_and_as_it_is() -> None:
    was = replace(order_copy("RECEIVED", "run-1"), name="Ada", price="1")
    now = Order("001", OrderStatus.ESCALATED, "run-2", name="Ada", price=f"for {CARD}", cc=CARD, attempts=3)
    found = {each.field: each for each in differences(was, now)}
    assert found["Status"] == Difference("Status", "RECEIVED", "ESCALATED")
    assert found["Price"] == Difference("Price", "1", "for ****")
    assert found["Card"] == Difference("Card", None, "****")
    changed = [name for name, each in found.items() if each.is_changed]
    assert changed == ["Status", "Price", "Card", "Attempts", "Execution"]
    assert {each.now for each in differences(was, None)} == {None}
