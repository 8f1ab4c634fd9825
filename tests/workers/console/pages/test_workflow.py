"""The page of the workflow."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.workers.console.histories import ORDERS, States, at, caught, events, execution_arn, refused_order, tables
from tests.workers.console.pages.test_overview import QUIET
from tests.workers.console.site import Site
from tests.workers.operations.fakes import FakeClient, fake_stack, refused
from workers.aws.status_index import status_key
from workers.console import recent
from workers.console.pages import workflow
from workers.console.pages.workflow import Asked, _is_newer, _is_shown, _time
from workers.domain.submissions import submission_name
from workers.operations.workflow import Kind, Listed


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pages wait for what they show, however slow the machine is."""
    monkeypatch.setattr(workflow, "PATIENCE_S", 60)
    monkeypatch.setattr(recent, "_PATIENCE_S", 60)


SUBMISSION = submission_name("001", 1)


def site(states: States, *orders: dict[str, str]) -> Any:
    return Site.started(status=QUIET, stepfunctions=states.client, dynamodb=tables(orders))


def states() -> States:
    return States(
        good=("SUCCEEDED", caught()), bad=("FAILED", refused_order()), now=("RUNNING", events("ExecutionStarted"))
    )


async def test_counts_are_filters() -> None:
    async with site(states()) as console:
        page = await console.get("/workflow")
        failed = await console.get("/workflow?status=failed")
    cards = page.main.one("ul", class_="cards").links
    assert cards["1 failed"] == "/workflow?status=failed"
    assert list(cards) == ["1 running", "1 succeeded", "1 failed", "0 timed out", "0 aborted"]
    assert [row[1] for row in page.tables[0][1:]] == ["running", "succeeded", "failed"]
    assert [row[0] for row in failed.tables[0][1:]] == ["bad order unknown"]
    assert failed.links["failed ✕"] == "/workflow"


async def test_the_graph_counts_the_ways_of_executions_that_ended() -> None:
    async with site(states()) as console:
        page = await console.get("/workflow")
    assert "of the 2 that ended last" in page.text
    labels = [each.text for each in page.main.all("g", class_="graph-label")]
    assert "proper · 1" in labels
    assert "default · 1" in labels


async def test_a_history_is_read_once() -> None:
    scripted = states()
    async with site(scripted) as console:
        await console.get("/workflow")
        read = scripted.count("get_execution_history")
        console.console.feeds.refresh()
        await console.get("/workflow?status=failed")
        assert scripted.count("list_executions") >= 10
    assert read == scripted.count("get_execution_history") == 2


async def test_an_order_is_found_by_the_name_of_its_execution() -> None:
    key = status_key("ESCALATED", "001", "2026-11-22T11:00:00Z")
    order = {"OrderId": "001", "OpenKey": key, "UpdatedAt": "2026-11-22T11:00:00Z", "ExecutionArn": "another"}
    scripted = States(**{SUBMISSION.replace("-", "_"): ("SUCCEEDED", caught())})
    async with site(scripted, order) as console:
        page = await console.get("/workflow")
    assert page.links["001"] == "/orders/001"
    assert page.links[SUBMISSION] == f"/executions/{SUBMISSION}?order=001"


class Held(FakeClient):
    """A DynamoDB whose queries wait for `released`."""

    released: asyncio.Event

    async def pages(self, operation: str, **request: Any) -> AsyncIterator[Any]:
        await self.released.wait()
        async for page in super().pages(operation, **request):
            yield page


def listed(name: str, status: str, started_s: float, ended_s: float | None = None) -> Listed:
    return Listed(execution_arn(name), name, status, at(started_s), None if ended_s is None else at(ended_s))


RUNS = [
    listed("before", "RUNNING", 9),
    listed("then", "RUNNING", 10),
    listed("later", "RUNNING", 11),
    listed("ended before", "FAILED", 1, 9),
    listed("ended then", "FAILED", 1, 10),
    listed("ended later", "FAILED", 1, 11),
    listed("all later", "FAILED", 11, 12),
    listed("good before", "SUCCEEDED", 1, 9),
    listed("good later", "SUCCEEDED", 1, 11),
]


@pytest.mark.parametrize(
    ("status", "shown", "newer"),
    [
        (
            None,
            ["before", "then", "ended before", "ended then", "ended later", "good before", "good later"],
            ["later", "all later"],
        ),
        ("RUNNING", ["before", "then", "ended later", "good later"], ["later"]),
        ("FAILED", ["ended before", "ended then"], ["ended later", "all later"]),
        ("SUCCEEDED", ["good before"], ["good later"]),
        ("ABORTED", [], []),
    ],
)
def test_a_list_stays_as_it_was_when_the_page_was_made(status: str | None, shown: list[str], newer: list[str]) -> None:
    asked = Asked(Kind.ORDERS, status, at(10))
    assert [run.name for run in RUNS if _is_shown(run, asked)] == shown
    assert [run.name for run in RUNS if _is_newer(run, asked)] == newer


@pytest.mark.parametrize("text", [None, "", "x", "nan", "1e99", "9" * 400])
def test_a_time_that_is_none_is_now(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "now", lambda: at(5))
    assert _time(text) == at(5)
    assert _time("1.5") == datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)


async def test_only_the_first_rows_are_shown_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "MAX_ROWS", 1)
    async with site(states()) as console:
        page = await console.get("/workflow")
    assert [row[1] for row in page.tables[0][1:]] == ["running"]
    assert "1 of 3" in page.text


class Runs:
    """Executions that have ended, the newest first, and what was asked about them."""

    def __init__(self, *names: str) -> None:
        self.states = States(**{name: ("SUCCEEDED", caught()) for name in names})
        self.reader = recent.RecentReader(
            fake_stack(ORDERS, stepfunctions=self.states.client, dynamodb=tables([])), Kind.ORDERS
        )

    async def read(self, *names: str) -> list[str]:
        """Read when these are the executions; return the names of those whose history was read."""
        self.states.runs = {execution_arn(name): ("SUCCEEDED", caught()) for name in names}
        self.states.client.requests.clear()
        await self.reader.read()
        requests = self.states.client.requests
        return [
            request["executionArn"].rpartition(":")[2] for name, request in requests if name == "get_execution_history"
        ]


async def test_what_was_looked_at_last_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_MAX_KEPT", 2)
    runs = Runs()
    assert sorted(await runs.read("a", "b")) == ["a", "b"]
    assert await runs.read("a", "b") == []
    assert await runs.read("c", "b") == ["c"]
    assert await runs.read("c", "b") == []
    assert await runs.read("a", "b") == ["a"]
    assert await runs.read("a", "b") == []  # It was c that made room.


async def test_only_some_histories_are_read_and_the_drawing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "OF_HEAT", 1)
    runs = Runs()
    assert await runs.read("a", "b") == ["a"]
    first = await runs.reader.read()
    assert (first.read, first.is_searching) == (1, False)
    assert 'aria-label="The states of OrderFulfillmentStateMachine"' in first.drawing.svg
    assert (await runs.reader.read()).drawing is first.drawing
    await runs.read("b", "a")  # The same ways, of others.
    assert (await runs.reader.read()).drawing is first.drawing


async def test_only_some_orders_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find(_stack: object, arns: list[str], since: datetime) -> dict[str, str]:
        assert since == at(0)
        return {arn: arn.rpartition(":")[2].upper() for arn in arns}

    monkeypatch.setattr(recent, "_MAX_KEPT", 2)
    monkeypatch.setattr(recent, "find_orders", find)
    runs = Runs()
    await runs.read("a")
    await runs.read("b", "c")
    assert list((await runs.reader.read()).orders.values()) == ["B", "C"]


async def test_the_order_of_an_execution_is_looked_for_twice() -> None:
    runs = Runs()
    dynamodb = runs.reader.stack.dynamodb
    looked = []
    for _ in range(3):
        dynamodb.requests.clear()  # type: ignore[attr-defined]
        await runs.read("a")
        looked.append(len(dynamodb.requests))  # type: ignore[attr-defined]
    assert looked[0] == looked[1] > looked[2] == 0


async def test_a_page_does_not_wait_long_for_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "_PATIENCE_S", 0)
    key = status_key("ESCALATED", "001", "2026-11-22T11:00:00Z")
    order = {"OrderId": "001", "OpenKey": key, "UpdatedAt": "2026-11-22T11:00:00Z", "ExecutionArn": "another"}
    scripted = States(**{SUBMISSION.replace("-", "_"): ("SUCCEEDED", caught())})
    dynamodb = Held(**tables([order]).operations)
    dynamodb.released = asyncio.Event()
    stack = fake_stack(ORDERS, stepfunctions=scripted.client, dynamodb=dynamodb)
    reader = recent.RecentReader(stack, Kind.ORDERS)
    first = await reader.read()
    assert (first.orders, first.is_searching) == ({}, True)
    dynamodb.released.set()
    assert reader._search is not None
    await reader._search
    assert (await reader.read()).orders == {execution_arn(SUBMISSION): "001"}


async def test_who_may_not_read_orders_sees_the_executions() -> None:
    def denied(**_: Any) -> Any:
        raise refused("AccessDeniedException", "Query")

    async with Site.started(status=QUIET, stepfunctions=states().client, dynamodb=FakeClient(query=denied)) as console:
        page = await console.get("/workflow")
    assert [row[0] for row in page.tables[0][1:]] == ["now order unknown", "good order unknown", "bad order unknown"]
    assert page.main.all("svg")


async def test_what_comes_later_is_only_counted() -> None:
    scripted = states()
    async with site(scripted) as console, console.stream("/live/workflow?machine=orders&at=1") as parts:
        part = await parts.next()
    assert part.main.all("table") == []
    assert "3 new." in part.text


@pytest.mark.parametrize(
    ("kind", "text"),
    [("intake", "there is no state machine BulkOrderIntake"), ("sweep", "there is no state machine StuckOrderSweep")],
)
async def test_a_stack_of_an_older_version_has_fewer_machines(kind: str, text: str) -> None:
    async with site(states()) as console:
        page = await console.get(f"/workflow?machine={kind}")
    assert page.status == 200
    assert page.main.one("p", class_="bad").text.startswith(text)


async def test_a_stack_without_executions_says_what_to_do() -> None:
    async with site(States()) as console:
        page = await console.get("/workflow?status=nonsense&machine=unknown")
    assert "No execution yet. Submit an order: orders submit FILE" in page.text
    assert "No execution has ended yet" in page.text


async def test_a_typed_name_leads_to_its_execution() -> None:
    async with site(States()) as console:
        page = await console.get("/workflow?name=%20one/two%3Fx%20")
    assert (page.status, page.headers["Location"]) == (303, "/executions/one%2Ftwo%3Fx")


async def test_the_page_makes_few_calls() -> None:
    async with site(states()) as console:
        await console.get("/workflow")
        of_page = [name for _, name in console.calls if name not in {"query", "get_execution_history"}]
    assert len(of_page) < 10
