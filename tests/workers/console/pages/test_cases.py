from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.workers.cli.tables import FakeTables
from tests.workers.console.histories import tables
from tests.workers.console.pages.hostile import CARD, HOSTILE, SHOWN, assert_harmless, everywhere
from tests.workers.console.pages.test_orders import STATUS, stored, until
from tests.workers.console.site import LOCAL, READ_ONLY, Site
from tests.workers.domain.examples import case, evidence, order_copy
from tests.workers.fakes import EXECUTION
from tests.workers.operations.fakes import fake_stack
from tests.workers.operations.test_resolved_cases import CaseTable, resolved
from workers.aws.case_items import case_item
from workers.aws.items import from_item, to_item
from workers.console.case_lists import CasesNow, read_open
from workers.console.console import Place
from workers.console.pages.cases import _cards, _claim, _dropped
from workers.console.resolving import MAX_CASES
from workers.domain.cases import Case, CaseState, Claim, Dropped, Episode, Resolution, SentNotification
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.errors import UnreadableOrderError
from workers.operations.errors import OperationError

pytestmark = pytest.mark.usefixtures("patient")
AT = "2026-11-22T11:00:00.000000Z"
ORDER = Order("a", OrderStatus.ESCALATED, EXECUTION, name="Ada", item_name="Bicycle", price="-1")
CASES = (
    case(case_id="a", order_id="a", severity=Severity.CRITICAL, episode=2, reasons=(Reason.INVALID_PRICE,)),
    case(
        case_id="b",
        order_id="b",
        opened_at="2026-11-22T11:59:00.000000Z",
        reasons=(Reason.ORDER_STUCK, Reason.INVALID_PRICE),
        sources=(Source.SWEEP,),
        evidence=(evidence("m2", AT, reasons=(Reason.ORDER_STUCK,), detail="It is stuck."),),
    ),
    case(case_id="c", order_id=None, order=None, opened_at=AT),
)
FULL = case(
    order=replace(
        order_copy("RECEIVED"), name="Ada", item_name="Bicycle", price="-1", cc="****", created_at=AT, shipment_id="S"
    ),
    episode=2,
    evidence=(
        evidence("m1", AT, detail="a\nb", queue="Q", origin_message_id="o1", attempts=4, source=Source.FULFILLMENT),
    ),
    channels=("log", "pager", "tickets"),
    routed=(
        SentNotification(channel="log", episode=2, at=AT),
        SentNotification(channel="pager", episode=2, at=AT, given_up="HTTP 410"),
    ),
    resolutions=(
        Resolution(action="resubmit", episode=1, actor="grace", note="new price", at=AT, execution_arn=EXECUTION),
        Resolution(action="fulfill", episode=1, actor="ada", note="by hand", at=AT, shipment_id="SHIP"),
    ),
    episodes=(
        Episode(
            number=1,
            opened_at=AT,
            last_seen_at=AT,
            severity=Severity.INFO,
            reasons=(Reason.ORDER_STUCK,),
            sources=(Source.SWEEP,),
            order=replace(order_copy("RECEIVED"), name="Before", item_name="Helmet", price="1"),
        ),
    ),
    claim=Claim(
        actor="alan", note="again", at=AT, episode=2, number=1, order_id="001", execution_arn=f"{EXECUTION}-new"
    ),
    rejected_executions=(EXECUTION,),
    dropped=Dropped(evidence=12),
    attempts=5,
)


@asynccontextmanager
async def listing(*cases: Case, place: Place = LOCAL, **more: Any) -> AsyncIterator[Site]:
    """Start a site with these open cases, as one reading of all of them shows them, most severe first."""
    now = CasesNow(cases, more.pop("orders", {"a": ORDER}), more.pop("unreadable", []), len(cases))
    readings = [now]

    async def read() -> CasesNow:
        return readings[-1]

    async with Site.started(place=place, status=STATUS, read_cases=read, **more) as site:
        site.readings = readings  # type: ignore[attr-defined]
        yield site


def ids(page: Any) -> list[str]:
    """Return the ids of the cases in the last table."""
    return [row.all("a")[0].text for row in page.main.all("tbody")[-1].all("tr")]


async def test_open_cases_are_listed_with_what_to_do_next() -> None:
    async with listing(*CASES) as site:
        page = await site.get("/cases")
        header, *rows = page.tables[0]
        assert header[1:] == ["Case", "Severity", "Age", "Name", "Item", "Price", "Reasons", "What next"]
        assert [row[1:3] + row[4:] for row in rows] == [
            ["a", "critical", "Ada", "Bicycle", "-1", "INVALID_PRICE", "resubmit, fulfill or cancel"],
            ["c", "warning", "none", "none", "none", "INVALID_CARD_NUMBER", "resubmit with an order id, or cancel"],
            ["b", "warning", "none", "none", "none", "ORDER_STUCK INVALID_PRICE", "resubmit or cancel"],
        ]
        assert page.links["a"] == "/cases/a"
        assert "3 of 3 open cases match." in page.text
        assert "changed" not in page.text
        assert len(page.main.all(id="list")) == 1
        assert site.calls == [] or all(service != "dynamodb" for service, _ in site.calls)


async def test_open_cases_are_read_with_their_orders_as_they_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeTables(*CASES).install(monkeypatch).edited = ["edited"]
    order = {"OrderId": "b", "Status": "RECEIVED", "ExecutionArn": EXECUTION, "UpdatedAt": AT}
    found = await read_open(fake_stack(dynamodb=tables([order])))
    assert [each.case_id for each in found.cases] == ["a", "c", "b"]
    assert {order_id: getattr(each, "status", None) for order_id, each in found.orders.items()} == {"b": "RECEIVED"}
    assert (found.unreadable, found.read, found.is_cut, found.window) == (["edited"], 3, False, None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("severity=critical", ["a"]),
        ("reason=INVALID_PRICE", ["a", "b"]),
        ("reason=ORDER_STUCK&source=sweep", ["b"]),
        ("source=sweep", ["b"]),
        ("older_than=30m", ["a", "c"]),
        ("q=STUCK.", ["b"]),
        ("q=m2", ["b"]),
        ("detail=It+is+stuck.", ["b"]),
        ("detail=stuck", []),
        ("state=open&q=nothing+has+this", []),
    ],
)
async def test_filters_narrow_the_list(query: str, expected: list[str]) -> None:
    async with listing(*CASES) as site:
        page = await site.get(f"/cases?{query}")
        assert (ids(page) if page.tables else []) == expected
        assert f"{len(expected)} of 3 open cases match" in page.text


async def test_counts_by_severity_are_filters() -> None:
    async with listing(*CASES) as site:
        cards = (await site.get("/cases?severity=critical")).main.one("ul", class_="cards")
        assert cards.links == {
            "3 open cases": "/cases",
            "1 critical": "/cases?severity=critical",
            "2 warning": "/cases?severity=warning",
            "0 info": "/cases?severity=info",
        }
        assert [card.text for card in cards.all("a", aria_current="true")] == ["1 critical"]


async def test_cases_are_grouped_by_reason_and_by_detail() -> None:
    async with listing(*CASES) as site:
        page = await site.get("/cases?group=reason")
        assert [row[:2] for row in page.tables[0][1:]] == [
            ["INVALID_PRICE", "2"],
            ["INVALID_CARD_NUMBER", "1"],
            ["ORDER_STUCK", "1"],
        ]
        assert page.links["INVALID_PRICE"] == "/cases?reason=INVALID_PRICE"
        page = await site.get("/cases?group=detail&severity=warning")
        assert [row[:3] for row in page.tables[0][1:]] == [
            ["INVALID_CARD_NUMBER warning", "none", "1"],
            ["INVALID_PRICE warning", "none", "1"],
            ["ORDER_STUCK warning", "It is stuck.", "1"],
        ]
        address = page.links["ORDER_STUCK"]
        assert parse_qs(urlsplit(address).query) == {
            "severity": ["warning"],
            "reason": ["ORDER_STUCK"],
            "detail": ["It is stuck."],
        }
        assert ids(await site.get(address)) == ["b"]


async def test_a_form_names_each_case_with_its_episode() -> None:
    async with listing(*CASES) as site:
        page = await site.get("/cases?reason=INVALID_PRICE")
        chosen, everything = (form for form in page.forms if form.action == "/cases/resolve")
        boxes = [box.attributes["value"] for box in page.main.all("input", name="case", type="checkbox")]
        assert boxes == ["2:a", "1:b"]
        assert (chosen.method, list(chosen.fields)) == ("post", ["csrf"])  # Nothing is ticked yet.
        assert everything.fields["case"] == ["2:a", "1:b"]
        assert {"Resolve the selected …", "Resolve all 2 that match …"} <= {b.text for b in page.main.all("button")}


async def test_a_form_for_all_has_what_matched_when_the_page_was_made_and_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.console.case_lists.MAX_SELECTED", 2)
    async with listing(*CASES) as site:
        page = await site.get("/cases?rows=1")
        assert len(page.main.all("input", name="case", type="checkbox")) == 1
        (everything,) = [form for form in page.forms if "case" in form.fields]
        assert everything.fields["case"] == ["2:a", "1:c"]
        assert "Resolve the first 2 of 3 …" in page.text
        assert "1 of 3 shown. Show 100 more" in page.text
        assert page.links["Show 100 more"] == "/cases?rows=101"
        monkeypatch.setattr("workers.console.pages.cases.MAX_ROWS", 1)
        assert "Show 100 more" not in (await site.get("/cases?rows=1")).links


async def test_a_form_for_all_has_no_more_cases_than_can_be_resolved_at_once() -> None:
    async with listing(*(replace(CASES[2], case_id=f"c{number}") for number in range(MAX_CASES + 1))) as site:
        (everything,) = [form for form in (await site.get("/cases?rows=1")).forms if "case" in form.fields]
    assert len(everything.fields["case"]) == MAX_CASES


async def test_a_read_only_console_selects_nothing() -> None:
    async with listing(*CASES, place=READ_ONLY) as site:
        page = await site.get("/cases")
        assert ids(page) == ["a", "c", "b"]
        assert not page.main.all("input", type="checkbox")
        assert "/cases/resolve" not in [form.action for form in page.forms]


async def test_unreadable_cases_and_orders_are_named() -> None:
    orders = {"a": UnreadableOrderError("order a has no valid status")}
    async with listing(CASES[0], orders=orders, unreadable=["odd"]) as site:
        page = await site.get("/cases")
        assert "1 case cannot be read: edited in the table." in page.text
        assert page.links["odd"] == "/cases/odd"
        assert page.tables[0][1][-1] == "correct its order in the table: it cannot be read"


async def test_an_empty_list_says_why() -> None:
    async with listing() as site:
        assert "No case is open: nothing needs a person." in (await site.get("/cases")).text
        assert "No open case matches." in (await site.get("/cases?q=x")).text


async def test_the_stream_says_how_many_rows_have_changed() -> None:
    async with listing(*CASES) as site:
        live = (await site.get("/cases")).root.one(id="live").attributes["hx-sse:connect"]
        async with site.stream(live) as events:
            readings: list[CasesNow] = site.readings  # type: ignore[attr-defined]
            readings.append(replace(readings[-1], cases=[replace(CASES[0], episode=3), *CASES[1:]]))
            site.console.feeds.refresh()
            event = await until(events, "1 row changed. Show")
            assert (event.links["Show"], event.tables) == ("/cases", [])


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("state=closed", "State must be open, resolved"),
        ("severity=bad", "Severity must be info, warning, critical"),
        ("older_than=x", "Older than must be a whole number"),
        ("group=size", "Group by must be reason, detail"),
    ],
)
async def test_a_filter_that_means_nothing_is_named(query: str, problem: str) -> None:
    async with listing(*CASES) as site:
        page = await site.get(f"/cases?{query}")
        assert (page.status, page.tables) == (400, [])
        assert problem in page.text
        assert (await site.get(f"/live/cases?{query}")).status == 400


async def test_resolved_cases_are_those_of_the_last_day_and_the_page_says_so() -> None:
    table = CaseTable(resolved("old", "20T09:00"), resolved("new", "22T09:00", actor="grace"))
    table.client.operations["batch_get_item"] = both_tables(table)
    async with listing(*CASES, dynamodb=table.client) as site:
        page = await site.get("/cases?state=resolved")
        assert [row[:2] + row[3:] for row in page.tables[0][1:]] == [
            ["new", "close", "grace", "as agreed", "INVALID_CARD_NUMBER", "none"]
        ]
        assert "Read 1 resolved case of the last 24h (“since” reaches further back): 1 matches." in page.text
        assert "/cases/resolve" not in [form.action for form in page.forms]
        assert ids(await site.get("/cases?state=resolved&since=3d")) == ["new", "old"]
        assert not (await site.get("/cases?state=resolved&actor=alan")).tables


def both_tables(table: CaseTable) -> Any:
    def answer(*, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        if "EscalationTable" in RequestItems:
            return table._batch_get_item(RequestItems=RequestItems)
        return {"Responses": {}}

    return answer


async def test_a_card_number_is_not_looked_for() -> None:
    async with listing(*CASES) as site:
        page = await site.get(f"/cases?q={CARD}")
        assert (page.status, page.headers["Location"]) == (303, "/cases?refused=card")
        for path in (f"/cases/{CARD}", f"/live/cases/{CARD}"):
            page = await site.get(path)
            assert (page.status, CARD in page.html) == (404, False)
        assert (await site.get("/cases?id=+a+")).headers["Location"] == "/cases/a"


@pytest.mark.parametrize("text", [HOSTILE, CARD])
async def test_every_field_of_a_case_is_only_shown(text: str) -> None:
    odd = everywhere(FULL, text)
    async with listing(replace(odd, case_id="a"), orders={text: everywhere(ORDER, text)}) as site:
        page = await site.get("/cases?group=detail")
        assert_harmless(page)
        assert (SHOWN in page.text) == (text == HOSTILE)
    item = from_item(case_item(replace(odd, case_id="a")))
    async with case_site(item, order={"OrderId": text, "Status": "ESCALATED", "Name": text, "CC": text}) as site:
        page = await site.get("/cases/a")
        assert (page.status, "Messages" in page.text) == (200, True)
        assert_harmless(page)
        assert (page.text.count(SHOWN) > 15) == (text == HOSTILE)


def case_site(*items: dict[str, Any], order: dict[str, Any] | None = None, place: Place = LOCAL) -> Any:
    client = stored(*items)
    orders = [to_item(order)] if order else []
    client.operations["batch_get_item"] = lambda **_: {"Responses": {"OrderTable": orders}}
    return Site.started(place=place, dynamodb=client, status=STATUS)


FULL_ITEM = from_item(case_item(FULL))
NOW_ITEM = {
    "OrderId": "001",
    "Status": "ESCALATED",
    "ExecutionArn": EXECUTION,
    "Name": "Ada",
    "ItemName": "Bicycle",
    "Price": "12",
    "CC": "****",
}


async def test_everything_about_a_case_is_on_its_page() -> None:
    async with case_site(FULL_ITEM, order=NOW_ITEM) as site:
        page = await site.get("/cases/001")
        calls = [name for name, _ in site.clients["dynamodb"].requests]
        assert sorted(calls) == ["batch_get_item", "get_item"]
    for text in (
        "OPEN warning",
        "pager failed Given up, HTTP 410",
        "tickets not yet",
        "log sent",
        "Before; Helmet; 1",
        "grace resubmit new price",
        "ada fulfill by hand SHIP",
        "under way, or interrupted",
        "alan",
        "refused by the provider",
        "queue Q, origin o1",
        "Dropped: 12 messages.",
    ):
        assert text in page.text, text
    then_and_now = {row[0]: row[1:] for row in page.tables[1]}
    assert then_and_now["Price"] == ["-1", "12 changed"]
    assert then_and_now["Name"] == ["Ada", "Ada"]
    assert then_and_now["Status"] == ["RECEIVED", "ESCALATED changed"]
    assert page.links["Resolve"] == "/cases/001/resolve"
    assert page.links["Its order"] == "/orders/001"
    assert "/executions/" in page.links[EXECUTION.rpartition(":")[2]]
    assert page.main.one("section", class_="next").text.startswith("What next ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"claim": None}, None),
        ({}, "under way, or interrupted"),
        ({"episode": 3}, "escalated again"),
        ({"execution_arns": (f"{EXECUTION}-new",)}, "escalated again"),
        (
            {"resolutions": (replace(FULL.resolutions[0], execution_arn=f"{EXECUTION}-new"),), "episode": 3},
            "done",
        ),
    ],
)
def test_what_a_resubmission_came_to_is_said(change: dict[str, Any], said: str | None) -> None:
    assert _claim(replace(FULL, **change)) == said


def test_what_was_dropped_of_a_case_is_counted() -> None:
    assert _dropped(replace(FULL, dropped=None)) == _dropped(replace(FULL, dropped=Dropped())) == []
    assert _dropped(
        replace(
            FULL,
            dropped=Dropped(
                evidence=1_200,
                message_ids=2,
                execution_arns=3,
                rejected_executions=4,
                routed=5,
                resolutions=6,
                episodes=7,
            ),
        )
    ) == [
        "1,200 messages",
        "2 ids of messages",
        "3 executions",
        "4 refused executions",
        "5 notifications",
        "6 resolutions",
        "7 episodes",
    ]


@pytest.mark.parametrize(
    ("query", "here"),
    [
        ({"severity": None, "rows": 200}, ""),
        ({"severity": "info", "rows": 200}, "info"),
        ({"severity": "info", "q": "x"}, None),
        ({"q": "x"}, None),
    ],
)
def test_a_card_is_marked_if_the_page_shows_just_what_it_counts(query: dict[str, Any], here: str | None) -> None:
    cards = _cards(query)
    assert [severity for severity, _, is_here in cards if is_here] == ([] if here is None else [here])
    assert [severity for severity, _, _ in cards] == ["", "critical", "warning", "info"]


async def test_the_case_of_a_message_that_cannot_be_decoded_leads_to_its_dead_letter() -> None:
    undecodable = case(case_id="message-1", order_id=None, reasons=(Reason.UNDECODABLE_MESSAGE,))
    for state, expected in ((CaseState.OPEN, "/orders/message-1"), (CaseState.RESOLVED, None)):
        async with case_site(from_item(case_item(replace(undecodable, state=state)))) as site:
            assert (await site.get("/cases/message-1")).links.get("Its dead letter") == expected


async def test_a_case_without_its_order_says_that_it_is_unknown() -> None:
    async with case_site(FULL_ITEM) as site:
        page = await site.get("/cases/001")
        assert "not in the table" in page.text
        assert not page.main.all("tr", class_="differs")


async def test_a_case_with_an_unreadable_order_says_so() -> None:
    async with case_site(FULL_ITEM, order={"OrderId": "001", "Status": "LOST"}) as site:
        page = await site.get("/cases/001")
        assert page.status == 200
        assert "not a valid status" in page.main.one("p", class_="bad").text
        assert page.main.all("section", class_="next") == []  # That depends on the order.


async def test_a_resolved_or_read_only_case_cannot_be_resolved() -> None:
    done = from_item(case_item(replace(FULL, state=CaseState.RESOLVED)))
    async with case_site(done, order=NOW_ITEM) as site:
        page = await site.get("/cases/001")
        assert ("Resolve" in page.links, "tickets not yet" in page.text) == (False, False)
    async with case_site(FULL_ITEM, order=NOW_ITEM, place=READ_ONLY) as site:
        assert "Resolve" not in (await site.get("/cases/001")).links


async def test_a_merged_case_says_where_it_went() -> None:
    merged = replace(case(case_id="run-1", order_id=None), state=CaseState.RESOLVED, merged_into="001")
    async with case_site(from_item(case_item(merged))) as site:
        page = await site.get("/cases/run-1")
        assert "is merged into the order's case: 001" in page.text
        assert "/cases/001" in page.links.values()


async def test_an_edited_case_is_shown_as_it_is_stored() -> None:
    async with case_site({"CaseId": "a", "State": HOSTILE, "Evidence": 7, "Note": CARD}) as site:
        page = await site.get("/cases/a")
        assert page.status == 200
        assert "was edited in the table" in page.text
        assert_harmless(page)
        assert SHOWN in page.text


async def test_an_unknown_case_is_not_found() -> None:
    async with case_site() as site:
        page = await site.get("/cases/nope")
        assert page.status == 404
        assert "There is no case nope" in page.text
        assert page.links["look for the order"] == "/orders/nope"
        assert page.root.one(id="live").attributes["hx-sse:connect"] == "/live/cases/nope"
        async with site.stream("/live/cases/nope") as events:
            assert "There is no case nope" in (await events.next()).text


async def test_a_case_that_cannot_be_read_now_says_why_or_that_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with case_site() as site:
        site.script(("case", "a"), OperationError("AWS is away"))
        page = await site.get("/cases/a")
        assert (page.status, page.main.one(role="alert").text) == (200, "AWS is away")
        monkeypatch.setattr("workers.console.pages.cases.PATIENCE_S", 0)
        site.script(("case", "b"))
        page = await site.get("/cases/b")
        assert (page.status, "Reading the case" in page.text) == (200, True)
        site.script("open cases")
        page = await site.get("/cases?severity=info")
        assert (page.status, page.tables) == (200, [])
        assert page.root.one(id="live").attributes["hx-sse:connect"] == "/live/cases?severity=info&cold=True"


async def test_a_list_that_is_not_read_yet_comes_with_the_stream_once() -> None:
    async with listing(*CASES) as site, site.stream("/live/cases?cold=True") as events:
        assert [row[1] for row in (await events.next()).root.one(id="list").tables[0][1:]] == ["a", "c", "b"]
        readings: list[CasesNow] = site.readings  # type: ignore[attr-defined]
        readings.append(replace(readings[-1], cases=CASES[1:]))
        site.console.feeds.refresh()
        assert (await until(events, "1 row changed.")).tables == []


async def test_times_that_leave_no_window_are_said() -> None:
    async with listing(*CASES) as site:
        page = await site.get("/cases?since=2027-01-01")
        assert (page.status, page.tables) == (200, [])
        assert "the time window is empty" in page.main.one(role="alert").text


async def test_what_cannot_be_the_id_of_a_case_is_not_looked_up() -> None:
    async with case_site() as site:
        page = await site.get(f"/cases/{CARD}")
        assert (page.status, CARD in page.html) == (404, False)
        assert (await site.get(f"/live/cases/{CARD}")).status == 404
        assert site.requests("dynamodb", "get_item") == []


async def test_the_page_of_a_case_is_live() -> None:
    async with case_site(FULL_ITEM, order=NOW_ITEM) as site:
        page = await site.get("/cases/001")
        async with site.stream(page.root.one(id="live").attributes["hx-sse:connect"]) as events:
            assert "What next" in (await events.next()).text
