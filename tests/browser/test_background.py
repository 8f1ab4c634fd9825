"""Pages that nobody sees: a browser has six connections to a host, and pages in the background must not take them."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.served import Served

pytestmark = pytest.mark.browser

# A browser without windows shows all of its pages.
IN_BACKGROUND = """
let isHidden = true;
Object.defineProperty(document, "hidden", { get: () => isHidden });
window.comeToFront = () => { isHidden = false; document.dispatchEvent(new Event("visibilitychange")); };
"""
PAGES = 10  # More than a browser has connections.


def test_pages_that_were_opened_in_the_background_take_no_connection_and_become_live_when_seen(
    page: Page, context: BrowserContext, served: Served
) -> None:
    expect(page.locator("#live-state")).to_have_attribute("data-live", "live")
    opened = []
    for _ in range(PAGES):
        opened.append(context.new_page())
        opened[-1].add_init_script(IN_BACKGROUND)
        opened[-1].goto(f"{served.origin}/queues")
    live = opened[-1].locator("#live-state")
    expect(live).to_have_attribute("data-live", "connecting")
    opened[-1].evaluate("comeToFront()")
    expect(live).to_have_attribute("data-live", "live")
