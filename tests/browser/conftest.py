"""
Fixtures for tests in a real browser; `make browser` runs them.

- `served`: the session's stack, both workers with health ports, and a console process for one test.
- `page`: a page of a fresh browser context, which has opened the console's address. At the end of the test everything
  is a failure that a page must never do; see `watching.Watch`, which `watch` is.
- `browser`: Chromium from the distribution's packages, for the session. `browser.new_context(...)` for other sizes.

Use `expect(locator)` to wait: under the console's CSP, `page.wait_for_function` fails.
"""

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.served import Served, new_console
from tests.browser.watching import Watch
from tests.support import DeployedStack, StartWorker, free_port

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "There is no Chromium: install it (Debian and Ubuntu: apt-get install chromium), or set CHROMIUM to its path"
WAIT_MS = 60_000  # On a busy machine; on an idle one nothing takes a second.
# It asks nobody but the console.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a browser test that is skipped fail: then nothing was tested."""
    report = yield
    if report.skipped and item.get_closest_marker("browser"):
        report.outcome, report.longrepr = "failed", f"a browser test was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None or shutil.which(found) is None:
        pytest.exit(MISSING, returncode=1)
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*QUIET, *sandbox], timeout=WAIT_MS)
        yield browser
        browser.close()


@pytest.fixture
def served(stack: DeployedStack, start_worker: StartWorker, tmp_path: Path) -> Iterator[Served]:
    ports = {name: free_port() for name in ("fulfillment", "escalation")}
    for name, port in ports.items():
        start_worker(name, env={"WORKER_HEALTH_PORT": str(port)})
    workers = [each for name, port in ports.items() for each in ("--worker", f"{name}=http://127.0.0.1:{port}")]
    served = new_console(stack, tmp_path / "console.log", *workers)
    yield served
    served.end()


@pytest.fixture
def watch(served: Served) -> Iterator[Watch]:
    watch = Watch(served.origin)
    yield watch
    assert watch.troubles == []


@pytest.fixture
def context(browser: Browser, watch: Watch) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(WAIT_MS)
    watch.follow(context)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, served: Served) -> Page:
    page = context.new_page()
    page.goto(served.address)
    return page
