"""
Makes the pictures of the web console, from a real console on a local AWS with both workers: `make pictures`.

    .venv/bin/python -m tests.browser.pictures

Times, ages and random ids in them are those of that run. Nothing compares them with the pages of today: make them again
when a page has changed, and look at them.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, ViewportSize, expect, sync_playwright
from rich.console import Console

from deploy.aws import Aws
from deploy.local.aws import ROOT, local_aws
from deploy.progress import Progress
from deploy.stacks import pipeline
from tests.browser.conftest import WAIT_MS, chromium
from tests.browser.orders import Day, order, sample
from tests.browser.png import with_palette
from tests.browser.served import Served, new_console
from tests.browser.world import BROKEN
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployedStack, free_port, run_worker
from workers.testing.sdk import REGION

IMAGES = ROOT / "docs" / "images"
SIZE: ViewportSize = {"width": 1_280, "height": 800}
NAMES = ("Ada Lovelace", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov")
ITEMS = ("Road bicycle", "Mountain bicycle", "City bicycle", "Cargo bicycle", "Folding bicycle")
BURST, SECONDS_OF_HISTORY = 40, 45


@dataclass(frozen=True)
class Picture:
    """A page of the console: *open* leads to it."""

    open: Callable[[Page, Served], object]
    scheme: Literal["light", "dark"] = "light"
    height: int = 800


def _at(path: str) -> Callable[[Page, Served], object]:
    return lambda page, served: page.goto(f"{served.origin}{path}")


def _preview(page: Page, served: Served) -> None:
    page.goto(f"{served.origin}/cases/bike-2/resolve")
    page.get_by_role("radio", name=re.compile("^resubmit")).check()
    page.get_by_label("Price").fill("123")
    page.get_by_label("Note").fill("the price was a typo")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_label("Card number")).to_be_visible()


PICTURES: Mapping[str, Picture] = {
    "console-queues.png": Picture(_at("/queues"), "dark", height=780),
    "console-execution.png": Picture(_at("/executions/order-bike-0"), height=1_000),
    "console-execution-dark.png": Picture(_at("/executions/order-bike-0"), "dark", height=1_000),
    "console-overview.png": Picture(_at("/")),
    "console-workflow.png": Picture(_at("/workflow"), height=1_000),
    "console-cases.png": Picture(_at("/cases")),
    "console-case.png": Picture(_at("/cases/bike-2"), height=900),
    "console-order.png": Picture(_at("/orders/bike-1"), height=900),
    "console-resolve.png": Picture(_preview, height=720),
}


@contextlib.contextmanager
def running() -> Iterator[tuple[Day, Served]]:
    """Run the stack, a slow provider, both workers and a console."""
    with local_aws(wait_scale=0.1) as aws, tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as started:
        folder = Path(made)
        deployment = pipeline.up(Aws.of(aws.client, REGION), "", Progress(quiet=True))
        stack = DeployedStack(aws, "", deployment.outputs)
        slow = {"FULFILLMENT_PROVIDER": "tests.chaos.providers:Slow", "CHAOS_SHIP_S": "1", "CHAOS_DIRECTORY": made}
        endpoints = list[str]()
        for name in ("fulfillment", "escalation"):
            port = str(free_port())
            own = {"WORKER_WAIT_S": "1", "WORKER_HEALTH_PORT": port, "WORKER_CONCURRENCY": "2", **slow}
            worker = run_worker(name, stack.worker_environment() | own, folder / f"{name}.log")
            started.callback(worker.kill)
            worker.wait_for("worker.started")
            endpoints += ["--worker", f"{name}=http://127.0.0.1:{port}"]
        served = new_console(stack, folder / "console.log", (), *endpoints)
        started.callback(served.end)
        yield Day(Pipeline(stack)), served


def happen(day: Day, page: Page, served: Served) -> None:
    """Let a few minutes of work happen, while the page of the queues is watched: its plots show it."""
    page.goto(f"{served.origin}/queues")
    day.replace_function(BROKEN)
    day.submit(order("bike-0", Name=NAMES[0], ItemName=ITEMS[0]), "order-bike-0")
    day.wait_for_cases("bike-0")
    day.restore()
    for n, order_id in enumerate(("001", "002", "003", "004")):
        given = sample(order_id) | {"OrderId": f"bike-{n + 1}"}
        day.submit(given, f"order-{given['OrderId']}")
    day.submit({"OrderId": "bike-5", "ItemName": ITEMS[1]}, "order-bike-5")
    for n in range(BURST):
        day.submit(order(f"order-{n:03}", Name=NAMES[n % 5], ItemName=ITEMS[n % 5]))
    day.wait_for_cases("bike-2")
    day.send_dead_letter("please check!", Reason="UNDECODABLE_MESSAGE")
    page.wait_for_timeout(SECONDS_OF_HISTORY * 1_000)
    for n in range(BURST // 2):
        wrong = {"Price": "-5"} if n % 7 == 3 else {}
        day.submit(order(f"again-{n:03}", Name=NAMES[n % 5], ItemName=ITEMS[n % 5], **wrong))
    wait_until(lambda: day.pipeline.status("bike-1") == "FULFILLED")


def main() -> None:
    with running() as (day, served), sync_playwright() as playwright, chromium(playwright) as browser:
        page = browser.new_context(viewport=SIZE).new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(served.address)
        happen(day, page, served)
        for name, picture in PICTURES.items():
            page.set_viewport_size({**SIZE, "height": picture.height})
            page.emulate_media(color_scheme=picture.scheme, reduced_motion="reduce")
            picture.open(page, served)
            expect(page.locator(".loading")).to_have_count(0)
            page.mouse.move(0, 0)
            page.wait_for_timeout(1_500)
            (IMAGES / name).write_bytes(with_palette(page.screenshot()))
            Console().print(IMAGES / name)


if __name__ == "__main__":
    main()
