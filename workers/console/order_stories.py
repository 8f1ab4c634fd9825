"""The story of one order, as its page shows it: read again while it is watched, more often while something runs."""

import asyncio
import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from workers.console.addresses import path
from workers.console.graph.path import read_path
from workers.console.graph.svg import Drawing, draw
from workers.errors import WorkerError
from workers.operations.errors import OperationError
from workers.operations.execution_events import read_history, read_own_definition
from workers.operations.executions import Execution
from workers.operations.next_step import next_step
from workers.operations.order_letters import Search, Subject, search
from workers.operations.sdk_errors import SDK_ERRORS
from workers.operations.stack import Stack
from workers.operations.story import Story, UnknownIdError, gather, stored
from workers.threads import in_thread

RUNNING_EVERY_S, IDLE_EVERY_S, AT_ONCE_S = 1.5, 10.0, 0.05
MAX_LOG_BYTES: Final = 4 * 2**20  # Of each file, from its end.


@dataclass(frozen=True, slots=True)
class Drawn:
    """The path of an *execution*, in its own workflow."""

    execution: Execution
    drawing: Drawing


@dataclass(frozen=True, slots=True)
class OrderStory:
    """
    What is known about an order: its *story*; if it is None, *missing* says that nothing is.

    Or, after edits in the table that left no order or case, only their items: *edited*. *looks*: dead letters are still
    to be looked at, so what to do next is not known yet.
    """

    story: Story | None = None
    missing: str | None = None
    edited: Sequence[Mapping[str, Any]] = ()
    next: str | None = None
    drawn: Drawn | None = None
    is_running: bool = False
    looks: bool = False


def every_s(told: OrderStory | None) -> float:
    """Return when to read the story again."""
    if told is not None and told.looks:
        return AT_ONCE_S
    return RUNNING_EVERY_S if told is not None and told.is_running else IDLE_EVERY_S


@dataclass(slots=True)
class OrderReader:
    """
    Reads one order again and again. *logs* are files with the workers' JSON lines.

    Looking at dead letters hides them from others for a moment. So they are only counted, and looked at when their
    number has changed; not by the first reading, which a person waits for, and never unless it *may_look*.
    """

    stack: Stack
    order_id: str
    logs: Sequence[Path] = ()
    may_look: bool = True
    _looked: Sequence[Search] = ()
    _counted_s: float = field(default=float("-inf"))
    _definitions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _drawn: Drawn | None = None
    _is_first: bool = True
    _looks: bool = False

    async def read(self) -> OrderStory:
        try:
            story = await gather(self.stack, self.order_id, map(_end_of, self.logs), look=self._look)
            now = self.stack.now()
            todo = None if self._looks else next_step(story, now)
        except UnknownIdError as error:
            return OrderStory(missing=str(error), looks=self._looks)
        except (AttributeError, KeyError, TypeError, ValueError):  # A person has edited them.
            items = await stored(self.stack, self.order_id)
            return OrderStory(edited=[item for item in items if item is not None])
        running = any(execution.is_running(now) for execution in story.executions)
        drawn = await self._draw(story.executions)
        return OrderStory(story, next=todo, drawn=drawn, is_running=running, looks=self._looks)

    async def _draw(self, executions: Sequence[Execution]) -> Drawn | None:
        """Draw the newest execution that is known, again only if it has gone on; None if it cannot be drawn."""
        known = [execution for execution in executions if execution.problem is None]
        if not known or (self._drawn is not None and self._drawn.execution == known[-1]):
            return self._drawn if known else None
        arn = known[-1].arn
        try:
            if arn not in self._definitions:
                self._definitions = {arn: await read_own_definition(self.stack, arn)}
            history = await read_history(self.stack, arn)
        except (*SDK_ERRORS, WorkerError, OperationError):  # Without access to them, the rest is still useful.
            return None
        if history is None:
            return None
        definition, page = self._definitions[arn], path("executions", known[-1].name, order=self.order_id)
        walked = read_path(history.raw, definition)
        drawing = await in_thread(
            partial(draw, definition, walked, title="The path of the newest execution", page=page)
        )
        self._drawn = Drawn(known[-1], drawing)
        return self._drawn

    async def _look(self, stack: Stack, subject: Subject) -> Sequence[Search]:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._counted_s < IDLE_EVERY_S and not self._looks:
            return self._looked
        counted: Sequence[Search] = await search(stack, subject, look=False)
        self._counted_s = now_s
        if _counts(counted) == _counts(self._looked):
            counted = tuple(map(_with_letters, counted, self._looked))
        elif self.may_look and any(_counts(counted)):
            self._looks, self._is_first = self._is_first, False
            counted = counted if self._looks else await search(stack, subject)
        self._looked = () if self._looks else counted
        return counted


def _counts(searches: Sequence[Search]) -> list[int]:
    return [each.approximate_count for each in searches]


def _with_letters(counted: Search, looked: Search) -> Search:
    return replace(
        counted, letters=looked.letters, looked_at=looked.looked_at, problem=counted.problem or looked.problem
    )


def _end_of(file: Path) -> BinaryIO:
    """Return the end of a log file, from the beginning of a line; nothing if it cannot be read."""
    with contextlib.suppress(OSError), file.open("rb") as log:
        size = log.seek(0, io.SEEK_END)
        log.seek(max(0, size - MAX_LOG_BYTES))
        text = log.read(MAX_LOG_BYTES)
        return io.BytesIO(text if size <= MAX_LOG_BYTES else text.partition(b"\n")[2])
    return io.BytesIO()
