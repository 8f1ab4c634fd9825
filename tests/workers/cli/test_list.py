"""What `orders list` prints and asks for, against a scripted AWS."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.workers.cli.console import done, rows, run
from tests.workers.operations.fakes import FakeClient, fake_stack
from workers.aws.items import to_item
from workers.cli.list import command

CARD = "4929123412345678"
ORDERS: list[dict[str, Any]] = [
    {
        "OrderId": "001",
        "Status": "ESCALATED",
        "UpdatedAt": "2026-11-22T09:00:00.000000Z",
        "Attempts": 5,
        "Reasons": ["INVALID_PRICE", "INVALID_CARD_NUMBER"],
    },
    {"OrderId": "002", "Status": "RECEIVED", "UpdatedAt": "2026-11-22T11:58:30.000000Z", "CC": CARD},
]
HEADINGS = "ORDER | STATUS | AGE | SINCE | ATTEMPTS | REASONS"
FIRST = "001 | ESCALATED | 3h | 2026-11-22T09:00:00 | 5 | INVALID_PRICE, INVALID_CARD_NUMBER"
SECOND = "002 | RECEIVED | 90s | 2026-11-22T11:58:30 | 0 | -"


def dynamodb(*orders: dict[str, Any]) -> FakeClient:
    """Return a DynamoDB with these open orders, all in the first shard of their status."""

    def query(ExpressionAttributeValues: Any, **_: Any) -> Iterator[Any]:  # noqa: N803 - the SDK's name.
        key, before = (ExpressionAttributeValues[name]["S"] for name in (":key", ":before"))
        yield {
            "Items": [
                to_item(order) for order in orders if f"{order['Status']}#0" == key and order["UpdatedAt"] < before
            ]
        }

    def batch_get_item(RequestItems: Any) -> Any:  # noqa: N803
        ids = [key["OrderId"]["S"] for key in RequestItems["OrderTable"]["Keys"]]
        return {"Responses": {"OrderTable": [to_item(order) for order in orders if order["OrderId"] in ids]}}

    return FakeClient(query=query, batch_get_item=batch_get_item)


def test_open_orders_are_a_table_oldest_first() -> None:
    client = dynamodb(*reversed(ORDERS))
    ran = done(command, stack=fake_stack(dynamodb=client))
    assert (rows(ran.stdout), ran.stderr) == ([HEADINGS, FIRST, SECOND], "")
    keys = [request["ExpressionAttributeValues"][":key"]["S"] for name, request in client.requests if name == "query"]
    assert keys == [f"{status}#{digit}" for status in ("RECEIVED", "ESCALATED") for digit in "0123456789abcdef"]


def test_numbers_are_aligned_to_the_right() -> None:
    headings, first, second = done(command, stack=fake_stack(dynamodb=dynamodb(*ORDERS))).stdout.splitlines()
    assert headings.index("AGE") + 3 == first.index("3h") + 2 == second.index("90s") + 3
    assert headings.index("ATTEMPTS") + 7 == first.index(" 5 ") + 1


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--status", "received"], [SECOND]),
        (["--status", "ESCALATED"], [FIRST]),
        (["--older-than", "2h"], [FIRST]),
        (["--limit", "1"], [FIRST]),
    ],
)
def test_orders_can_be_selected(arguments: list[str], shown: list[str]) -> None:
    ran = done(command, *arguments, stack=fake_stack(dynamodb=dynamodb(*ORDERS)))
    assert rows(ran.stdout) == [HEADINGS, *shown]


def test_for_scripts_the_orders_are_json_and_masked() -> None:
    keys = {"OpenKey": "RECEIVED#0", "LastAttempt": "m-1/1", "Trials": 1}
    ran = done(command, "--json", stack=fake_stack(dynamodb=dynamodb(ORDERS[0], ORDERS[1] | keys)))
    first, second = json.loads(ran.stdout)
    assert {name: value for name, value in first.items() if value is not None} == {
        "order_id": "001",
        "status": "ESCALATED",
        "updated_at": "2026-11-22T09:00:00.000000Z",
        "attempts": 5,
        "reasons": ["INVALID_PRICE", "INVALID_CARD_NUMBER"],
    }
    assert (second["order_id"], second["cc"], second["attempts"], second["reasons"]) == ("002", "****", 0, [])
    assert (first.keys(), ran.stderr) == (second.keys(), "")


def test_without_matching_orders_only_a_note_is_printed() -> None:
    empty = fake_stack(dynamodb=dynamodb())
    assert (done(command, stack=empty).stdout, done(command, stack=empty).stderr) == ("", "no matching open orders\n")
    assert (done(command, "--json", stack=empty).stdout, done(command, "--json", stack=empty).stderr) == ("[]\n", "")


@pytest.mark.parametrize("status", ["FULFILLED", "cancelled", "x"])
def test_only_open_orders_are_listed(status: str) -> None:
    ran = run(command, "--status", status)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1] == (
        "Error: Invalid value for '--status': only open orders are listed, RECEIVED or ESCALATED; the other statuses"
        " are final"
    )


@pytest.mark.parametrize("limit", ["0", "1000001"])
def test_the_limit_is_one_to_a_million(limit: str) -> None:
    ran = run(command, "--limit", limit)
    assert ran.exit_code == 2
    assert f"{limit} is not in the range 1<=x<=1000000" in ran.stderr
