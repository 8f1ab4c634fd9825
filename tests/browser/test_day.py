"""
An operator's day in a real browser, on a stack of its own with both workers and a provider: `make browser`.

What the tests of the commands prove by their texts (`tests/integration/test_orders_day.py`), a person sees and clicks.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.orders import Day, order, sample
from tests.browser.served import Served
from tests.integration.command_line import CARD
from tests.integration.faulty_provider import FaultyProvider, State
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployedStack, DeployStack

pytestmark = pytest.mark.browser
RECOVERY_MS = 120_000  # The worker asks a provider that is down again after up to half a minute.
FORBIDDEN = (CARD, " ".join(CARD[n : n + 4] for n in range(0, 16, 4)))


@pytest.fixture(scope="module")
def shown_stack(deploy_stack: DeployStack) -> DeployedStack:
    return deploy_stack("day-")


@pytest.fixture(scope="module")
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider(seed=0) as provider:
        yield provider


@pytest.fixture(scope="module")
def worker_variables(provider: FaultyProvider) -> Mapping[str, str]:
    return {
        "FULFILLMENT_PROVIDER": "http",
        "FULFILLMENT_URL": provider.url,
        "FULFILLMENT_TOKEN": "token-of-the-provider",
        "FULFILLMENT_TIMEOUT_S": "10",
    }


@pytest.fixture(scope="module")
def day(served: Served) -> Iterator[Day]:
    yield Day(Pipeline(served.stack))
    outputs = {"the console": served.log} | {worker.log_path.name: worker.output() for worker in served.workers}
    for name, output in outputs.items():
        assert not any(card in output for card in FORBIDDEN), name


def escalate(day: Day, *order_ids: str) -> None:
    """Submit orders whose price is wrong, and wait for their cases."""
    for order_id in order_ids:
        day.submit(order(order_id, Price="-5"))
    day.wait_for_cases(*order_ids)


def decide(page: Page, action: str, note: str) -> None:
    """Fill in what is to be done, by whom and why, and look at the preview."""
    page.get_by_role("radio", name=re.compile(f"^{action}")).check()
    page.get_by_label("Your name").fill("grace")
    page.get_by_label("Note").fill(note)
    page.get_by_role("button", name="Preview").click()


def choose_in_navigation(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()


def show_row(page: Page, name: str) -> Locator:
    """Return the link of a row, after a click on "1 changed. Show" if the list was read before the row was there."""
    row = page.get_by_role("link", name=name, exact=True)
    show = page.get_by_role("link", name="Show", exact=True)
    expect(row.or_(show).first).to_be_visible()
    if not row.is_visible():
        show.click()
    return row


def open_list(page: Page, address: str, rows: int) -> None:
    """Open a list of cases, again until it was read after the last one of its *rows* was there."""

    def has_all() -> bool:
        page.goto(address)
        expect(page.locator(".loading")).to_have_count(0)
        return page.locator("tbody input[type=checkbox]").count() == rows

    wait_until(has_all)


def status_of(page: Page, order_id: str) -> Locator:
    """Open an order's page; return its status, which changes by itself."""
    page.goto(f"{page.url.partition('//')[0]}//{page.url.split('/')[2]}/orders/{order_id}")
    return page.locator(".head .status").first


def test_an_execution_turns_from_running_to_ended_without_a_reload(
    page: Page, served: Served, day: Day, tmp_path: Path
) -> None:
    file = tmp_path / "hold"
    day.hold(file)
    try:
        name = day.submit(sample("001"), "watched")
        page.goto(f"{served.origin}/executions/{name}")
        summary = page.get_by_role("region", name="Summary")
        expect(summary).to_contain_text("Running for")
        expect(page.locator("#live-state")).to_have_attribute("data-live", "live")
        page.evaluate("window.before = 1")
        file.unlink()
        expect(summary).to_contain_text("succeeded")
        expect(page.locator("#live-state")).to_have_attribute("data-live", "ended")
        expect(summary.get_by_role("link", name="001")).to_be_visible()
        assert page.evaluate("window.before") == 1
    finally:
        file.unlink(missing_ok=True)
        day.restore()


def test_the_samples_go_through_the_workflow_before_ones_eyes(page: Page, day: Day) -> None:
    choose_in_navigation(page, "Workflow")
    succeeded = page.locator(".card", has_text="succeeded").locator(".number")
    before = int(succeeded.inner_text())
    for order_id in ("002", "003", "004"):
        day.submit(sample(order_id), f"sample-{order_id}")
    expect(succeeded).to_have_text(str(before + 3))
    page.get_by_role("link", name="Show", exact=True).click()
    page.get_by_role("link", name="sample-002", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("sample-002")
    states = page.get_by_role("region", name="States")
    expect(states).to_contain_text("Put message in Escalation Queue")
    expect(states).not_to_contain_text("Put message in OrderFulfillment Queue")
    states.get_by_role("link", name="Are details Proper").click()
    expect(page.locator(".inspected.chosen, .inspected:target")).to_contain_text("A try may take 10 s.")


def test_an_escalation_is_found_and_resubmitted_with_a_typed_card_number(
    page: Page, day: Day, provider: FaultyProvider
) -> None:
    escalate(day, "typed-1")
    newest = page.get_by_role("region", name="Newest escalations")
    expect(newest.get_by_role("link", name="typed-1")).to_be_visible()
    page.locator(".card", has_text=re.compile("case")).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cases")
    page.get_by_label("Text", exact=True).fill("typed")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".chips")).to_contain_text("typed")
    show_row(page, "typed-1").click()
    expect(page.locator("main")).to_contain_text("INVALID_PRICE")
    page.get_by_role("link", name="Resolve", exact=True).click()
    page.get_by_label("Price").fill("123")
    decide(page, "resubmit", "the price was a typo")
    expect(page.get_by_role("row", name="Price")).to_contain_text("123")
    page.get_by_label("Card number").fill(CARD)
    page.get_by_role("button", name="Resubmit").click()
    expect(page.get_by_role("status")).to_contain_text(["1 resolved"])
    expect(page.locator("main")).to_contain_text("card ending in 5678")
    assert CARD not in page.content()
    expect(status_of(page, "typed-1")).to_have_text("FULFILLED")
    wait_until(lambda: day.case("typed-1")["State"] == "RESOLVED")
    resolution = day.case("typed-1")["Resolutions"][0]
    assert (resolution["Action"], resolution["Actor"]) == ("resubmit", "grace")
    assert provider.shipped["typed-1"]


def test_a_case_is_cancelled_and_another_fulfilled_by_hand(page: Page, day: Day, served: Served) -> None:
    escalate(day, "gone-1", "by-hand-1")
    page.goto(f"{served.origin}/cases/gone-1/resolve")
    decide(page, "cancel", "the customer changed her mind")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_contain_text(["1 resolved"])
    expect(status_of(page, "gone-1")).to_have_text("CANCELLED")
    page.goto(f"{served.origin}/cases/by-hand-1/resolve")
    page.get_by_role("textbox", name="Shipment id").fill("BY-HAND-7")
    decide(page, "fulfill", "shipped from the shop")
    page.get_by_role("button", name="Fulfill").click()
    expect(page.get_by_role("status")).to_contain_text(["1 resolved"])
    expect(status_of(page, "by-hand-1")).to_have_text("FULFILLED")
    expect(page.locator("main")).to_contain_text("BY-HAND-7")
    lines = [line for line in served.log.splitlines() if '"console.action"' in line]
    assert any('"gone-1"' in line and '"grace"' in line for line in lines)


def test_ten_cases_are_resolved_at_once(page: Page, day: Day, served: Served) -> None:
    ten = [f"batch-{n}" for n in range(10)]
    escalate(day, *ten, "batched-not")
    open_list(page, f"{served.origin}/cases?q=batch-", rows=10)
    selected = page.locator("[data-selected]")
    page.get_by_role("checkbox", name="Select case batch-3").check()
    expect(selected).to_have_text("1 selected")
    page.get_by_role("checkbox", name="Select all cases of this page").check()
    expect(selected).to_have_text("10 selected")
    page.get_by_role("button", name=re.compile("Resolve the selected")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Resolve 10 cases")
    decide(page, "cancel", "the shop has closed")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 10 cases?")
    page.get_by_role("button", name="Cancel 10 cases").click()
    expect(page.get_by_role("status")).to_contain_text(["10 resolved"])
    outcomes = page.get_by_role("region", name="What came of each").locator("tbody tr")
    expect(outcomes).to_have_count(10)
    expect(outcomes.locator(".status")).to_have_text(["resolved"] * 10)
    page.get_by_role("link", name="To the open cases").click()
    expect(show_row(page, "batched-not")).to_be_visible()
    expect(page.get_by_role("link", name="batch-3", exact=True)).to_have_count(0)
    assert {day.case(order_id)["State"] for order_id in ten} == {"RESOLVED"}


def test_a_dead_letter_is_replayed_and_another_discarded(page: Page, day: Day) -> None:
    day.pipeline.put_order("letter-1")
    replayed = day.send_dead_letter({"OrderId": "letter-1", "ExecutionArn": day.pipeline.arn("of-letter-1")})
    discarded = day.send_dead_letter("please check!")
    expect(page.locator("#count-dead-letters")).to_have_text("2")
    choose_in_navigation(page, "Dead letters")
    page.get_by_role("button", name=re.compile("^Look at .*OrderFulfillment")).click()
    page.get_by_role("checkbox", name=f"Select {replayed}").check()
    page.get_by_label("Note").fill("the worker was broken")
    page.get_by_role("button", name=re.compile("^Replay")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Replay 1 dead letter?")
    page.get_by_role("button", name="Replay 1 letter").click()
    expect(page.get_by_role("status")).to_contain_text(["1 replayed"])
    page.get_by_role("link", name="To the other letters").click()
    expect(page.get_by_role("checkbox", name=f"Select {replayed}")).to_have_count(0)
    page.get_by_role("checkbox", name=f"Select {discarded}").check()
    page.get_by_role("button", name=re.compile("^Discard")).click()
    page.get_by_role("button", name="Discard 1 letter").click()
    expect(page.get_by_role("status")).to_contain_text(["1 discarded"])
    expect(status_of(page, "letter-1")).to_have_text("FULFILLED")
    assert day.pipeline.queued(day.pipeline.stack.order_fulfillment_dlq_url) == 0


def test_a_paused_queue_is_a_banner_on_every_page_until_it_is_resumed(page: Page, served: Served) -> None:
    choose_in_navigation(page, "Queues")
    page.get_by_role("link", name="Pause").first.click()
    page.get_by_label("Your name").fill("ada")
    page.get_by_label("Note").fill("the warehouse moves")
    page.get_by_role("button", name=re.compile("^Pause")).click()
    banner = page.locator("#banners")
    for path in ("/", "/orders", "/cases", "/dead-letters", "/workflow", "/queues"):
        page.goto(f"{served.origin}{path}")
        expect(banner).to_contain_text("paused by ada")
        expect(banner).to_contain_text("the warehouse moves")
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name=re.compile("^Resume")).click()
    for path in ("/", "/orders", "/queues"):
        page.goto(f"{served.origin}{path}")
        expect(banner).not_to_contain_text("paused")


def test_a_provider_goes_down_and_comes_back(page: Page, day: Day, provider: FaultyProvider) -> None:
    banner = page.locator("#banners")
    provider.become(State.REFUSING)
    try:
        for n in range(3):
            day.submit(order(f"waits-{n}"))
        expect(banner).to_contain_text("The provider is down since")
        expect(banner).to_contain_text(re.compile("[1-3] messages? waits? in"))
        banner.get_by_role("link").first.click()
        expect(page.get_by_role("region", name="Provider and channels")).to_contain_text("down")
    finally:
        provider.become(State.UP)
    expect(banner).not_to_contain_text("The provider is down", timeout=RECOVERY_MS)
    expect(banner).to_be_empty(timeout=RECOVERY_MS)
    for n in range(3):
        expect(status_of(page, f"waits-{n}")).to_have_text("FULFILLED", timeout=RECOVERY_MS)
