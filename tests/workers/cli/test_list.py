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
FOUND: list[dict[str, Any]] = [
    ORDERS[0] | {"Name": "Ada Lovelace", "ItemName": "Lamp"},
    ORDERS[1],
    {
        "OrderId": "003",
        "Status": "CANCELLED",
        "UpdatedAt": "2026-11-20T12:00:00.000000Z",
        "Name": "Ada King",
        "CancelledBy": "Grace",
    },
    {
        "OrderId": "004",
        "Status": "FULFILLED",
        "UpdatedAt": "2026-11-22T10:00:00.000000Z",
        "Name": "Ada King",
        "ItemName": "Bell",
    },
]
NOT_LISTED = "orders that became final before the workers were updated to this version are not listed"
DETAILED_HEADINGS = "ORDER | STATUS | AGE | SINCE | NAME | ITEM | ATTEMPTS | REASONS"
DETAILED = "001 | ESCALATED | 3h | 2026-11-22 09:00:00 | Ada Lovelace | Lamp | 5 | INVALID_PRICE, INVALID_CARD_NUMBER"
CANCELLED = "003 | CANCELLED | 2d | 2026-11-20 12:00:00 | Ada King | - | 0 | -"
SHIPPED = "004 | FULFILLED | 2h | 2026-11-22 10:00:00 | Ada King | Bell | 0 | -"
HEADINGS = "ORDER | STATUS | AGE | SINCE | ATTEMPTS | REASONS"
FIRST = "001 | ESCALATED | 3h | 2026-11-22 09:00:00 | 5 | INVALID_PRICE, INVALID_CARD_NUMBER"
SECOND = "002 | RECEIVED | 90s | 2026-11-22 11:58:30 | 0 | -"


def key_of(order: dict[str, Any]) -> str:
    day = f"#{order['UpdatedAt'][:10]}" if order["Status"] in {"FULFILLED", "CANCELLED"} else ""
    return f"{order['Status']}{day}#0"


def dynamodb(*orders: dict[str, Any]) -> FakeClient:
    """Return a DynamoDB with these orders, all in the first shard of their status."""

    def query(ExpressionAttributeValues: Any, **_: Any) -> Iterator[Any]:  # noqa: N803 - the SDK's name.
        key, before = (ExpressionAttributeValues[name]["S"] for name in (":key", ":before"))
        yield {"Items": [to_item(order) for order in orders if key_of(order) == key and order["UpdatedAt"] < before]}

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


def test_an_unknown_status_is_refused_with_what_is_allowed() -> None:
    ran = run(command, "--status", "x")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1] == (
        "Error: Invalid value for '--status': 'x' must be one of RECEIVED, ESCALATED, FULFILLED, CANCELLED"
    )


@pytest.mark.parametrize(
    ("arguments", "shown", "notes"),
    [
        (
            ["--status", "fulfilled"],
            [SHIPPED],
            [
                "read 1 order of 7 days, 1 matches",
                f"none before 2026-11-22 found; {NOT_LISTED}",
            ],
        ),
        (
            ["--status", "FULFILLED", "--status", "CANCELLED", "--since", "5h"],
            [SHIPPED],
            ["read 1 order of 5h, 1 matches"],
        ),
        (
            ["--status", "CANCELLED", "--since", "2026-11-20", "--until", "2026-11-22"],
            [CANCELLED],
            ["read 1 order of 2 days, 1 matches"],
        ),
        (
            ["--name", "ADA"],
            [DETAILED, SHIPPED, CANCELLED],
            [
                "read 4 orders, the open ones and the final ones of 7 days, 3 match",
                f"none before 2026-11-20 found; {NOT_LISTED}",
            ],
        ),
        (
            ["--until", "2h"],
            [DETAILED, CANCELLED],
            [
                "read 2 orders, the open ones and the final ones of 7 days, 2 match",
                f"none before 2026-11-20 found; {NOT_LISTED}",
            ],
        ),
        (["--name", "ada", "--status", "ESCALATED"], [DETAILED], ["read 1 open order, 1 matches"]),
        (
            ["--item", "bell", "--since", "1d"],
            [SHIPPED],
            ["read 3 orders of 1 day, 1 matches", f"none before 2026-11-22 found; {NOT_LISTED}"],
        ),
        (
            ["--reason", "invalid_price", "--since", "1d"],
            [DETAILED],
            ["read 3 orders of 1 day, 1 matches", f"none before 2026-11-22 found; {NOT_LISTED}"],
        ),
        (["--actor", "grace", "--since", "2026-11-20"], [CANCELLED], ["read 4 orders of 60h, 1 matches"]),
        (
            ["--status", "FULFILLED", "--status", "CANCELLED", "--limit", "1"],
            [SHIPPED],
            [
                "read 2 orders of 7 days, 1 matches",
                "only the first 1 are shown: narrow it with --since and --until, or use --limit or --csv",
            ],
        ),
        (
            ["--name", "nobody", "--status", "FULFILLED"],
            [],
            [
                "read 1 order of 7 days, 0 match",
                f"none before 2026-11-22 found; {NOT_LISTED}",
            ],
        ),
    ],
)
def test_orders_of_any_status_are_found(arguments: list[str], shown: list[str], notes: list[str]) -> None:
    ran = done(command, *arguments, stack=fake_stack(dynamodb=dynamodb(*FOUND)))
    assert rows(ran.stdout) == ([DETAILED_HEADINGS, *shown] if shown else [])
    assert ran.stderr.splitlines() == notes


def test_a_table_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.cli.searching.MAX_READ", 1)
    stack = fake_stack(dynamodb=dynamodb(*FOUND))
    ran = done(command, "--status", "FULFILLED", "--status", "CANCELLED", stack=stack)
    assert rows(ran.stdout) == [DETAILED_HEADINGS, SHIPPED]
    assert ran.stderr.splitlines() == [
        "read 1 order of 7 days, 1 matches",
        "incomplete: only 1 order was read; narrow it with --since and --until, or use --csv or --json for all",
    ]
    assert (
        len(json.loads(done(command, "--status", "FULFILLED", "--status", "CANCELLED", "--json", stack=stack).stdout))
        == 2
    )
    monkeypatch.setattr("workers.cli.searching.DEFAULT_LIMIT", 1)
    ran = done(command, "--name", "ada", "--since", "1d", stack=stack)
    assert rows(ran.stdout) == [DETAILED_HEADINGS, DETAILED]


def test_all_orders_of_the_window_are_csv() -> None:
    ran = done(command, "--since", "2026-11-20", "--csv", stack=fake_stack(dynamodb=dynamodb(*FOUND)))
    header, *lines = ran.stdout_bytes.decode().split("\r\n")
    assert header.startswith("order_id,status,name,item_name,price,cc,reasons,")
    assert [line.split(",")[:2] for line in lines] == [
        *(["001", "ESCALATED"], ["002", "RECEIVED"], ["004", "FULFILLED"], ["003", "CANCELLED"], [""]),
    ]
    assert "INVALID_PRICE; INVALID_CARD_NUMBER" in lines[0]
    assert ran.stderr == "read 4 orders of 60h, 4 match\n"


def test_open_orders_are_csv_without_notes() -> None:
    ran = done(command, "--csv", stack=fake_stack(dynamodb=dynamodb(*ORDERS)))
    assert (len(ran.stdout.splitlines()), ran.stderr) == (3, "")


def test_csv_and_json_exclude_each_other() -> None:
    ran = run(command, "--csv", "--json")
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (2, "Error: --json and --csv exclude each other")


@pytest.mark.parametrize("time", ["yesterday", "2026-13-01"])
def test_a_wrong_time_is_refused_with_what_is_allowed(time: str) -> None:
    ran = run(command, "--since", time)
    assert ran.exit_code == 2
    assert ran.stderr.splitlines()[-1] == (
        "Error: Invalid value for '--since': must be an age, such as 2h or 3d, or a time, such as 2026-11-22 or"
        " 2026-11-22T10:00Z"
    )


@pytest.mark.parametrize("option", ["--name", "--item", "--actor"])
def test_an_empty_text_is_refused(option: str) -> None:
    ran = run(command, option, " ")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].startswith(f"Error: Invalid value for '{option}'")
    assert ran.stderr.endswith(": is empty, must be a part of the text\n")


def test_no_list_of_orders_scans_the_table() -> None:
    client = dynamodb(*FOUND)
    for arguments in ([], ["--name", "ada"], ["--status", "FULFILLED", "--csv"], ["--actor", "x", "--json"]):
        done(command, *arguments, stack=fake_stack(dynamodb=client))
    assert {(operation, request.get("IndexName")) for operation, request in client.requests} == {
        *(("query", "OpenOrders"), ("batch_get_item", None)),
    }


@pytest.mark.parametrize("limit", ["0", "1000001"])
def test_the_limit_is_one_to_a_million(limit: str) -> None:
    ran = run(command, "--limit", limit)
    assert ran.exit_code == 2
    assert f"{limit} is not in the range 1<=x<=1000000" in ran.stderr


@pytest.mark.parametrize("arguments", [["--wide"], ["--csv"], ["--reason", "INVALID_PRICE"]])
@pytest.mark.parametrize("value", [7, b"\xff", "x", {1, 2}, ["x", None], {"a": [b"x"]}])
def test_an_order_that_was_edited_by_hand_stops_no_list(arguments: list[str], value: object) -> None:
    edited = FOUND[3] | dict.fromkeys(("Name", "ItemName", "Reasons", "Attempts", "CreatedAt"), value)
    stack = fake_stack(dynamodb=dynamodb(edited, FOUND[0]))
    ran = done(command, "--since", "3d", *arguments, stack=stack)
    assert "001" in ran.stdout
    assert ("004" in ran.stdout) is ("--reason" not in arguments)
