"""The frame of every page, in a browser: the session, the live state, and what a stop and a start do to it."""

import json

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.served import TOKEN, Served
from tests.browser.watching import Watch
from tests.support import eventually

pytestmark = pytest.mark.browser


def test_the_printed_address_opens_the_console_and_leaves_no_token(page: Page, served: Served) -> None:
    assert page.url == f"{served.origin}/"
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    expect(page.locator("#live-state")).to_have_attribute("data-live", "live")
    expect(page.locator(".place")).to_contain_text("local AWS")
    cookie = page.context.cookies()[0]
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (f"console-{served.port}", True, "Strict")
    assert page.evaluate("document.cookie") == ""
    assert TOKEN not in page.content()
    assert page.evaluate("history.length") <= 2
    assert TOKEN not in served.log


def test_counts_change_without_a_click_and_stay_while_the_page_is_paused(page: Page, served: Served) -> None:
    live = page.locator("#live-state")
    expect(live).to_have_attribute("data-live", "live")
    count = page.locator("#count-cases")
    order = {"OrderId": "browser-1", "Name": "Ada", "ItemName": "Bicycle", "Price": "free", "CC": "1234"}
    served.stack.client("stepfunctions").start_execution(
        stateMachineArn=served.stack.state_machine_arn, name="browser-1", input=json.dumps(order)
    )
    expect(count).to_be_visible()
    live.click()
    expect(live).to_have_attribute("data-live", "paused")
    expect(live).to_have_attribute("aria-pressed", "true")
    live.click()
    expect(live).to_have_attribute("data-live", "live")


def test_a_page_lives_on_after_the_console_was_started_again(page: Page, served: Served, watch: Watch) -> None:
    live = page.locator("#live-state")
    expect(live).to_have_attribute("data-live", "live")
    assert served.stop() == 0
    expect(live).to_have_attribute("data-live", "lost")
    served.start()
    expect(live).to_have_attribute("data-live", "live")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert [each for each in watch.take() if served.origin not in each and "ERR_CONNECTION" not in each] == []


def test_without_a_session_a_browser_is_told_what_to_open(
    context: BrowserContext, served: Served, watch: Watch
) -> None:
    page = context.new_page()
    with page.expect_console_message():
        page.goto(f"{served.origin}/orders")
    expect(page.get_by_role("heading", level=1)).to_have_text("Open the printed address")
    troubles = watch.take()
    assert len(troubles) == 2
    assert all("401" in each for each in troubles)


def test_the_keyboard_stays_on_a_copy_button_when_its_page_changes(page: Page, served: Served) -> None:
    order = {"OrderId": "browser-2", "Name": "Ada", "ItemName": "Bicycle", "Price": "free", "CC": "1234"}
    served.stack.client("stepfunctions").start_execution(
        stateMachineArn=served.stack.state_machine_arn, name="browser-2", input=json.dumps(order)
    )
    stored = {"TableName": served.stack.escalation_table, "Key": {"CaseId": {"S": "browser-2"}}}
    eventually(lambda: "Item" in served.stack.client("dynamodb").get_item(**stored), 60)
    page.goto(f"{served.origin}/cases/browser-2")
    copy = page.get_by_role("button", name="Copy browser-2").first
    copy.focus()
    changed = "document.addEventListener('htmx:after:swap', () => { document.body.dataset.changed = 'yes'; })"
    page.evaluate(changed)
    expect(page.locator("body")).to_have_attribute("data-changed", "yes")
    expect(copy).to_be_focused()
