import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.workers.console.histories import DEFINITION
from tests.workers.console.pages.hostile import CARD, HOSTILE, SHOWN, assert_harmless
from tests.workers.console.site import READ_ONLY, Events, Page, Site
from tests.workers.operations.fakes import EXECUTION, FakeClient, empty_queues, refused
from tests.workers.operations.queue_fakes import FakeQueue
from tests.workers.operations.test_listing import OrderTable
from workers.aws.items import from_item, to_item
from workers.console.order_lists import OrderFilter
from workers.console.order_stories import AT_ONCE_S, IDLE_EVERY_S, RUNNING_EVERY_S, OrderReader, OrderStory, every_s
from workers.console.pages.orders import _cards
from workers.operations.documents import ORDER_FIELDS
from workers.operations.errors import OperationError
from workers.operations.status import OrderCount, Status

pytestmark = pytest.mark.usefixtures("patient")
NOW = "2026-11-22T12:00:00.000000Z"
STATUS = Status(
    at=NOW,
    open_cases=3,
    orders=(
        OrderCount(status="RECEIVED", orders=3_200, at_least=True, oldest_at="2026-11-22T10:00:00.000000Z"),
        OrderCount(status="ESCALATED", orders=2),
        OrderCount(status="FULFILLED", orders=None, today=True),
        OrderCount(status="CANCELLED", orders=0, today=True),
    ),
)
RUN = f"{EXECUTION}:run-1"
ORDER = {
    "OrderId": "1",
    "Status": "ESCALATED",
    "Name": "Ada",
    "ItemName": "Bicycle",
    "Price": "-1",
    "CC": "************5678",
    "ExecutionArn": RUN,
    "CreatedAt": "2026-11-22T10:00:00.000000Z",
    "UpdatedAt": "2026-11-22T10:01:00.000000Z",
    "Reasons": ["INVALID_PRICE"],
}
CASE = {
    "CaseId": "1",
    "OrderId": "1",
    "State": "OPEN",
    "Severity": "warning",
    "Episode": 1,
    "OpenedAt": "2026-11-22T10:01:00.000000Z",
    "Reasons": ["INVALID_PRICE"],
}


@asynccontextmanager
async def listing(*order_ids: str, **more: Any) -> AsyncIterator[tuple[Site, OrderTable]]:
    """Start a site with RECEIVED orders: the first one since 10:00, each later one a minute after it."""
    table = OrderTable()
    for minute, order_id in enumerate(order_ids):
        table.put(order_id, minute)
        table.items[order_id] |= {"Name": f"Name of {order_id}", "ItemName": "Bicycle"}
    async with Site.started(dynamodb=table.client, status=STATUS, **more) as site:
        yield site, table


def stored(*items: dict[str, Any]) -> FakeClient:
    def get_item(**request: Any) -> dict[str, Any]:
        key = from_item(request["Key"])
        found = [item for item in items if key.items() <= item.items()]
        return {"Item": to_item(found[0])} if found else {}

    return FakeClient(get_item=get_item)


def executions(**states: list[str]) -> FakeClient:
    """Return a Step Functions with these executions, by name, which have entered these states; a last dot: it ended."""

    def history(**request: Any) -> Iterator[dict[str, Any]]:
        name = request["executionArn"].rpartition(":")[2].replace("-", "_")
        if name not in states:
            raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        at = datetime(2026, 11, 22, 11, 59, tzinfo=UTC)
        entered = [state for state in states[name] if state != "."]
        events: list[dict[str, Any]] = [{"type": "ExecutionStarted", "timestamp": at}]
        events += [
            {"type": "TaskStateEntered", "timestamp": at, "stateEnteredEventDetails": {"name": state}}
            for state in entered
        ]
        events = [{"id": number, **event} for number, event in enumerate(events, 1)]
        if "." in states[name]:
            events.append({"id": len(events) + 1, "type": "ExecutionSucceeded", "timestamp": at})
        yield {"events": events}

    def definition(**_: Any) -> dict[str, Any]:
        return {"definition": json.dumps(DEFINITION)}

    return Histories(get_execution_history=history, describe_state_machine_for_execution=definition)


class Histories(FakeClient):
    """A Step Functions whose histories are read page by page, or one page with a call."""

    async def call(self, operation: str, **request: Any) -> Any:
        answer = await super().call(operation, **request)
        return next(answer) if isinstance(answer, Iterator) else answer


def story_site(*items: dict[str, Any], sqs: Any = None, **runs: list[str]) -> Any:
    return Site.started(
        dynamodb=stored(*items), sqs=sqs or empty_queues(), stepfunctions=executions(**runs), status=STATUS
    )


async def until(events: Events, text: str) -> Page:
    """Return the next event with *text*. Others may come before: the counts have a rhythm of their own."""
    while text not in (event := await events.next()).text:
        pass
    return event


async def test_open_orders_are_listed_oldest_first_with_links() -> None:
    async with listing("a", "b") as (site, table):
        table.put("c", 5, "ESCALATED")
        table.items["c"] |= {"Reasons": ["INVALID_PRICE"], "Attempts": 2}
        page = await site.get("/orders")
        header, *rows = page.tables[0]
        assert header == ["Order", "Status", "Age", "Name", "Item", "Attempts", "Reasons"]
        assert [row[:2] + row[3:] for row in rows] == [
            ["a", "RECEIVED", "Name of a", "Bicycle", "0", ""],
            ["b", "RECEIVED", "Name of b", "Bicycle", "0", ""],
            ["c", "ESCALATED", "none", "none", "2", "INVALID_PRICE"],
        ]
        assert page.links["a"] == "/orders/a"
        assert page.main.all("time")[-1].attributes["title"] == "2026-11-22 10:05:00 UTC"
        assert "3 orders." in page.text
        assert "changed" not in page.text
        assert len(page.main.all(id="list")) == 1


async def test_counts_are_filters_and_an_unknown_one_is_not_0() -> None:
    async with listing("a") as (site, _):
        await site.console.status.latest()
        page = await site.get("/orders?status=RECEIVED")
        cards = page.main.one("ul", class_="cards")
        assert [card.text.partition(" oldest")[0] for card in cards.all("a")] == [
            "3,200+ RECEIVED",
            "2 ESCALATED",
            "unknown FULFILLED today",
            "0 CANCELLED today",
        ]
        assert [card.attributes["href"] for card in cards.all("a", aria_current="true")] == ["/orders?status=RECEIVED"]
        assert list(cards.links.values())[2] == "/orders?status=FULFILLED&since=2026-11-22"


async def test_at_most_100_rows_are_shown_and_more_on_demand() -> None:
    async with listing(*(f"o-{number:03}" for number in range(130))) as (site, table):
        for number in range(130):
            table.index[number]["UpdatedAt"] = f"2026-11-22T10:00:00.{number:06}Z"
        page = await site.get("/orders")
        assert len(page.tables[0]) == 1 + 100
        assert "130 orders. The first 100 are shown." in page.text
        assert page.links["Show 100 more"] == "/orders?rows=200"
        assert table.reads() == [100]  # The others are only counted.
        more = await site.get("/orders?rows=200")
        assert len(more.tables[0]) == 1 + 130
        assert "Show 100 more" not in more.links


async def test_at_the_most_rows_there_are_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listing("a", "b") as (site, _):
        assert (await site.get("/orders?rows=1")).links["Show 100 more"] == "/orders?rows=101"
        monkeypatch.setattr("workers.console.pages.orders.MAX_ROWS", 1)
        assert "Show 100 more" not in (await site.get("/orders?rows=1")).links


async def test_a_text_is_searched_in_what_was_read_and_shown_as_a_chip() -> None:
    async with listing("a", "b", "c") as (site, table):
        table.items["b"]["Reasons"] = ["ORDER_STUCK"]
        page = await site.get("/orders?q=NAME+OF+C&status=RECEIVED")
        assert [row[0] for row in page.tables[0][1:]] == ["c"]
        assert "Read 3 orders: 1 matches." in page.text
        assert page.links["status RECEIVED \N{MULTIPLICATION SIGN}, remove"] == "/orders?q=NAME+OF+C"
        assert page.links["text NAME OF C \N{MULTIPLICATION SIGN}, remove"] == "/orders?status=RECEIVED"
        assert page.links["clear all"] == "/orders"
        (form,) = [form for form in page.forms if "q" in form.fields]
        assert (form.fields["q"], form.fields["status"], form.method) == (["NAME OF C"], ["RECEIVED"], "get")
        assert [row[0] for row in (await site.get("/orders?reason=ORDER_STUCK")).tables[0][1:]] == ["b"]
        assert [row[0] for row in (await site.get("/orders?name=of+a")).tables[0][1:]] == ["a"]
        assert not (await site.get("/orders?actor=ada")).tables


async def test_times_narrow_the_list() -> None:
    async with listing("a", "b") as (site, table):
        table.put("c", 59)
        assert [row[0] for row in (await site.get("/orders?older_than=90m")).tables[0][1:]] == ["a", "b"]
        assert [row[0] for row in (await site.get("/orders?since=90m")).tables[0][1:]] == ["c"]


async def test_final_orders_are_those_of_the_last_day_and_the_page_says_so() -> None:
    async with listing() as (site, table):
        table.put_final("old", "2026-11-20T10:00:00.000000Z")
        table.put_final("new", "2026-11-22T10:00:00.000000Z")
        page = await site.get("/orders?status=FULFILLED")
        assert [row[0] for row in page.tables[0][1:]] == ["new"]
        assert "Final orders are those of the last 24h: “since” reaches further back." in page.text
        assert {key.split("#")[1] for key in table.queried()} == {"2026-11-22", "2026-11-21"}
        page = await site.get("/orders?status=FULFILLED&since=3d")
        assert [row[0] for row in page.tables[0][1:]] == ["new", "old"]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("older_than=soon", "Older than must be a whole number and a unit: 90s, 10m, 2h or 3d"),
        ("since=yesterday", "Since must be an age, such as 2h or 3d, or a time"),
        ("status=LOST", "Status must be RECEIVED, FULFILLED, ESCALATED, CANCELLED"),
        ("reason=BAD", "Reason must be INVALID_CARD_NUMBER"),
        ("stuck=1&older_than=2h", "Stuck has a status and times of its own: leave out the others"),
    ],
)
async def test_a_filter_that_means_nothing_is_named_and_nothing_is_read(query: str, problem: str) -> None:
    async with listing("a") as (site, table):
        page = await site.get(f"/orders?{query}")
        assert (page.status, page.tables) == (400, [])
        assert problem in page.text
        assert table.client.requests == []
        assert (await site.get(f"/live/orders?{query}")).status == 400


async def test_an_empty_window_is_explained() -> None:
    async with listing("a") as (site, _):
        page = await site.get("/orders?since=2027-01-01")
        assert "the time window is empty: its begin must be before its end, and before now" in page.text


async def test_an_empty_list_says_why() -> None:
    async with listing() as (site, _):
        assert "No order is open." in (await site.get("/orders")).text
        assert "No order matches. Only open orders were looked at" in (await site.get("/orders?q=x")).text


async def test_an_id_leads_to_its_page() -> None:
    async with listing() as (site, _):
        page = await site.get("/orders?id=+a%2Fb+")
        assert (page.status, page.headers["Location"]) == (303, "/orders/a%2Fb")


@pytest.mark.parametrize("field", ["id", "q", "name", "item", "actor", "since"])
async def test_what_looks_like_a_card_number_is_not_looked_up_shown_or_kept_in_the_address(field: str) -> None:
    async with listing("a") as (site, table):
        page = await site.get(f"/orders?status=RECEIVED&{field}=4929+1234+1234+5678")
        assert (page.status, page.headers["Location"]) == (303, "/orders?status=RECEIVED&refused=card")
        assert "4929" not in page.html
        assert table.client.requests == []
        assert "That looked like a card number" in (await site.get(page.headers["Location"])).text
        for path in (f"/orders/{CARD}", f"/live/orders/{CARD}"):
            page = await site.get(path)
            assert (page.status, CARD in page.html) == (404, False)
        assert not [name for name, _ in table.client.requests if name == "get_item"]


async def test_the_stream_says_how_many_rows_have_changed_and_moves_nothing() -> None:
    async with listing("a", "b") as (site, table):
        page = await site.get("/orders")
        live = page.root.one(id="live").attributes["hx-sse:connect"]
        async with site.stream(live) as events:
            first = await events.next()
            assert (first.tables, "changed" in first.text) == ([], False)
            table.put("c", 7)
            table.items["a"]["Attempts"] = 1
            site.console.feeds.refresh()
            event = await until(events, "2 rows changed. Show")
            assert event.links["Show"] == "/orders"
            assert event.tables == []
        assert len((await site.get("/orders")).tables[0]) == 1 + 3


async def test_a_stream_of_a_list_leaves_no_task_behind() -> None:
    with capture_logs() as lines:
        async with listing("a") as (site, _), site.stream("/live/orders?cold=1") as events:
            await events.next()
    left = [task for task in asyncio.all_tasks() if task.get_name() == "console-reading"]
    late = (await asyncio.wait(left, timeout=30))[1] if left else set()
    assert (late, lines) == (set(), [])


async def test_a_list_that_is_not_read_yet_comes_with_the_stream_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.console.pages.orders.PATIENCE_S", 0.001)
    async with listing("a") as (site, table):
        answer, may_answer = table.client.operations["batch_get_item"], asyncio.Event()

        async def late(**request: Any) -> Any:
            await may_answer.wait()
            return answer(**request)

        table.client.operations["batch_get_item"] = late
        page = await site.get("/orders")
        assert (page.status, page.tables) == (200, [])
        assert "Reading the orders …" in page.text
        async with site.stream(page.root.one(id="live").attributes["hx-sse:connect"]) as events:
            may_answer.set()
            event = await until(events, "1 order.")
            assert [row[0] for row in event.root.one(id="list").tables[0][1:]] == ["a"]
            table.put("b", 7)
            site.console.feeds.refresh()
            event = await until(events, "1 row changed")
            assert event.tables == []


async def test_a_failure_is_shown_beside_what_is_known() -> None:
    async with listing("a") as (site, table):
        await site.get("/orders")

        def fail(**_: Any) -> Any:
            raise refused("AccessDeniedException", "Query")

        table.client.operations["query"] = fail
        site.console.feeds.refresh()
        page = await site.get("/orders")
        assert "AccessDenied" in page.main.one("p", class_="bad").text
        assert [row[0] for row in page.tables[0][1:]] == ["a"]


async def test_an_edited_order_is_shown_as_one() -> None:
    async with listing("a") as (site, table):
        table.items["a"] |= {"Status": "LOST", "Name": ["x"], "Reasons": "odd", "Attempts": "many"}
        page = await site.get("/orders")
        row = page.tables[0][1]
        assert row[:2] + row[3:] == ["a", "LOST edited in the table", "['x']", "Bicycle", "many", "odd"]


async def test_a_page_makes_no_call_of_its_own_while_another_viewer_watches() -> None:
    async with listing("a") as (site, table):
        await site.get("/orders")
        table.client.requests.clear()
        await site.get("/orders")
        assert table.client.requests == []


async def test_every_field_of_an_order_is_only_shown() -> None:
    names = {name: "".join(map(str.capitalize, name.split("_"))) for name in ORDER_FIELDS}
    odd = dict.fromkeys(names.values(), HOSTILE) | {"Reasons": [HOSTILE], "CC": CARD}
    item = odd | {"OrderId": "1", "Status": "RECEIVED", "UpdatedAt": NOW}
    async with story_site(item, CASE | dict.fromkeys(("Severity", "Reasons", "OpenedAt"), HOSTILE)) as site:
        page = await site.get("/orders/1")
        assert_harmless(page)
        assert page.text.count(SHOWN) >= 8
    async with listing("1") as (site, table):
        table.items["1"] |= odd | {"OrderId": "1", "Status": "RECEIVED", "UpdatedAt": NOW}
        del table.items["1"]["ErasedAt"]
        page = await site.get("/orders?name=%3C/script%3E")
        assert_harmless(page)
        assert SHOWN in page.text


async def test_the_story_of_an_order_is_on_one_page() -> None:
    async with story_site(ORDER, CASE, run_1=["Check the order", "Are details Proper", "."]) as site:
        page = await site.get("/orders/1")
        assert page.root.one("h1").text == "Order 1copy"
        for text in ("Ada", "Bicycle", "-1", "************5678", "entered Are details Proper", "INVALID_PRICE"):
            assert text in page.text
        assert page.links["run-1"] == "/executions/run-1"
        assert page.main.one("ol", class_="path").text == "Check the order Are details Proper"
        assert page.links["1"] == "/cases/1"
        assert page.links["Resolve its case"] == "/cases/1/resolve"
        assert page.links["resubmit"] == "/cases/1/resolve?action=resubmit"
        assert "orders escalations resolve 1 resubmit --price PRICE" in page.main.one("section", class_="next").text
        assert "No dead letter is about this order." in page.text


@pytest.mark.parametrize(
    ("status", "actions"),
    [
        ("RECEIVED", ["/orders/1/requeue", "/orders/1/escalate", "/orders/1/cancel"]),
        ("ESCALATED", ["/orders/1/escalate"]),
        ("FULFILLED", []),
    ],
)
async def test_actions_are_those_that_the_order_allows(status: str, actions: list[str]) -> None:
    async with story_site(ORDER | {"Status": status}) as site:
        page = await site.get("/orders/1")
        offered = {name: link for name, link in page.links.items() if name[:1].isupper()}
        assert [link for link in offered.values() if link.startswith("/orders/1/")] == actions


async def test_a_read_only_console_offers_no_action() -> None:
    async with Site.started(
        place=READ_ONLY, dynamodb=stored(ORDER, CASE), sqs=empty_queues(), stepfunctions=executions(), status=STATUS
    ) as site:
        links = (await site.get("/orders/1")).links.values()
        assert not [link for link in links if link.startswith("/orders/1/") or link.endswith("/resolve")]


@pytest.mark.parametrize(
    ("query", "here"),
    [
        ({"status": ["RECEIVED"], "q": None}, "RECEIVED"),
        ({"status": ["RECEIVED"], "q": "x"}, None),
        ({"status": ["FULFILLED"]}, None),
        ({"status": ["FULFILLED"], "since": "2026-11-22"}, "FULFILLED today"),
        ({"status": ["ESCALATED"], "since": "2026-11-22"}, None),
        ({}, None),
    ],
)
def test_a_card_is_marked_if_the_page_shows_just_what_it_counts(query: dict[str, Any], here: str | None) -> None:
    cards = _cards(query, "2026-11-22")
    assert [label for _, label, _, is_here in cards if is_here] == ([] if here is None else [here])
    assert [(status, str(address)) for status, _, address, _ in cards] == [
        ("RECEIVED", "/orders?status=RECEIVED"),
        ("ESCALATED", "/orders?status=ESCALATED"),
        ("FULFILLED", "/orders?status=FULFILLED&amp;since=2026-11-22"),
        ("CANCELLED", "/orders?status=CANCELLED&amp;since=2026-11-22"),
    ]


async def test_an_order_that_cannot_be_read_now_says_why_or_that_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with story_site() as site:
        site.script(("order", "a"), OperationError("AWS is away"))
        page = await site.get("/orders/a")
        assert (page.status, page.main.one(role="alert").text) == (200, "AWS is away")
        monkeypatch.setattr("workers.console.pages.orders.PATIENCE_S", 0)
        site.script(("order", "b"))
        page = await site.get("/orders/b")
        assert (page.status, "Reading the order" in page.text) == (200, True)


async def test_an_unknown_order_is_not_found() -> None:
    async with story_site() as site:
        page = await site.get("/orders/nope")
        assert page.status == 404
        assert page.root.one(id="live").attributes["hx-sse:connect"] == "/live/orders/nope"
        assert "There is no order nope" in page.text
        assert "orders submit FILE" in page.text


async def test_an_order_that_cannot_be_read_is_shown_as_it_is_stored() -> None:
    async with story_site(ORDER, CASE | {"Evidence": HOSTILE}) as site:
        page = await site.get("/orders/1")
        assert page.status == 200
        assert "was edited in the table" in page.text
        assert SHOWN in page.text
        assert_harmless(page)


async def test_the_logs_lines_about_an_order_are_in_its_time_line(tmp_path: Path) -> None:
    log = tmp_path / "workers.log"
    line = {"timestamp": NOW, "level": "info", "event": "order.fulfilled", "order_id": "1", "worker": "fulfillment"}
    log.write_text(json.dumps(line) + "\n")
    async with story_site(ORDER) as site:
        reader = OrderReader(site.console.stack, "1", [tmp_path / "missing.log", log])
        told = await reader.read()
    assert told.story is not None
    assert [entry.text for entry in told.story.timeline if entry.source == "log"] == [
        "info fulfillment order.fulfilled"
    ]


async def test_of_a_long_log_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.console.order_stories.MAX_LOG_BYTES", 250)
    log = tmp_path / "workers.log"
    lines = [{"timestamp": NOW, "event": f"order.seen_{number}", "order_id": "1"} for number in range(9)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with story_site(ORDER) as site:
        told = await OrderReader(site.console.stack, "1", [log]).read()
    assert told.story is not None
    seen = [entry.text.split()[-1] for entry in told.story.timeline if entry.source == "log"]
    assert seen == ["order.seen_7", "order.seen_8"]


def letters(*ids: str) -> tuple[FakeClient, FakeQueue]:
    """Return an SQS whose dead-letter queue of fulfillment has messages about order 1."""
    queue = FakeQueue(*ids)
    queue.parts = {each: {"Body": '{"OrderId": "1"}'} for each in ids}

    def of(operation: str) -> Any:
        empty = empty_queues()

        async def answer(**request: Any) -> Any:
            if "DLQ" in request.get("QueueUrl", "") and "Escalation" not in request["QueueUrl"]:
                return await queue.client.call(operation, **request)
            return await empty.call(operation, **request)

        return answer

    names = ("get_queue_attributes", "receive_message", "change_message_visibility_batch", "delete_message")
    redrive = '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:%s"}'
    client = FakeClient(
        get_queue_url=lambda QueueName: {"QueueUrl": f"http://sqs/{QueueName}"},  # noqa: N803
        **{name: of(name) for name in names},
    )
    attributes = client.operations["get_queue_attributes"]

    async def own(**request: Any) -> Any:
        url = request["QueueUrl"]
        if "DLQ" in url:
            return await attributes(**request)
        counts = {f"ApproximateNumberOfMessages{state}": "0" for state in ("", "NotVisible", "Delayed")}
        dead = "EscalationDLQ" if "Escalation" in url else "DLQ"
        return {"Attributes": counts | {"RedrivePolicy": redrive % dead}}

    client.operations["get_queue_attributes"] = own
    return client, queue


async def test_dead_letters_are_looked_at_when_their_number_has_changed_and_not_by_the_first_reading() -> None:
    client, queue = letters("m-1")
    async with story_site(ORDER, sqs=client) as site:
        reader = OrderReader(site.console.stack, "1")
        told = await reader.read()
        assert (told.looks, told.next, queue.requests_of("receive_message")) == (True, None, [])
        told = await reader.read()
        assert (told.looks, every_s(told)) == (False, IDLE_EVERY_S)
        assert told.story is not None
        assert [letter.id for each in told.story.searches for letter in each.letters] == ["m-1"]
        looks, counts = len(queue.requests_of("receive_message")), len(queue.requests_of("get_queue_attributes"))
        told = await reader.read()
        assert told.story is not None
        assert [letter.id for each in told.story.searches for letter in each.letters] == ["m-1"]
        assert len(queue.requests_of("get_queue_attributes")) == counts
        reader._counted_s = float("-inf")  # As if ten seconds had passed.
        told = await reader.read()
        assert told.story is not None
        assert [letter.id for each in told.story.searches for letter in each.letters] == ["m-1"]
        assert len(queue.requests_of("receive_message")) == looks


async def test_a_story_is_read_more_often_while_something_runs() -> None:
    async with story_site(ORDER, run_1=["Check the order"]) as site:
        told = await OrderReader(site.console.stack, "1").read()
        assert told.is_running
        assert every_s(told) == RUNNING_EVERY_S
    assert every_s(OrderStory(looks=True)) == AT_ONCE_S
    assert every_s(None) == every_s(OrderStory()) == IDLE_EVERY_S


def test_searches_are_read_less_often() -> None:
    assert OrderFilter().every_s < OrderFilter(text="x").every_s == OrderFilter(statuses=("FULFILLED",)).every_s


async def test_the_path_of_the_newest_execution_is_drawn_and_leads_to_its_page() -> None:
    async with story_site(ORDER, run_1=["Check", "Verify", "."]) as site:
        page = await site.get("/orders/1")
    svg = page.main.one("svg", class_="graph")
    assert svg.text.startswith("Path: Check (succeeded), Verify (succeeded). The execution: succeeded")
    (link,) = [link for link in svg.all("a") if link.attributes["data-state"] == "Verify"]
    assert link.attributes["href"].startswith("/executions/run-1?order=1#state-")
    assert link.attributes["aria-label"].startswith("Verify: ")


async def test_without_access_to_its_definition_the_rest_of_the_story_is_shown() -> None:
    def no_access(**_: Any) -> Any:
        raise refused("AccessDeniedException", "DescribeStateMachineForExecution")

    async with story_site(ORDER, run_1=["Check", "."]) as site:
        site.clients["stepfunctions"].operations["describe_state_machine_for_execution"] = no_access
        page = await site.get("/orders/1")
    assert page.main.all("svg", class_="graph") == []
    assert "run-1" in page.text


async def test_a_path_is_drawn_again_only_if_the_execution_has_gone_on() -> None:
    async with story_site(ORDER, run_1=["Check", "."]) as site:
        reader = OrderReader(site.console.stack, "1")
        first, second = await reader.read(), await reader.read()
        histories = site.requests("stepfunctions", "get_execution_history")
        assert first.drawn is second.drawn
        assert sum("maxResults" in request for request in histories) == 1


async def test_a_read_only_console_counts_dead_letters_and_never_looks_at_them() -> None:
    client, queue = letters("m-1")
    async with Site.started(
        place=READ_ONLY, dynamodb=stored(ORDER), sqs=client, stepfunctions=executions(), status=STATUS
    ) as site:
        text = (await site.get("/orders/1")).text
        async with site.stream("/live/orders/1") as events:
            await until(events, "looked at 0 of about 1; there may be others of this order")
    assert "Dead letters" in text
    assert queue.requests_of("receive_message") == []
