"""Queues and workers."""

from dataclasses import replace

import pytest

from tests.workers.console.pages.test_overview import QUIET
from tests.workers.console.site import READ_ONLY, Site
from tests.workers.operations.status_world import ESCALATION, FULFILLMENT, ago, busy
from workers.operations.status import OrderCount, QueueStatus, Unknown

pytestmark = pytest.mark.usefixtures("patient")
BUSY = QueueStatus(
    queue="OrderFulfillmentQueue",
    depth=1200,
    in_flight=150,
    delayed=0,
    oldest_s=None,
    drained_per_second=-2.5,
    dead_letters=8,
    paused=True,
    paused_by="ada",
)


async def test_a_bad_day_is_shown_with_what_is_known() -> None:
    world = busy()
    status = await world.reader(FULFILLMENT, ESCALATION).read()
    async with Site.started(status=status) as site:
        page = await site.get("/queues")
    queue = page.main.one("section", aria_labelledby="queue-1").text
    assert "Waiting 1,200" in queue
    assert "In flight 150" in queue
    assert "Dead letters 8" in queue
    workers, services = page.tables
    assert workers[1][:2] == ["fulfillment", "running downstream has failed for 360 s"]
    assert workers[1][5].startswith("by downstream for")
    assert services[1][:2] == ["provider", "down"]
    assert "HTTP 503" in services[1][4]
    assert services[3][1] == "not called"
    assert "unknown" not in services[3]


async def test_each_queue_has_plots_of_what_was_seen() -> None:
    async with Site.started(status=replace(QUIET, queues=[BUSY])) as site:
        site.console.system.history.add(replace(QUIET, queues=[BUSY]))
        plots = (await site.get("/queues")).main.all("svg", class_="plot")
    assert [plot.attributes["aria-label"] for plot in plots] == [
        "messages in OrderFulfillmentQueue: 1,350 now, at most 1,350 in the last 15 minutes",
        "dead letters of OrderFulfillmentQueue: 8 now, at most 8 in the last 15 minutes",
        "messages of the fulfillment worker: nothing known yet",
    ]


async def test_what_is_unknown_is_never_shown_as_none() -> None:
    unknown = [Unknown(what=("queue X",), reason="no answer within 4 s")]
    status = replace(QUIET, queues=[QueueStatus(queue="OrderFulfillmentQueue")], unknown=unknown)
    async with Site.started(status=status) as site:
        page = await site.get("/queues")
    text = page.main.one("section", aria_labelledby="queue-1").text
    assert "Waiting unknown In flight unknown Delayed unknown Dead letters unknown" in text
    assert "Oldest message unknown Drains unknown Empty in unknown Oldest dead letter unknown" in text
    assert "queue X: no answer within 4 s" in page.text


async def test_on_a_local_aws_the_age_is_that_of_the_oldest_order_and_says_so() -> None:
    orders = [OrderCount(status="RECEIVED", orders=1, oldest_at=ago(minutes=9))]
    async with Site.started(status=replace(QUIET, queues=[BUSY], orders=orders)) as site:
        page = await site.get("/queues")
    assert "Oldest message oldest order" in page.text
    assert "grows by 2.5/s" in page.text


async def test_a_paused_queue_can_be_resumed_and_another_paused() -> None:
    other = QueueStatus(queue="EscalationQueue", paused=False)
    async with Site.started(status=replace(QUIET, queues=[BUSY, other])) as site:
        links = (await site.get("/queues")).links
    assert (links["Resume"], links["Pause"]) == ("/queues/fulfillment/resume", "/queues/escalation/pause")


async def test_a_read_only_console_has_no_button_and_neither_has_a_queue_of_unknown_state() -> None:
    async with Site.started(status=replace(QUIET, queues=[BUSY]), place=READ_ONLY) as site:
        assert "Resume" not in (await site.get("/queues")).links
    async with Site.started(status=replace(QUIET, queues=[replace(BUSY, paused=None)])) as site:
        assert {"Resume", "Pause"}.isdisjoint((await site.get("/queues")).links)
