"""
What `orders status` prints. The screens are in `screens/`.

In the coloured ones, `<bold red>` begins a style and `</>` ends it.
"""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.json_documents import check
from tests.workers.cli.console import done, run
from tests.workers.operations.status_world import ESCALATION, FULFILLMENT, World, ago, busy
from workers.aws.pauses import PAUSED_TAG
from workers.cli import status
from workers.cli.status_view import _queue, _service, screen
from workers.cli.tables import print_styled
from workers.operations.stack import Stack
from workers.operations.status import QueueStatus, ServiceState, ServiceStatus
from workers.operations.status_endpoints import Endpoint
from workers.operations.status_reader import StatusReader

SCREENS = Path(__file__).parent / "screens"
STYLES = {
    "0": "/",
    "1": "bold",
    "1;31": "bold red",
    "2": "dim",
    "32": "green",
    "33": "yellow",
    "35": "magenta",
    "36": "cyan",
}
URLS = "fulfillment=http://127.0.0.1:8081 escalation=http://127.0.0.1:8082"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """A system in the middle of a bad day, to which the command connects."""
    found = busy()

    def reader(_stack: Stack, endpoints: tuple[Endpoint, ...]) -> StatusReader:
        return found.reader(*endpoints)

    monkeypatch.setattr("workers.operations.status_reader.StatusReader", reader)
    monkeypatch.setenv("WORKER_HEALTH_URLS", URLS)
    return found


def unknown() -> World:
    """Return a system of which nothing can be known but that one worker does not run."""
    world = World(cases=TimeoutError(), hanging={"query", "get_queue_attributes", "get_metric_data"})
    world.pages[f"{ESCALATION.url}/healthz"] = TimeoutError()
    return world


def paused() -> World:
    """Return a system whose orders wait because a person wants that."""
    world = busy()
    world.tags["OrderFulfillmentQueue"] = {PAUSED_TAG: f"{ago(minutes=20)}/ada/the provider changes its prices"}
    return world


WORLDS: dict[str, Callable[[], World]] = {"busy": busy, "paused": paused, "unknown": unknown}


@pytest.mark.parametrize(("columns", "colour"), [(80, False), (80, True), (120, False), (120, True), (None, False)])
@pytest.mark.parametrize("name", WORLDS)
async def test_the_screen_is_as_in_the_file(
    monkeypatch: pytest.MonkeyPatch, name: str, columns: int | None, *, colour: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for variable in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    reader = WORLDS[name]().reader(FULFILLMENT, ESCALATION)
    now = await reader.read()
    terminal: io.StringIO = Terminal() if columns else io.StringIO()
    with monkeypatch.context() as replaced:
        replaced.setattr(sys, "stdout", terminal)
        print_styled(screen(now, columns))
    text = re.sub(r"\x1b\[([0-9;]*)m", lambda found: f"<{STYLES[found[1]]}>", terminal.getvalue())
    if not colour:
        text = re.sub(r"<[a-z/ ]+>", "", text)  # NO_COLOR leaves bold and dim.
        assert all(len(line) <= (columns or 200) for line in text.splitlines())
    file = SCREENS / f"status-{name}-{columns or 'pipe'}{'-colour' if colour else ''}.txt"
    assert text == file.read_text("utf-8")


def test_a_pipe_gets_one_block(world: World) -> None:
    ran = done(status.command, stack=world.stack())
    assert ran.stdout == (SCREENS / "status-busy-pipe.txt").read_text("utf-8")


def test_json_has_everything(world: World) -> None:
    document = json.loads(done(status.command, "--json", stack=world.stack()).stdout)
    assert document["workers"][0]["held"] is True
    assert document["queues"][0]["drained_per_second"] is None
    assert document["orders"][2] == {
        "status": "FULFILLED",
        "orders": 241,
        "at_least": False,
        "today": True,
        "oldest_at": None,
    }
    assert document["needs"][1]["command"] == "orders escalations list --severity critical"


def test_what_is_unknown_is_null_and_ends_with_0(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKER_HEALTH_URLS")
    world.cases = TimeoutError()
    document = json.loads(done(status.command, "--json", stack=world.stack()).stdout)
    assert [worker["state"] for worker in document["workers"]] == ["unknown", "unknown"]
    assert (document["workers"][0]["held"], document["queues"][0]["oldest_s"]) == (None, None)
    assert document["unknown"]


class Interrupt:
    """Presses Ctrl-C at the third look, after the first one has waited between its two samples."""

    def __init__(self, world: World) -> None:
        self.waited: list[float] = []
        world.sleep = self.sleep

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        if len(self.waited) == 4:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("arguments", "every_s"), [((), 5), (("30",), 30)])
def test_watching_in_a_pipe_prints_a_block_at_a_time_until_ctrl_c(
    world: World, arguments: tuple[str, ...], every_s: int
) -> None:
    interrupt = Interrupt(world)
    ran = done(status.command, "--watch", *arguments, stack=world.stack())
    assert interrupt.waited == [1, *[every_s] * 3]
    assert ran.stdout.count("NEEDS A PERSON NOW") == 3
    assert ran.stdout.endswith("\n\n")


def test_watching_in_json_prints_a_document_a_line(world: World) -> None:
    Interrupt(world)
    ran = CliRunner().invoke(status.command, ["--watch", "--json"], obj=world.stack())
    assert (ran.exception, ran.exit_code) == (None, 0)
    lines = ran.stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        check("status", line)


def drawn(columns: int, lines: int, shown: status.Screen) -> list[str]:
    console = Console(width=columns, height=lines, file=Terminal(), force_terminal=True, color_system=None)
    return ["".join(part.text for part in line).rstrip() for line in console.render_lines(shown, pad=False)]


async def test_a_terminal_shows_as_many_lines_as_it_has_whatever_its_size_becomes() -> None:
    shown = status.Screen()
    assert drawn(80, 10, shown) == ["reading ..."]
    shown.status = await busy().reader(FULFILLMENT, ESCALATION).read()
    whole = list(screen(shown.status, 120))
    assert len(drawn(120, 100, shown)) == len(whole)
    for columns, lines in ((120, 12), (80, 12), (40, 5), (20, 3), (1, 1)):
        found = drawn(columns, lines, shown)
        assert len(found) == lines
        assert all(len(line) <= columns for line in found)
    assert drawn(80, 12, shown)[-1].endswith("more lines on a higher terminal")


@pytest.mark.parametrize(
    "value",
    [
        "fulfillment",
        "my worker=http://127.0.0.1:1",
        "=http://127.0.0.1:1",
        "fulfillment=127.0.0.1:8081",
        "fulfillment=ftp://127.0.0.1",
        "fulfillment=http://",
        "fulfillment=http://127.0.0.1:99999",
        "fulfillment=http://127.0.0.1:8081/metrics",
        "fulfillment=http://ada@127.0.0.1:8081",
    ],
)
def test_a_wrong_address_of_a_worker_is_wrong_usage(value: str) -> None:
    ran = run(status.command, "--worker", value)
    assert ran.exit_code == 2
    assert (
        "must be a worker and the address of its health port, such as fulfillment=http://127.0.0.1:8081" in ran.stderr
    )


@pytest.mark.parametrize("value", ["0", "3601", "soon"])
def test_a_wrong_interval_is_wrong_usage(value: str) -> None:
    assert run(status.command, "--watch", value).exit_code == 2


def test_addresses_are_those_of_the_option_before_those_of_the_variable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Endpoint, ...]] = []

    def reader(_stack: Stack, endpoints: tuple[Endpoint, ...]) -> StatusReader:
        asked.append(endpoints)
        return world.reader(*endpoints)

    monkeypatch.setattr("workers.operations.status_reader.StatusReader", reader)
    done(status.command, stack=world.stack())
    done(status.command, "--worker", "escalation-2=http://10.0.0.7:8080/", stack=world.stack())
    assert asked == [(FULFILLMENT, ESCALATION), (Endpoint("escalation-2", "http://10.0.0.7:8080"),)]


@pytest.mark.parametrize("value", ["fulfillment=http://ada:s3cret@host:1", "fulfillment=https://host/?key=s3cret"])
def test_a_secret_in_a_wrong_address_is_not_repeated(value: str) -> None:
    ran = run(status.command, "--worker", value)
    assert (ran.exit_code, "s3cret" in ran.output, "***" in ran.stderr) == (2, False, True)


@pytest.mark.parametrize(
    ("error", "at", "shown"),
    [("refused", "2026-11-22T09:55:00Z", "refused (5m ago)"), ("refused", None, "refused"), (None, None, "-")],
)
def test_the_last_error_of_a_service_has_its_age_if_that_is_known(
    error: str | None, at: str | None, shown: str
) -> None:
    service = ServiceStatus(service="provider", state=ServiceState.UP, last_error=error, last_error_at=at)
    assert _service(service, "2026-11-22T10:00:00Z") == ["provider", "up", "-", "-", shown]


@pytest.mark.parametrize(
    ("drained", "empty_in_s", "speed", "empty_in"),
    [(0.0, None, "0.0/s", "-"), (0.5, 600, "0.5/s", "10m"), (-0.25, None, "grows 0.2/s", "-")],
)
def test_a_queue_gets_shorter_or_longer(drained: float, empty_in_s: int | None, speed: str, empty_in: str) -> None:
    queue = QueueStatus(
        queue="Q", depth=7, in_flight=1, delayed=0, oldest_s=120, drained_per_second=drained, empty_in_s=empty_in_s
    )
    assert _queue(queue) == ["Q", "7", "1", "0", "2m", speed, empty_in, "unknown"]
