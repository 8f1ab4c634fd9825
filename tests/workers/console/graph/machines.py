"""State machines to draw: ours, random ones, and histories of executions."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from workers.console.graph.layout import Box, Layout, Route

DEFINITIONS = ("order-fulfillment", "stuck-order-sweep", "bulk-order-intake")
STARTED = datetime(2026, 11, 26, 6, 58, 11, tzinfo=UTC)
_FOLDER = Path(__file__).parents[4] / "statemachine"


def definition(name: str) -> dict[str, Any]:
    """Return one of our definitions. What the template fills in stands as it is in texts, and is 40 elsewhere."""
    text = (_FOLDER / f"{name}.asl.json").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(re.sub(r": \$\{\w+\}(?=[,\n])", ": 40", text))
    return parsed


def machine(*, depth: int = 1, random: Random, prefix: str = "State") -> dict[str, Any]:
    """Return a random machine: choices, errors that are caught, ways back, machines in machines, ends of all kinds."""
    names = [f"{prefix} {number}" + " of a long name" * random.randint(0, 2) for number in range(random.randint(1, 12))]
    states: dict[str, Any] = {}
    for number, name in enumerate(names):
        later = names[number + 1 :]
        kinds = ["Task", "Task", "Pass", "Wait"] + ["Choice"] * (2 if later else 0)
        kinds += [] if later else ["Fail", "Succeed"]
        kinds += ["Map", "Parallel"] if depth else []
        states[name] = _state(random.choice(kinds), name, names, later, depth=depth, random=random)
    return {"StartAt": names[0], "States": states}


def _state(kind: str, name: str, names: list[str], later: list[str], *, depth: int, random: Random) -> dict[str, Any]:
    state: dict[str, Any] = {"Type": kind}
    if kind in {"Fail", "Succeed"}:
        return state
    if kind == "Choice":
        rules = range(random.randint(1, 4))
        targets = [random.choice(later if random.random() < 0.8 else names) for _ in rules]
        comments = [{"Comment": "a rule " * random.randint(1, 6)} if random.random() < 0.6 else {} for _ in rules]
        choices = [{"Next": target} | comment for target, comment in zip(targets, comments, strict=True)]
        return state | {"Choices": choices, "Default": random.choice(later)}
    state |= {"Next": random.choice(later[:3])} if later and random.random() < 0.85 else {"End": True}
    if kind == "Task":
        service = random.choice(["dynamodb:putItem", "aws-sdk:sqs:sendMessage", "lambda:invoke"])
        state["Resource"] = f"arn:aws:states:::{service}"
    if kind == "Map":
        state["ItemProcessor"] = machine(depth=depth - 1, random=random, prefix=f"{name} inside")
    if kind == "Parallel":
        branches = range(random.randint(1, 3))
        state["Branches"] = [machine(depth=depth - 1, random=random, prefix=f"{name} {each}") for each in branches]
    if kind in {"Task", "Map", "Parallel"}:
        errors = [["States.ALL"], ["Own.Error", "States.Timeout"], ["A.B", "C.D", "E.F", "G.H"]]
        catches = random.sample(errors, random.choice([0, 0, 1, 1, 2, 3]))
        state["Catch"] = [{"ErrorEquals": each, "Next": random.choice(later or names)} for each in catches]
    return state


class History:
    """Writes the history of an execution, as AWS does: each event names the one before it in its branch."""

    def __init__(self, *, is_local: bool = False) -> None:
        self.events: list[dict[str, Any]] = []
        self._is_local = is_local
        self.add("ExecutionStarted")

    def add(self, kind: str, after: int | None = None, **details: Any) -> int:
        """Add an event after the last one or another one, and return its id."""
        number = len(self.events) + 1
        event: dict[str, Any] = {"id": number, "type": kind, "timestamp": STARTED + timedelta(seconds=number - 1)}
        event |= details
        first = kind == "ExecutionStarted" or self.events[-1]["type"] == "ExecutionStarted"
        if not self._is_local:
            event["previousEventId"] = (0 if first else number - 1) if after is None else after
        self.events.append(event)
        return number

    def enter(self, name: str, kind: str = "Task", after: int | None = None) -> int:
        return self.add(f"{kind}StateEntered", after, stateEnteredEventDetails={"name": name})

    def exit(self, name: str, kind: str = "Task", after: int | None = None) -> int:
        return self.add(f"{kind}StateExited", after, stateExitedEventDetails={"name": name})

    def passed(self, name: str, kind: str = "Pass", after: int | None = None) -> int:
        self.enter(name, kind, after)
        return self.exit(name, kind)

    def tried(self, *, failures: int = 0, succeeds: bool = True, error: str = "Lambda.Down", cause: str = "") -> int:
        for _ in range(failures):
            self.add("TaskScheduled")
            self.add("TaskStarted")
            self.add("TaskFailed", taskFailedEventDetails={"error": error, "cause": cause})
        if succeeds:
            self.add("TaskScheduled")
            self.add("TaskSucceeded")
        return len(self.events)

    def task(self, name: str, *, failures: int = 0, succeeds: bool = True, after: int | None = None) -> int:
        """A task that failed so often, and then succeeded or not."""
        self.enter(name, after=after)
        self.tried(failures=failures, succeeds=succeeds)
        return self.exit(name)

    def iteration(self, name: str, index: int, kind: str, after: int | None = None) -> int:
        details = {f"mapIteration{kind}EventDetails": {"name": name, "index": index}}
        return self.add(f"MapIteration{kind}", after, **details)


def pieces(route: Route) -> Iterator[tuple[float, float, float, float]]:
    """Yield the left, top, right and bottom of each straight piece of a line."""
    for (x1, y1), (x2, y2) in zip(route.points, route.points[1:], strict=False):
        yield min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def around(layout: Layout) -> dict[str, set[str]]:
    """Return for each box which boxes it is inside, and itself, by their ids."""
    found: dict[str, set[str]] = {box.node.id: {box.node.id} for box in layout.boxes}

    def add(box: Box) -> None:
        for machine in box.node.inside:
            for inner, _ in machine.walk():
                found[inner.id].add(box.node.id)

    for box in layout.boxes:
        add(box)
    return found
