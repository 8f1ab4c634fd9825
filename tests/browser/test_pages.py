"""Every page of the console, with everything on it that may be: for eyes, keyboards, screen readers, and no scripts."""

import contextlib
import re
from collections.abc import Iterator, Sequence

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Error, Page, ViewportSize, expect

from tests.browser.conftest import WAIT_MS
from tests.browser.orders import Day, order
from tests.browser.served import Served
from tests.browser.watching import Watch
from tests.browser.world import CAUGHT, FORBIDDEN, MALFORMED, REFUSED, fill
from tests.integration.command_line import CARD
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployedStack, DeployStack
from workers.console.app import PAGES

# All pages take a minute; on a busy machine, several.
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1_200)]
WIDE: ViewportSize = {"width": 1_280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
SERIOUS = {"serious", "critical"}
AXE_OPTIONS = {"preload": False, "resultTypes": ["violations"]}
FIXED = (
    *("/", "/workflow", "/workflow?machine=intake", "/workflow?machine=sweep", "/queues", "/dead-letters"),
    *("/orders", "/orders?status=ESCALATED&status=FULFILLED&q=bicycle", "/orders?q=nothing-like-this"),
    *("/cases", "/cases?reason=INVALID_PRICE&severity=warning", "/cases?group=detail", "/cases?state=resolved"),
    *("/orders/001", "/orders/002", "/orders/hostile-1", "/orders/by-hand-1", "/orders/by-hand-2", "/orders/edited"),
    *("/cases/002", "/cases/hostile-1", "/cases/by-hand-2", "/cases/edited"),
    *(f"/executions/{CAUGHT}", f"/executions/{REFUSED}?tab=events", f"/executions/{MALFORMED}?tab=definition"),
    *("/cases/002/resolve", "/cases/by-hand-2/resolve"),
    *(f"/orders/by-hand-1/{act}" for act in ("cancel", "requeue", "escalate")),
)


@pytest.fixture(scope="module")
def shown_stack(deploy_stack: DeployStack) -> DeployedStack:
    return deploy_stack("pages-")


@pytest.fixture(scope="module")
def day(served: Served) -> Iterator[Day]:
    day = Day(Pipeline(served.stack))
    fill(day)
    yield day
    for name, output in {
        "console": served.log,
        **{each.log_path.name: each.output() for each in served.workers},
    }.items():
        assert not any(card in output for card in FORBIDDEN), name


@pytest.fixture(scope="module")
def addresses(browser: Browser, served: Served, day: Day) -> Sequence[str]:
    """The addresses of all pages, those that need a look or a plan before included."""
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    page.goto(served.address)
    queue = day.pipeline.stack.outputs["OrderFulfillmentQueueName"]
    made = [*FIXED, f"/queues/{queue}/pause", *_of_letters(page, served), *_of_cases(page, served)]
    context.close()
    for route in (route for each in PAGES for route in each.routes):
        pattern = re.sub(r"\\\{.*?\}", "[^/]+", re.escape(getattr(route, "path", "")).replace(r"\}", "}"))
        if getattr(route, "method", "") == "GET" and not re.search("live|events", pattern):
            assert any(re.fullmatch(pattern, each.partition("?")[0]) for each in made), pattern
    return made


def _here(page: Page, served: Served) -> str:
    return page.url.removeprefix(served.origin)


def _of_letters(page: Page, served: Served) -> Iterator[str]:
    """Yield the pages of a look, of a letter that is edited, and of a plan."""
    page.goto(f"{served.origin}/dead-letters")
    page.get_by_role("button", name=re.compile("^Look at .*OrderFulfillment")).click()
    letters = page.locator("tbody input[type=checkbox]")
    expect(letters).to_have_count(2)
    look = _here(page, served)
    yield look
    page.locator("summary").first.click()
    page.get_by_role("link", name="Edit and replay").first.click()
    yield _here(page, served)
    for action in ("Replay", "Discard"):
        page.goto(f"{served.origin}{look}")
        letters.first.check()
        page.get_by_role("button", name=re.compile(f"^{action}")).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("?")
        yield _here(page, served)


def _of_cases(page: Page, served: Served) -> Iterator[str]:
    """Yield the pages of a plan for one case and for several, and of one that was carried out."""
    for case_id, action in (("002", "resubmit"), ("003", "cancel")):
        page.goto(f"{served.origin}/cases/{case_id}/resolve")
        page.get_by_role("radio", name=re.compile(f"^{action}")).check()
        page.get_by_label("Note").fill("tried")
        if action == "resubmit":
            page.get_by_label("Price").fill("80")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("?")
        yield _here(page, served)
    if page.get_by_role("button", name="Cancel").is_visible():
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("status")).to_contain_text(["1 resolved"])


def settled(page: Page, address: str) -> None:
    """Open a page, and wait until all of it is there."""
    page.goto(address)
    expect(page.locator(".loading")).to_have_count(0)


def violations(page: Page) -> list[str]:
    """Return what axe finds that is serious."""
    found = page.evaluate("options => axe.run(document, options)", AXE_OPTIONS)
    return [
        f"{each['id']}: {node['target']} {node['html'][:120]}"
        for each in found["violations"]
        if each["impact"] in SERIOUS
        for node in each["nodes"][:3]
    ]


def test_every_page_is_for_people(page: Page, served: Served, addresses: Sequence[str]) -> None:
    """Look at each, light and wide, dark and narrow: axe finds nothing, it does not scroll sideways, it has a title."""
    problems, titles = list[str](), dict[str, str]()
    for address in addresses:
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        settled(page, f"{served.origin}{address}")
        page.evaluate(AXE_SCRIPT)
        found = violations(page)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size(NARROW)
        found += [f"narrow, dark {each}" for each in violations(page)]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"narrow: {page.evaluate(WIDEST)}")
        if (headings := page.get_by_role("heading", level=1).count()) != 1:
            found.append(f"{headings} headings of the first level")
        if page.locator("main :is(img, b, object, iframe)").count():
            found.append("markup of a stranger")
        found += [f"card number {card}" for card in FORBIDDEN if card in page.content()]
        title = page.title()
        same = titles.setdefault(title, address.partition("?")[0])
        if same != address.partition("?")[0]:
            found.append(f"title as {same}: {title}")
        problems += [f"{address[:80]}: {each}" for each in found]
    assert problems == []


WIDEST = """() => [...document.querySelectorAll("body *")]
  .filter((each) => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".table, .graph-scroll, pre"))
  .slice(0, 4).map((each) => `${each.tagName}.${each.className} ${each.textContent.slice(0, 40)}`).join(" | ")"""


FOCUSED = """() => {
  const each = document.activeElement, style = getComputedStyle(each);
  const name = each.id || each.getAttribute("href") || each.name || each.textContent.trim().slice(0, 30);
  const drawn = each.ownerSVGElement && each.querySelector(".graph-card, .graph-head");
  if (drawn) return [name, getComputedStyle(drawn).strokeWidth === "4px"];
  return [`${each.tagName}|${name}`,
    style.outlineStyle !== "none" || style.boxShadow !== "none"];
}"""
FOCUSABLE = """() => [
  ...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")]
  .filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0).length"""
MAX_TABS = 40
BY_KEYBOARD = ("/", "/cases", "/orders/002", "/cases/002/resolve", "/queues", "/dead-letters", f"/executions/{REFUSED}")


def test_every_page_works_by_keyboard(page: Page, served: Served, day: Day) -> None:
    del day
    for address in BY_KEYBOARD:
        settled(page, f"{served.origin}{address}")
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED)[0] == "A|#main", address
        expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        settled(page, f"{served.origin}{address}?again=1")  # From its begin.
        reached, unseen = list[str](), set[str]()
        for _ in range(min(page.evaluate(FOCUSABLE), MAX_TABS)):
            page.keyboard.press("Tab")
            name, is_seen = page.evaluate(FOCUSED)
            if name.startswith("BODY"):
                break
            reached.append(name)
            if not is_seen:
                unseen.add(name)
        assert unseen == set(), address
        assert len(reached) >= min(page.evaluate(FOCUSABLE), MAX_TABS) - 3, (
            address,
            reached,
        )  # Radio buttons are one stop.


def test_a_slash_leads_to_the_search(page: Page, served: Served, day: Day) -> None:
    del day
    for address in ("/orders", "/cases", "/workflow"):
        settled(page, f"{served.origin}{address}")
        page.keyboard.press("/")
        expect(page.locator("[data-search]")).to_be_focused()
        page.keyboard.type("a/b")
        expect(page.locator("[data-search]")).to_have_value("a/b")


def load_again(page: Page) -> bool:
    """Load the page again; return whether that was possible: not while Chromium still goes to another page."""
    with contextlib.suppress(Error):
        page.reload()
        return True
    return False


def test_without_scripts_a_case_is_found_and_resolved(browser: Browser, served: Served, watch: Watch, day: Day) -> None:
    day.submit(order("plain-1", Price="-5", Name="Plain Jane"))
    day.wait_for_cases("plain-1")
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(WAIT_MS)
    watch.follow(context)
    page = context.new_page()
    page.goto(served.address)
    page.get_by_role("link", name="Cases").first.click()
    page.get_by_label("Text", exact=True).fill("plain jane")
    page.get_by_role("button", name="Filter").click()
    found = page.get_by_role("link", name="plain-1", exact=True)

    def is_found() -> bool:
        return load_again(page) and found.is_visible()  # "Load the page again in a moment."

    wait_until(is_found)
    found.click()
    wait_until(lambda: load_again(page) and page.get_by_role("link", name="Resolve", exact=True).is_visible())
    page.get_by_role("link", name="Resolve", exact=True).click()
    page.get_by_role("radio", name=re.compile("^cancel")).check()
    page.get_by_label("Note").fill("without scripts")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Cancel").click()
    wait_until(lambda: load_again(page) and "1 resolved" in page.locator("main").inner_text())
    assert day.pipeline.status("plain-1") == "CANCELLED"
    for address in FIXED:
        page.goto(f"{served.origin}{address}")
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
    context.close()


KIND = "each => [each.method, each.getAttribute('action').replace(/[?].*/, ''), each.elements.length].join()"
FILL = """([form, card]) => {
  form.noValidate = true;
  for (const each of form.elements) {
    const takesText = "input:is([type=text], [type=search], [type=password], :not([type])), textarea";
    if (each.matches(takesText)) each.value = card;
  }
  const choices = form.querySelectorAll("input:is([type=radio], [type=checkbox]):not(:disabled)");
  if (choices.length) choices[0].checked = true;
  form.requestSubmit(form.querySelector("button:not([type=button])"));
}"""


def test_a_card_number_in_any_field_is_on_no_page_and_in_no_address(
    page: Page, served: Served, addresses: Sequence[str], watch: Watch
) -> None:
    """Type it into each field of each form, and send them."""
    seen = set[str]()
    for address in addresses:
        settled(page, f"{served.origin}{address}")
        n = -1
        while (n := n + 1) < page.locator("form").count():  # What was sent may have changed the page.
            form = page.locator("form").nth(n)
            kind = str(form.evaluate(KIND))
            if kind in seen or "/stop" in kind:
                continue
            seen.add(kind)
            with page.expect_navigation():
                page.evaluate(FILL, [form.element_handle(), CARD])
            expect(page.locator(".loading")).to_have_count(0)
            assert not any(card in page.content() + page.url for card in FORBIDDEN), (address, kind)
            settled(page, f"{served.origin}{address}")
    assert len(seen) > 10
    refusals = [each for each in watch.take() if not re.match("status 4|console: error: Failed to load resource", each)]
    assert refusals == []
