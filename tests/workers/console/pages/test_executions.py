"""An execution's page, its stream and its export."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.virtual_time import LoopClock
from tests.workers.console.histories import States, at, caught, entered, events, execution_arn, refused_order, tables
from tests.workers.console.pages.test_overview import QUIET
from tests.workers.console.site import Page, Site
from tests.workers.operations.fakes import FakeClient, refused
from workers.aws.status_index import status_key
from workers.console.pages import executions
from workers.console.pages.executions import _duration_s
from workers.console.watched import Watched
from workers.domain.submissions import submission_name
from workers.operations.errors import OperationError
from workers.operations.execution_events import Run
from workers.operations.workflow import Kind


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages wait for what they show, however slow the machine is."""
    monkeypatch.setattr(executions, "PATIENCE_S", 60)


TIME = "2026-11-22T11:00:00.000000Z"
SUBMISSION = submission_name("001", 1)
ORDER = {"OrderId": "001", "Status": "ESCALATED", "ExecutionArn": execution_arn(SUBMISSION), "OpenKey": "ESCALATED#1"}


def site(states: States, *orders: dict[str, str], cases: list[dict[str, Any]] | None = None) -> Any:
    return Site.started(status=QUIET, stepfunctions=states.client, dynamodb=tables(orders, cases or []))


async def shown(states: States, path: str, *orders: dict[str, str], cases: list[dict[str, Any]] | None = None) -> Page:
    """Return the page at *path* once all is known."""
    async with site(states, *orders, cases=cases) as console:
        page: Page = await console.get(path)
        return page


async def test_a_summary_says_how_an_execution_went() -> None:
    states = States(**{SUBMISSION.replace("-", "_"): ("SUCCEEDED", caught())})
    evidence = [{"ExecutionArn": execution_arn(SUBMISSION), "Reasons": ["INVALID_PRICE"]}]
    case: dict[str, Any] = {"CaseId": "001", "State": "OPEN", "Evidence": evidence}
    page = await shown(states, f"/executions/{SUBMISSION}?order=001", ORDER, cases=[case])
    summary = page.main.one("dl", class_="summary").text
    assert "Status succeeded" in summary
    assert "State transitions 3 Retries 1 Order 001 ESCALATED Case 001 OPEN Escalated because INVALID_PRICE" in summary
    assert page.links["001"] in {"/orders/001", "/cases/001"}
    assert page.main.one("table", class_="steps").text.startswith("State Outcome Tries Took Check succeeded 1")
    assert "Verify caught error 2" in page.main.one("table", class_="steps").text
    assert "hx-sse:connect" not in page.main.one("div", id="live").attributes


async def test_who_may_not_read_orders_sees_the_execution() -> None:
    def denied(**_: Any) -> Any:
        raise refused("AccessDeniedException", "GetItem")

    states = States(one=("SUCCEEDED", caught()))
    for dynamodb in (FakeClient(query=denied, get_item=denied), FakeClient(query=lambda **_: [], get_item=denied)):
        async with Site.started(status=QUIET, stepfunctions=states.client, dynamodb=dynamodb) as console:
            page = await console.get("/executions/one?order=001")
        assert "Order unknown" in page.main.one("dl", class_="summary").text
        assert page.main.one("table", class_="steps")


async def test_the_inspector_tells_of_a_state() -> None:
    page = await shown(States(one=("SUCCEEDED", caught())), "/executions/one?state=Verify")
    text = page.main.one("section", class_="chosen").text
    assert text.startswith("Verify caught error Type Task · Lambda: Invoke Resource arn:aws:states:::lambda:invoke")
    assert "Tries 2, 1 retry Next Send Lambda.Down no answer Try Waited Took Error 1 none 0.50 s Lambda.Down" in text
    assert "Rules A try may take 10 s." in text
    anchors = {each.attributes["id"] for each in page.main.all("section", class_="inspected")}
    linked = {each.attributes["href"].removeprefix("#") for each in page.main.all("a", class_="graph-node")}
    assert anchors == linked


async def test_nothing_of_an_executions_data_is_shown() -> None:
    for tab in ("states", "events", "definition"):
        page = await shown(States(one=("SUCCEEDED", caught())), f"/executions/one?tab={tab}")
        assert page.status == 200
        assert "secret" not in page.html
    exported = await shown(States(one=("SUCCEEDED", caught())), "/executions/one/events.json")
    assert "secret" not in exported.html
    assert exported.headers["Content-Disposition"] == 'attachment; filename="events.json"'
    assert exported.headers["Content-Type"] == "application/json; charset=utf-8"
    body = json.loads(exported.html)
    assert exported.html == json.dumps(body, indent=2)
    assert len(body["events"]) == len(caught())
    assert {name: value for name, value in body.items() if name != "events"} == {
        "execution": execution_arn("one"),
        "status": "SUCCEEDED",
        "started_at": "2026-11-22T11:00:00.000000Z",
        "ended_at": "2026-11-22T11:00:07.000000Z",
        "is_complete": True,
    }
    assert body["events"][5] == {
        "id": 6,
        "at": "2026-11-22T11:00:03.000000Z",
        "type": "TaskFailed",
        "state": "Verify",
        "error": "Lambda.Down",
        "cause": "no answer",
    }


async def test_an_export_says_why_there_is_none() -> None:
    exported = await shown(States(one=("RUNNING", events("ExecutionStarted"))), "/executions/one/events.json")
    assert json.loads(exported.html)["ended_at"] is None
    exported = await shown(States(), "/executions/one/events.json")
    assert (exported.status, exported.text) == (
        404,
        "Not found There is no such execution, or no longer. To the overview",
    )
    async with site(States()) as console:
        console.script(("execution", "one", None, None), OperationError("AWS is away"))
        exported = await console.get("/executions/one/events.json")
        assert (exported.status, "Not done AWS is away " in exported.text) == (502, True)


async def test_a_page_without_a_reading_says_that_it_reads_or_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async with site(States()) as console:
        console.script(("execution", "one", None, None), OperationError("AWS is away"))
        page = await console.get("/executions/one")
        assert (page.status, page.main.one(role="alert").text) == (200, "AWS is away")
        assert page.main.one("div", id="live").attributes["hx-sse:connect"] == "/live/executions/one"
        monkeypatch.setattr(executions, "PATIENCE_S", 0)
        console.script(("execution", "two", None, None))
        assert "Reading the execution" in (await console.get("/executions/two")).text


async def test_a_stream_does_not_end_with_a_failure() -> None:
    ended = Watched(Run(Kind.ORDERS, execution_arn("one"), "SUCCEEDED", at(0), at(3)))
    found, lost, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    no = OperationError("no")
    async with site(States()) as console:
        feed = console.script(("execution", "one", None, None), no, found, Watched(), lost, no, go_on, ended)
        async with console.stream("/live/executions/one") as parts:
            assert (await parts.next()).main.one(role="alert").text == "no"
            found.set()
            assert "There is no execution one" in (await parts.next()).text
            assert (await parts.next()).html == "-"
        lost.set()
        while (reading := await feed.latest()) is None or reading.number < 3:  # noqa: ASYNC110 - the reading tells nobody else.
            await asyncio.sleep(0)
        assert (reading.value, reading.problem) == (Watched(), "no")
        async with console.stream("/live/executions/one?tab=events") as parts:
            assert "There is no execution one" in (await parts.next()).text
            go_on.set()
            assert "Took 3.0 s" in (await parts.next()).text
            assert (await parts.next()).html == "-"


async def test_the_live_part_and_the_tabs_keep_what_was_asked_for() -> None:
    history = events("ExecutionStarted", entered("Check", "Choice"))
    asked = "?machine=orders&order=001&tab=events&state=Check&after=1"
    page = await shown(States(one=("RUNNING", history)), f"/executions/one{asked}")
    assert page.main.one("div", id="live").attributes["hx-sse:connect"] == f"/live/executions/one{asked}"
    assert page.main.one("ul", class_="tabs").links == {
        "States": "/executions/one?machine=orders&order=001&state=Check",
        "Events 2": "/executions/one?machine=orders&order=001&tab=events&state=Check",
        "Definition": "/executions/one?machine=orders&order=001&tab=definition&state=Check",
    }
    assert [row[0] for row in page.tables[0][1:]] == ["2"]


@pytest.mark.parametrize(
    ("after", "first"), [("100000", None), ("1000000", "1"), ("x", "1"), ("%D9%A1", "1"), ("", "1")]
)
async def test_the_first_event_is_one_after_a_number(after: str, first: str | None) -> None:
    page = await shown(States(one=("SUCCEEDED", caught())), f"/executions/one?tab=events&after={after}")
    assert (page.tables[0][1][0] if page.tables else None) == first
    assert ("No event." in page.text) == (first is None)


async def test_the_definition_is_shown_as_it_was_started_with() -> None:
    states = States(one=("SUCCEEDED", caught()))
    given = json.dumps({"Comment": "Zoë", "States": {}})
    states.client.operations["describe_state_machine_for_execution"] = lambda **_: {"definition": given}
    page = await shown(states, "/executions/one?tab=definition")
    shown_text = "".join(page.main.one("pre", class_="definition")._texts())
    assert shown_text == '{\n  "Comment": "Zoë",\n  "States": {}\n}'


@pytest.mark.parametrize(
    ("status", "ended_s", "took_s"), [("SUCCEEDED", 3, 3.0), ("SUCCEEDED", -3, 0.0), ("FAILED", None, None)]
)
def test_how_long_an_execution_took(status: str, ended_s: float | None, took_s: float | None) -> None:
    run = Run(Kind.ORDERS, "arn", status, at(0), None if ended_s is None else at(ended_s))
    assert _duration_s(Watched(run)) == took_s


def test_how_long_an_execution_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "now", lambda: at(7) + timedelta(seconds=1))
    assert _duration_s(Watched(Run(Kind.ORDERS, "arn", "RUNNING", at(0)))) == 8.0


async def test_texts_of_others_are_text_and_card_numbers_are_masked() -> None:
    hostile = "</script><img src=x onerror=alert(1)>\"'{{7*7}} 4111 1111 1111 1111"
    for tab in ("states", "events"):
        page = await shown(States(one=("SUCCEEDED", caught(hostile))), f"/executions/one?tab={tab}")
        assert "onerror" not in [name for each in page.root for name in each.attributes]
        assert "<img" not in page.html
        assert "1111" not in page.html
        assert "{{7*7}}" in page.text


async def test_events_are_a_table_with_their_states() -> None:
    page = await shown(States(one=("SUCCEEDED", caught())), "/executions/one?tab=events")
    rows = page.main.one("table", class_="events").text
    assert "6 11:00:03.000 TaskFailed Verify Lambda.Down: no answer" in rows
    assert "resource invoke" in rows
    assert f"{len(caught())} of {len(caught())} events, without data." in page.text


async def test_the_end_of_a_failed_execution_says_why() -> None:
    page = await shown(States(one=("FAILED", refused_order())), "/executions/one")
    assert page.main.all("div", class_="notice")[0].text == "Refused: It is wrong."
    assert page.main.one("section", class_="chosen").text.startswith("Refused failed")


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("TIMED_OUT", "It took longer than its state machine allows."),
        ("ABORTED", "A person or a program has stopped it."),
    ],
)
async def test_an_execution_that_entered_no_state_says_so(status: str, text: str) -> None:
    page = await shown(States(one=(status, events("ExecutionStarted"))), "/executions/one")
    assert text in page.text
    assert "It ended before it entered any state." in page.text
    assert "No state was entered." in page.text


@pytest.mark.parametrize(
    "name",
    [
        "other",
        "arn:aws:states:eu-west-1:999999999999:execution:OrderFulfillmentStateMachine:one",
        "4111111111111111",
        "%3Cimg%20src=x%3E",
        "a%20b",
        "x" * 400,
    ],
)
async def test_an_unknown_execution_is_not_found(name: str) -> None:
    states = States(one=("SUCCEEDED", caught()))
    page = await shown(states, f"/executions/{name}")
    assert page.status == 404
    assert "There is no execution" in page.text
    assert "90 days" in page.text
    assert "4111111111111111" not in page.html
    asked = [request["executionArn"] for _, request in states.client.requests]
    assert all("4111" not in arn and "999999999999" not in arn for arn in asked)


async def test_an_execution_is_found_by_its_arn() -> None:
    page = await shown(States(one=("SUCCEEDED", caught())), f"/executions/{execution_arn('one')}")
    assert page.status == 200
    assert page.main.one("h1").text.startswith("one")


async def test_the_stream_of_an_ended_execution_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "EVERY_S", 0.01)
    async with site(States(one=("SUCCEEDED", caught()))) as console, console.stream("/live/executions/one") as parts:
        seen = [(await parts.next()).html]
        while seen[-1] != "-":  # The event `ended`.
            seen.append((await parts.next()).html)
        with pytest.raises(EOFError):
            await parts.next()
    assert "unknown" in seen[-2]


async def test_a_running_execution_is_live() -> None:
    history = events("ExecutionStarted", entered("Check", "Choice"))
    page = await shown(States(one=("RUNNING", history)), "/executions/one?order=001")
    live = page.main.one("div", id="live")
    assert live.attributes["hx-sse:connect"] == "/live/executions/one?order=001"
    assert "Running for " in page.text
    assert page.main.one("section", class_="chosen").text.startswith("Check running")


async def test_the_order_that_names_an_execution_comes_with_the_stream(loop_clock: LoopClock) -> None:
    order = ORDER | {"ExecutionArn": execution_arn("one"), "OpenKey": status_key("ESCALATED", "001", TIME)}
    scripted = States(one=("SUCCEEDED", caught()))
    async with site(scripted, order | {"UpdatedAt": TIME}) as console:
        async with console.stream("/live/executions/one") as parts:
            seen = [await parts.next()]
            while seen[-1].html != "-":  # The event `ended`.
                await loop_clock.skip(2)
                seen.append(await parts.next())
        assert "/orders/001" in seen[-2].links.values()
        queries = len(console.requests("dynamodb", "query"))
        page = await console.get("/executions/one")
        assert "/orders/001" in page.links.values()
        assert len(console.requests("dynamodb", "query")) == queries


async def test_an_order_is_only_believed_if_the_name_agrees() -> None:
    states = States(**{SUBMISSION.replace("-", "_"): ("SUCCEEDED", caught())})
    other = {"OrderId": "002", "Status": "RECEIVED", "ExecutionArn": "other"}
    page = await shown(states, f"/executions/{SUBMISSION}?order=002", ORDER, other)
    assert "/orders/002" not in page.links.values()


async def test_the_events_of_a_long_history_have_pages() -> None:
    history = [*caught()[:-1], *events(*["TaskSubmitted"] * 600)]
    for number, event in enumerate(history, 1):
        event |= {"id": number, "previousEventId": number - 1}
    page = await shown(States(one=("SUCCEEDED", history)), "/executions/one?tab=events")
    assert page.links["The next ones"] == "/executions/one?tab=events&after=500"
    page = await shown(States(one=("SUCCEEDED", history)), "/executions/one?tab=events&after=500")
    assert "The next ones" not in page.links
    assert page.main.all("tr")[1].text.startswith("501 ")
    page = await shown(States(one=("SUCCEEDED", history)), "/executions/one?tab=events&after=1000000")  # Too long.
    assert page.main.all("tr")[1].text.startswith("1 ")


async def test_a_redriven_execution_says_so() -> None:
    states = States(one=("SUCCEEDED", caught()))
    states.more = {"redriveCount": 2}
    page = await shown(states, "/executions/one")
    assert "Redriven 2 times" in page.text


async def test_an_intake_shows_its_map_runs() -> None:
    arn = execution_arn("one", "BulkOrderIntake")
    counts = {"succeeded": 1200, "failed": 1, "timedOut": 0, "aborted": 0, "running": 0, "pending": 0, "total": 1201}
    run = {"mapRunArn": "arn:aws:states:us-east-1:0:mapRun:Intake/Csv:1", "status": "FAILED", "startDate": at(0)}
    states = States()
    states.runs[arn] = ("SUCCEEDED", caught())
    states.client.operations |= {
        "list_map_runs": lambda **_: {"mapRuns": [run]},
        "describe_map_run": lambda **_: {**run, "stopDate": at(3), "itemCounts": counts, "executionCounts": counts},
    }
    page = await shown(states, "/executions/one?machine=intake")
    row = page.tables[0][1]
    assert row == [
        "Csv",
        "failed",
        "1,201 items · 1,200 succeeded · 1 failed",
        "1,201 executions · 1,200 succeeded · 1 failed",
        "3.0 s",
    ]
    assert "Order" not in page.main.one("dl", class_="summary").text
    assert page.links["Bulk intake"] == "/workflow?machine=intake"
