"""The overview, and what every page shows of the system."""

from dataclasses import replace

import pytest

from tests.workers.console.site import READ_ONLY, Site
from tests.workers.operations.status_world import ago, busy, case
from workers.console.feeds import Feed
from workers.operations.alarms import Alarm
from workers.operations.errors import OperationError
from workers.operations.status import (
    OrderCount,
    QueueStatus,
    ServiceState,
    ServiceStatus,
    SeverityCount,
    Status,
    WorkerState,
    WorkerStatus,
)

pytestmark = pytest.mark.usefixtures("patient")
QUIET = Status(
    at=ago(),
    workers=[WorkerStatus(worker="fulfillment", state=WorkerState.RUNNING, held=False)],
    queues=[QueueStatus(queue="OrderFulfillmentQueue", depth=0, in_flight=0, delayed=0, dead_letters=0, paused=False)],
    orders=[OrderCount(status="RECEIVED", orders=0), OrderCount(status="FULFILLED", orders=1200, today=True)],
    open_cases=0,
)


async def test_counts_are_links_to_what_they_count() -> None:
    async with Site.started(world=busy()) as site:
        page = await site.get("/")
        cards = {link.removeprefix("/"): text for text, link in page.main.one("ul", class_="cards").links.items()}
    assert cards["orders?status=RECEIVED"].startswith("3 received oldest")
    assert cards["orders?status=FULFILLED&since=1d"] == "241 fulfilled today"
    assert cards["cases?severity=critical"].startswith("2 critical cases oldest")
    assert cards["cases?severity=warning"].startswith("1 warning case oldest")
    assert cards["dead-letters"] == "8 dead letters"
    assert cards["queues"] == "unknown workers running"


async def test_the_most_severe_cases_come_first_and_workers_that_run_are_counted() -> None:
    severities = [SeverityCount(severity=each, cases=1, oldest_at=ago()) for each in ("info", "critical", "warning")]
    workers = [WorkerStatus(worker=each.value, state=each) for each in (WorkerState.RUNNING, WorkerState.NOT_RUNNING)]
    async with Site.started(status=replace(QUIET, severities=severities, workers=workers)) as site:
        page = await site.get("/")
    cards = [card.text for card in page.main.one("ul", class_="cards").all("li")]
    assert [card.split()[1] for card in cards[2:5]] == ["critical", "warning", "info"]
    assert cards[-1] == "1 of 2 workers running"


async def test_what_needs_a_person_leads_to_its_page() -> None:
    async with Site.started(world=busy()) as site:
        page = await site.get("/")
    needs = page.main.one("section", aria_labelledby="needs")
    assert needs.links["2 critical cases are open, the oldest for 3h"] == "/cases?severity=critical"


async def test_a_quiet_system_says_that_nothing_is_to_do() -> None:
    async with Site.started(status=QUIET) as site:
        page = await site.get("/")
    assert "Nothing. Orders that come go their way by themselves." in page.text
    assert "No case is open." in page.text
    assert "Alarms" not in page.text
    assert page.root.all(class_="banner") == []
    assert "0 open cases" in page.text


async def test_what_is_unknown_is_not_said_to_need_nobody() -> None:
    unknown = [
        replace(QUIET, open_cases=None),
        replace(QUIET, orders=[OrderCount(status="RECEIVED", orders=None)]),
        replace(QUIET, queues=[QueueStatus(queue="OrderFulfillmentQueue")]),
        replace(QUIET, workers=[WorkerStatus(worker="fulfillment", state=WorkerState.UNKNOWN)]),
    ]
    for status in unknown:
        async with Site.started(status=status) as site:
            needs = (await site.get("/")).main.one("section", aria_labelledby="needs").text
        assert "unknown: not everything could be read." in needs
        assert "Nothing" not in needs


async def test_newest_cases_are_listed_with_what_others_wrote_as_text() -> None:
    async with Site.started(status=replace(QUIET, open_cases=1)) as site:
        site.console.system.newest_cases = [case("<script>", "critical", 3)]
        page = await site.get("/")
        row = page.main.one("section", aria_labelledby="newest").tables[0][1]
    assert row[:2] == ["<script>", "critical"]
    assert page.links["<script>"] == "/cases/%3Cscript%3E"
    assert "<bdi>&lt;script&gt;</bdi>" in page.html
    assert "/cases/%3Cscript%3E" in page.links.values()


async def test_cases_that_were_not_read_in_time_are_not_said_to_be_none() -> None:
    async with Site.started(status=replace(QUIET, open_cases=None)) as site:
        page = await site.get("/")
    assert "No case is open." not in page.text
    assert "unknown open cases" in page.text


async def test_raised_alarms_are_listed() -> None:
    async with Site.started(status=QUIET) as site:
        site.console.system.alarms = [Alarm(name="OrdersStuck", since_at=ago(hours=1), description="Why", reason=None)]
        assert "OrdersStuck" in (await site.get("/")).main.one("section", aria_labelledby="alarms").text
        site.console.system.alarms = []
        assert "No alarm is raised." in (await site.get("/")).text
        site.console.system.alarms, site.console.system.alarms_problem = None, "no access"
        assert "Unknown: no access" in (await site.get("/")).text


async def test_before_the_first_reading_the_page_says_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.console.pages.overview.PATIENCE_S", 0.001)
    async with Site.started(status=QUIET) as site:
        never = Feed(site.console.stopping.wait, 5, site.console.feeds.explain, site.console.feeds.failed)
        site.console.feeds._feeds["status"] = never
        page = await site.get("/")
        never.close()
    assert "Reading the state of the system" in page.text
    assert page.status == 200


async def test_a_failure_is_said_beside_what_was_known() -> None:
    async with Site.started(status=OperationError("there is no queue X")) as site:
        page = await site.get("/")
    assert page.main.one(role="alert").text == "there is no queue X"


async def test_the_frame_has_counts_and_banners_on_every_page_and_in_every_event() -> None:
    down = ServiceStatus(service="provider", state=ServiceState.DOWN, down_since_at=ago(minutes=6), last_error="<b>503")
    severe = [SeverityCount(severity="critical", cases=1234, oldest_at=ago())]
    status = replace(QUIET, services=[down], open_cases=1234, severities=severe)
    async with Site.started(status=status) as site:
        for path in ("/", "/queues"):
            await site.console.status.latest()
            page = await site.get(path)
            assert page.root.one(id="count-cases").text == "1,234"
            assert "hidden" in page.root.one(id="count-dead-letters").attributes
            banner = page.root.one(class_="banner").text
            assert banner.startswith("The provider is down since 2026-11-22 11:54:00 UTC (")
            assert ": <b>503." in banner
            async with site.stream(f"/live{'/overview' if path == '/' else path}") as events:
                event = await events.next()
            assert event.root.one(id="count-cases").attributes["hx-swap-oob"] == "true"
            assert event.root.one(id="banners").attributes["hx-swap-oob"] == "innerMorph"
            assert "The provider is down" in event.root.one(id="banners").text


async def test_a_read_only_console_says_why() -> None:
    async with Site.started(status=QUIET, place=READ_ONLY) as site:
        badge = (await site.get("/")).root.one(class_="read-only")
    assert (badge.text, badge.attributes["title"]) == ("read-only", "it is for reading")
