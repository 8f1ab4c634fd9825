"""
Whole drawings, as recorded: whatever moves, appears or disappears in one is seen.

The drawings are in drawings/*.svg, an element a line, to be looked at in a browser. Record them again with

    RECORD_DRAWINGS=1 .venv/bin/python -m pytest tests/workers/console/graph/test_drawings.py

and look at the difference before you commit it.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.workers.console.graph.machines import DEFINITIONS, History, definition, machine
from workers.console.graph.path import Path as Taken
from workers.console.graph.path import read_path
from workers.console.graph.svg import Drawing, draw

DRAWINGS = Path(__file__).with_name("drawings")
ORDER = definition("order-fulfillment")


def running() -> Taken:
    history = History()
    history.passed("Check the order", "Choice")
    history.task("Update the order table", failures=1)
    history.enter("Are details Proper", "Task")
    return read_path(history.events)


def caught() -> Taken:
    history = History()
    history.passed("Check the order", "Choice")
    history.task("Update the order table")
    history.task("Are details Proper", failures=3, succeeds=False)
    history.task("Put message in Escalation Queue")
    history.add("ExecutionSucceeded")
    return read_path(history.events)


def failed() -> Taken:
    history = History()
    history.passed("Check the order", "Choice")
    history.task("Put malformed order in Escalation Queue")
    history.enter("Order is malformed", "Fail")
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "MalformedOrder"})
    return read_path(history.events)


def items() -> Taken:
    history = History()
    history.passed("Ask for ages and outages", "Parallel")
    history.enter("Look for stuck orders", "Map")
    started = history.add("MapStateStarted")
    for index in range(1_200):
        after = history.iteration("Look for stuck orders", index, "Started", after=started)
        history.task("Query a shard", failures=int(index < 3), after=after)
        history.iteration("Look for stuck orders", index, "Succeeded")
    return read_path(history.events)


def often(path: Taken) -> dict[tuple[str, str], int]:
    return {line: 10**number for number, line in enumerate(sorted(path.lines))}


DRAWN: dict[str, Callable[[], Drawing]] = {
    **{name: partial(draw, definition(name), title=name) for name in DEFINITIONS},
    "running": lambda: draw(ORDER, running()),
    "caught": lambda: draw(ORDER, caught(), prefix="path"),
    "failed": lambda: draw(ORDER, failed()),
    "heat": lambda: draw(ORDER, heat=often(caught())),
    "items": lambda: draw(definition("stuck-order-sweep"), items(), page="/executions/run"),
    "items-heat": lambda: draw(definition("stuck-order-sweep"), heat=often(items())),
    "nested": lambda: draw(machine(random=Random(260))),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_is_as_recorded(name: str) -> None:
    path, drawing = DRAWINGS / f"{name}.svg", DRAWN[name]()
    lines = str(drawing.svg).replace("><", ">\n<")
    if os.environ.get("RECORD_DRAWINGS"):
        path.write_text(f"{lines}\n", encoding="utf-8")
    assert f"{lines}\n" == path.read_text(encoding="utf-8")
