"""What `orders escalations list` and `show` print and refuse."""

import json
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from tests.workers.cli.console import done, rows, run
from tests.workers.cli.tables import FakeTables
from tests.workers.domain.examples import case
from tests.workers.fakes import EXECUTION, order
from tests.workers.operations.fakes import FakeClient, fake_stack
from workers.aws.case_items import case_item
from workers.aws.items import to_item
from workers.cli.escalations import command, list_command
from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.reasons import Reason, Severity, Source
from workers.operations.stack import Stack

CARD = "4929123412345678"
HEADINGS = "CASE | SEVERITY | STATUS | AGE | NAME | ITEM | PRICE | REASONS | NEXT"
OLD = "001 | critical | FULFILLED | 2h | Ada | Bicycle | 12.50 | INVALID_PRICE, WORKFLOW_FAILED | close"
YOUNG = "002 | warning | - | 90s | - | - | - | INVALID_CARD_NUMBER | resubmit or cancel"
OTHER = "message-1 | info | - | 60m | - | - | - | UNDECODABLE_MESSAGE | read its dead letter, then close"
CASES = (
    case(case_id="002", order_id="002", opened_at="2026-11-22T11:58:30.000000Z"),
    Case(
        case_id="message-1",
        state=CaseState.OPEN,
        severity=Severity.INFO,
        opened_at="2026-11-22T11:00:00.000000Z",
        updated_at="2026-11-22T11:00:00.000000Z",
        reasons=(Reason.UNDECODABLE_MESSAGE,),
    ),
    case(
        severity=Severity.CRITICAL,
        reasons=(Reason.INVALID_PRICE, Reason.WORKFLOW_FAILED),
        sources=(Source.WORKFLOW, Source.FULFILLMENT),
        episode=3,
        attempts=5,
    ),
)


@pytest.fixture(name="tables")
def _tables(monkeypatch: pytest.MonkeyPatch) -> FakeTables:
    return FakeTables(*CASES).install(monkeypatch)


class Aws:
    """The order table has order 001. `asked`: the ids of the orders that were read, for each request."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.stack: Stack = fake_stack(dynamodb=FakeClient(batch_get_item=self.batch_get_item))

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803 - the SDK's name.
        self.asked.append([key["OrderId"]["S"] for key in RequestItems["OrderTable"]["Keys"]])
        stored = {"OrderId": "001", "Status": "FULFILLED", "ExecutionArn": EXECUTION, "CC": CARD}
        stored |= {"Name": "Ada", "ItemName": "Bicycle", "Price": "12.50"}
        return {"Responses": {"OrderTable": [to_item(stored)] if "001" in self.asked[-1] else []}}


@pytest.mark.usefixtures("tables")
def test_open_cases_are_a_table_with_the_status_of_their_orders_now() -> None:
    aws = Aws()
    ran = done(command, "list", stack=aws.stack)
    assert rows(ran.stdout) == [HEADINGS, OLD, YOUNG, OTHER]
    assert ran.stderr == "3 shown; 3 cases are open\n"
    assert aws.asked == [["001", "002"]]


@pytest.mark.usefixtures("tables")
def test_numbers_are_aligned_to_the_right() -> None:
    headings, first, second, _ = done(command, "list", stack=Aws().stack).stdout.splitlines()
    assert len(headings.split()) == len(HEADINGS.split(" | "))
    assert headings.index("AGE  ") + 3 == first.index(" 2h ") + 3 == second.index(" 90s ") + 4


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("arguments", "shown", "summary"),
    [
        (["--severity", "Critical"], [OLD], "1 shown; 3 cases are open"),
        (["--reason", "invalid_card_number"], [YOUNG], "1 shown; 3 cases are open"),
        (["--source", "Fulfillment"], [OLD], "1 shown; 3 cases are open"),
        (["--older-than", "50m"], [OLD, OTHER], "2 shown; 3 cases are open"),
        (["--limit", "1"], [OLD], "1 shown of 3 matching; 3 cases are open"),
        (["--older-than", "50m", "--limit", "1"], [OLD], "1 shown of 2 matching; 3 cases are open"),
    ],
)
def test_cases_can_be_selected(arguments: list[str], shown: list[str], summary: str) -> None:
    ran = done(command, "list", *arguments, stack=Aws().stack)
    assert (rows(ran.stdout), ran.stderr) == ([HEADINGS, *shown], f"{summary}\n")


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (
            "reason",
            [
                "INVALID_CARD_NUMBER | 1 | 90s",
                "INVALID_PRICE | 1 | 2h",
                "UNDECODABLE_MESSAGE | 1 | 60m",
                "WORKFLOW_FAILED | 1 | 2h",
            ],
        ),
        ("severity", ["critical | 1 | 2h", "info | 1 | 60m", "warning | 1 | 90s"]),
        ("source", ["workflow | 2 | 2h", "fulfillment | 1 | 2h", "none | 1 | 60m"]),
        ("status", ["no order | 2 | 60m", "FULFILLED | 1 | 2h"]),
    ],
)
def test_open_cases_are_counted_in_groups(by: str, groups: list[str]) -> None:
    ran = done(command, "list", "--by", by, stack=Aws().stack)
    assert rows(ran.stdout) == [f"{by.upper()} | CASES | OLDEST", *groups]
    assert ran.stderr == "3 shown; 3 cases are open\n"


@pytest.mark.usefixtures("tables")
def test_groups_are_json_too_and_only_of_open_cases() -> None:
    ran = done(command, "list", "--by", "severity", "--severity", "info", "--json", stack=Aws().stack)
    assert json.loads(ran.stdout) == [{"severity": "info", "cases": 1, "oldest_at": "2026-11-22T11:00:00.000000Z"}]
    for options in (["--state", "resolved"], ["--csv"], ["--limit", "1"]):
        refused = run(command, "list", "--by", "reason", *options, stack=Aws().stack)
        assert "--by counts open cases: --state, --limit and --csv do not go with it" in refused.stderr


@pytest.mark.usefixtures("tables")
def test_only_orders_of_cases_that_are_shown_are_read() -> None:
    aws = Aws()
    done(command, "list", "--limit", "1", stack=aws.stack)
    assert aws.asked == [["001"]]


def test_without_a_matching_case_there_is_no_table(tables: FakeTables) -> None:
    ran = done(command, "list", "--reason", "ORDER_NOT_FOUND", stack=Aws().stack)
    assert (ran.stdout, ran.stderr) == ("", "0 shown; 3 cases are open\n")
    del tables.cases["002"], tables.cases["message-1"]
    assert done(command, "list", stack=Aws().stack).stderr == "1 shown; 1 case is open\n"
    tables.cases.clear()
    ran = done(command, "list", stack=Aws().stack)
    assert (ran.stdout, ran.stderr) == ("", "no case is open\n")
    assert done(command, "list", "--json", stack=Aws().stack).stdout == "[]\n"


def test_edited_cases_are_named(tables: FakeTables) -> None:
    tables.edited += ["003", "004"]
    for arguments in ([], ["--by", "reason"]):
        assert done(command, "list", *arguments, stack=Aws().stack).stderr.splitlines() == [
            "3 shown; 3 cases are open",
            *(f"orders: case {case_id} cannot be read: it was edited in the table" for case_id in ("003", "004")),
        ]


@pytest.mark.usefixtures("tables")
def test_for_scripts_the_cases_are_json_with_their_orders() -> None:
    ran = done(command, "list", "--json", stack=Aws().stack)
    first, second, third = json.loads(ran.stdout)
    assert [each["case_id"] for each in (first, second, third)] == ["001", "002", "message-1"]
    assert (first["order_now"]["status"], second["order_now"], third["order_now"]) == ("FULFILLED", None, None)
    assert (first["severity"], first["evidence"][0]["message_id"]) == ("critical", "m1")
    assert CARD not in ran.stdout
    assert ran.stderr == "3 shown; 3 cases are open\n"


def test_an_unknown_reason_is_refused_with_the_list_of_reasons() -> None:
    ran = CliRunner().invoke(list_command, ["--reason", "BOGUS"], obj=Stack(environ={}))
    assert (ran.exit_code, ran.stdout) == (2, "")
    problem = ran.stderr.splitlines()[-1].removeprefix("Error: Invalid value for '--reason': ")
    assert problem == f"'BOGUS' must be one of {', '.join(Reason)}"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--severity", "high"], "'high' is not one of 'info', 'warning', 'critical'"),
        (["--older-than", "x"], "must be a whole number and a unit: 90s, 10m, 2h or 3d"),
        (["--limit", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_options_name_what_is_allowed(arguments: list[str], problem: str) -> None:
    ran = run(command, "list", *arguments)
    assert (ran.exit_code, problem in ran.stderr) == (2, True)


def test_a_case_is_shown_with_its_order(tables: FakeTables) -> None:
    tables.orders["001"] = order("ESCALATED", cc="************5678")
    ran = done(command, "show", "001")
    assert (ran.stdout.splitlines()[0], ran.stderr) == ("  Case          001", "")
    assert "  Order         001 (ESCALATED now)\n" in ran.stdout
    assert "  Opened        2026-11-22 10:00:00 (2h ago)\n" in ran.stdout
    assert tables.read == ["001", "001"]


def test_for_scripts_a_case_is_json_with_its_order(tables: FakeTables) -> None:
    tables.orders["001"] = order("ESCALATED", cc="************5678")
    shown = json.loads(done(command, "show", "001", "--json").stdout)
    assert (shown["case_id"], shown["attempts"], shown["state"]) == ("001", 5, "OPEN")
    assert (shown["order_now"]["order_id"], shown["order_now"]["cc"]) == ("001", "************5678")
    assert json.loads(done(command, "show", "message-1", "--json").stdout)["order_now"] is None


@pytest.mark.usefixtures("tables")
def test_a_case_that_does_not_exist_is_one_line() -> None:
    ran = run(command, "show", "3")
    assert ran.stdout == ""
    assert str(ran.exception) == "there is no case '3'; `orders escalations list` shows the open ones"


class ResolvedCases:
    """AWS with these resolved cases, all in the shard that their keys name."""

    def __init__(self, *cases: Case) -> None:
        self.items = {each.case_id: case_item(each) for each in cases}
        self.client = FakeClient(query=self.query, batch_get_item=self.batch_get_item)
        self.stack: Stack = fake_stack(dynamodb=self.client)

    def query(self, ExpressionAttributeValues: Any, **_: Any) -> Any:  # noqa: N803 - the SDK's name.
        key = ExpressionAttributeValues[":key"]
        return [{"Items": [item for item in self.items.values() if item["OpenKey"] == key]}]

    def batch_get_item(self, RequestItems: Any) -> Any:  # noqa: N803
        ((table, request),) = RequestItems.items()
        if table == "OrderTable":
            order_item = {"OrderId": "001", "Status": "CANCELLED"}
            return {"Responses": {table: [to_item(order_item)]}}
        return {"Responses": {table: [self.items[key["CaseId"]["S"]] for key in request["Keys"]]}}


RESOLVED_AT = "2026-11-22T10:30:00.000000Z"
CANCEL = Resolution(action="cancel", episode=1, actor="Grace", note="customer has left", at=RESOLVED_AT)
RESOLVED = case(state=CaseState.RESOLVED, resolutions=(CANCEL,), updated_at=RESOLVED_AT)
RESOLVED_HEADINGS = "CASE | RESOLUTION | ACTOR | AGE | RESOLVED | REASONS | ORDER | STATUS | NOTE"
RESOLVED_ROW = (
    "001 | cancel | Grace | 90m | 2026-11-22 10:30:00 | INVALID_CARD_NUMBER | 001 | CANCELLED | customer has left"
)
NOT_LISTED = "cases that were resolved before the workers were updated to this version are not listed"


def test_resolved_cases_are_a_table_with_who_resolved_them_and_why() -> None:
    aws = ResolvedCases(RESOLVED)
    ran = done(command, "list", "--state", "resolved", stack=aws.stack)
    assert rows(ran.stdout) == [RESOLVED_HEADINGS, RESOLVED_ROW]
    assert ran.stderr.splitlines() == [
        "read 1 resolved case of 7 days, 1 matches",
        f"none before 2026-11-22 found; {NOT_LISTED}",
    ]
    assert {operation for operation, _ in aws.client.requests} == {"query", "batch_get_item"}


def test_resolved_cases_are_searched() -> None:
    aws = ResolvedCases(RESOLVED)
    ran = done(command, "list", "--state", "RESOLVED", "--actor", "grace", "--since", "11h", stack=aws.stack)
    assert (rows(ran.stdout), ran.stderr) == (
        [RESOLVED_HEADINGS, RESOLVED_ROW],
        "read 1 resolved case of 11h, 1 matches\n",
    )
    ran = done(command, "list", "--state", "resolved", "--actor", "ada", "--since", "11h", stack=aws.stack)
    assert (ran.stdout, ran.stderr) == ("", "read 1 resolved case of 11h, 0 match\n")
    ran = done(command, "list", "--state", "resolved", "--since", "60m", stack=ResolvedCases().stack)
    assert ran.stderr.splitlines()[1] == f"none found; {NOT_LISTED}"


def test_of_many_resolved_cases_a_table_has_the_first_and_says_so() -> None:
    aws = ResolvedCases(*(replace(RESOLVED, case_id=case_id) for case_id in ("001", "002", "003")))
    del aws.items["003"]["Severity"]
    ran = done(command, "list", "--state", "resolved", "--limit", "1", "--since", "11h", stack=aws.stack)
    assert len(rows(ran.stdout)) == 2
    assert ran.stderr.splitlines()[1:] == [
        "only the first 1 are shown: narrow it with --since and --until, or use --limit or --csv",
        "orders: case 003 cannot be read: it was edited in the table",
    ]
    ran = done(command, "list", "--state", "resolved", "--since", "11h", stack=aws.stack)
    assert len(rows(ran.stdout)) == 3
    assert ran.stderr.splitlines()[1:] == ["orders: case 003 cannot be read: it was edited in the table"]


def test_the_orders_of_resolved_cases_are_read_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.cli.case_list._BATCH", 2)
    ids = [f"00{number}" for number in range(5)]
    aws = ResolvedCases(*(replace(RESOLVED, case_id=case_id, order_id=case_id) for case_id in ids))
    ran = done(command, "list", "--state", "resolved", "--csv", "--since", "11h", stack=aws.stack)
    assert len(ran.stdout.splitlines()) == 6
    read = [next(iter(request["RequestItems"].items())) for name, request in aws.client.requests if "batch" in name]
    assert [len(asked["Keys"]) for table, asked in read if table == "OrderTable"] == [2, 2, 1]


def test_resolved_cases_are_json_and_csv() -> None:
    aws = ResolvedCases(RESOLVED)
    (document,) = json.loads(done(command, "list", "--state", "resolved", "--json", stack=aws.stack).stdout)
    assert (document["case_id"], document["state"], document["order_now"]["status"]) == ("001", "RESOLVED", "CANCELLED")
    header, row, end = done(command, "list", "--state", "resolved", "--csv", stack=aws.stack).stdout_bytes.split(
        b"\r\n"
    )
    assert (header.split(b",")[:2], end) == ([b"case_id", b"state"], b"")
    assert row.startswith(b"001,RESOLVED,warning,INVALID_CARD_NUMBER,workflow,1,2026-11-22T10:00:00.000000Z,2026-")
    assert b",cancel,Grace,customer has left,001,CANCELLED," in row


@pytest.mark.usefixtures("tables")
def test_open_cases_are_csv_too() -> None:
    ran = done(command, "list", "--csv", stack=Aws().stack)
    assert [line.split(",")[:2] for line in ran.stdout.splitlines()] == [
        *(["case_id", "state"], ["001", "OPEN"], ["002", "OPEN"], ["message-1", "OPEN"]),
    ]


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--since", "30m"], [YOUNG]),
        (["--until", "1h"], [OLD]),
        (["--name", "nobody"], []),
        (["--actor", "nobody"], []),
    ],
)
def test_open_cases_are_searched_too(arguments: list[str], shown: list[str]) -> None:
    ran = done(command, "list", *arguments, stack=Aws().stack)
    assert rows(ran.stdout) == ([HEADINGS, *shown] if shown else [])
