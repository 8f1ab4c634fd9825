"""
Fixtures for tests in a real browser; `make browser` runs them.

- `served`: a stack, both workers with health ports, and a console process, for the tests of a file. A file may have a
  stack of its own (`shown_stack`) and variables for its workers (`worker_variables`).
- `page`: a page of a fresh browser context, which has opened the console's address. At the end of the test everything
  is a failure that a page must never do; see `watching.Watch`, which `watch` is.
- `browser`: Chromium from the distribution's packages, for the session. `browser.new_context(...)` for other sizes.

Use `expect(locator)` to wait: under the console's CSP, `page.wait_for_function` fails.
"""

import contextlib
import os
import shutil
from collections.abc import Generator, Iterator, Mapping

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.browser.served import Served, new_console
from tests.browser.watching import Watch
from tests.conftest import WORKER_DEFAULTS
from tests.support import DeployedStack, free_port, run_worker

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
    with sync_playwright() as playwright, chromium(playwright) as browser:
        yield browser


@contextlib.contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Start the Chromium of this machine. Without one, end the run."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None or shutil.which(found) is None:
        pytest.exit(MISSING, returncode=1)
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=WAIT_MS)
    browser = playwright.chromium.launch(executable_path=found, args=[*QUIET, *sandbox], timeout=WAIT_MS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def shown_stack(stack: DeployedStack) -> DeployedStack:
    """The stack that the console shows: that of the session."""
    return stack


@pytest.fixture(scope="module")
def worker_variables() -> Mapping[str, str]:
    return {}


@pytest.fixture(scope="module")
def served(
    shown_stack: DeployedStack, worker_variables: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    logs = tmp_path_factory.mktemp("logs")
    with contextlib.ExitStack() as running:
        workers, endpoints = [], []
        for name in ("fulfillment", "escalation"):
            port = free_port()
            variables = {**WORKER_DEFAULTS, "WORKER_HEALTH_PORT": str(port), **worker_variables}
            environment = shown_stack.worker_environment() | variables
            workers.append(run_worker(name, environment, logs / f"{name}.log"))
            running.callback(workers[-1].kill)
            endpoints += ["--worker", f"{name}=http://127.0.0.1:{port}"]
        served = new_console(shown_stack, logs / "console.log", workers, *endpoints)
        running.callback(served.end)
        yield served


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
