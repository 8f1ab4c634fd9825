"""What an execution's page shares among its viewers: the execution, its history, its order and its case."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from workers.aws.errors import translate
from workers.console.graph.path import Path, read_path
from workers.console.graph.svg import Drawing, draw
from workers.errors import AccessDeniedError
from workers.operations.execution_events import (
    History,
    MapRun,
    Run,
    find_run,
    read_history,
    read_map_runs,
    read_own_definition,
    read_run,
)
from workers.operations.execution_orders import Linked, find_orders, is_order_of, read_linked
from workers.operations.sdk_errors import ClientError
from workers.operations.stack import Stack
from workers.operations.workflow import Kind
from workers.threads import in_thread

EVERY_S = 1.5
_ORDER_WITHIN = timedelta(minutes=10)  # After an execution has ended, its order is in the index of that time.
_MAX_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Watched:
    """
    An execution; *run* is None if there is none.

    *knows_order*: its order was looked for; otherwise that is still to come.
    """

    run: Run | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    history: History = field(default_factory=History)
    path: Path = field(default_factory=Path)
    drawing: Drawing | None = None
    map_runs: Sequence[MapRun] = ()
    linked: Linked = field(default_factory=Linked)
    knows_order: bool = True

    @property
    def is_last(self) -> bool:
        """Whether it does not change any more."""
        return self.run is None or (not self.run.is_running and self.knows_order)


@dataclass(slots=True)
class ExecutionReader:
    """
    Reads the execution that *given* is the name or the ARN of.

    *order_id* is the id that a link or a person named: it is used only if the execution's name agrees.
    """

    stack: Stack
    given: str
    kind: Kind | None = None
    order_id: str | None = None
    _run: Run | None = None
    _definition: Mapping[str, Any] = field(default_factory=dict)
    _history: History | None = None
    _drawn: tuple[History, Path, Drawing] | None = None
    _order: str | None = None
    _looks: int = -1  # The first reading does not look for the order: that may take longer than the rest.

    async def read(self) -> Watched:
        run = await self._read_run()
        if run is None:
            return Watched()
        if not self._definition:
            self._definition = await read_own_definition(self.stack, run.arn)
        history = await self._read_history(run)
        if history is None:
            return Watched()
        runs, (knows_order, linked) = await asyncio.gather(self._map_runs(history, run), self._about_order(run))
        self._run = run
        path, drawing = await self._draw(history)
        return Watched(run, self._definition, history, path, drawing, runs, linked, knows_order)

    async def _about_order(self, run: Run) -> tuple[bool, Linked]:
        """Return whether the order was looked for, and what is known. Who may not read orders sees the execution."""
        try:
            return await self._find_order(run), await self._linked(run)
        except ClientError as error:
            if not isinstance(translate(error), AccessDeniedError):
                raise
            return True, Linked()

    async def _draw(self, history: History) -> tuple[Path, Drawing]:
        """Return the path and its drawing; both only change with the history."""
        if self._drawn is None or len(self._drawn[0].raw) != len(history.raw):
            path = read_path(history.raw, self._definition)
            drawing = await in_thread(partial(draw, self._definition, path, title="The path of the execution"))
            self._drawn = history, path, drawing
        return self._drawn[1:]

    async def _read_run(self) -> Run | None:
        if self._run is None:
            return await find_run(self.stack, self.given, self.kind)
        # An execution that has ended may be redriven: it is looked at again, but not its history.
        return await read_run(self.stack, self._run.kind, self._run.arn)

    async def _read_history(self, run: Run) -> History | None:
        if self._history is None or run != self._run:
            # Read after the execution's status: the history of one that has ended is complete.
            self._history = await read_history(self.stack, run.arn)
            return self._history
        if run.is_running:
            self._history = await read_history(self.stack, run.arn)
        return self._history

    async def _find_order(self, run: Run) -> bool:
        """Look for the order; return whether that is done."""
        if run.kind is not Kind.ORDERS:
            return True
        if self._order is None and self.order_id is not None and await is_order_of(self.stack, self.order_id, run.arn):
            self._order = self.order_id
        if self._order is not None or self._looks >= _MAX_LOOKS:
            return True
        self._looks += 1
        if self._looks:
            until = (run.ended or self.stack.now()) + _ORDER_WITHIN
            self._order = (await find_orders(self.stack, [run.arn], run.started, until)).get(run.arn)
            if not run.is_running:
                self._looks = _MAX_LOOKS
        return self._order is not None or self._looks >= _MAX_LOOKS

    async def _linked(self, run: Run) -> Linked:
        return await read_linked(self.stack, run.arn, self._order) if run.kind is Kind.ORDERS else Linked()

    async def _map_runs(self, history: History, run: Run) -> Sequence[MapRun]:
        has_runs = any(event["type"] == "MapRunStarted" for event in history.raw) or run.kind is Kind.INTAKE
        return await read_map_runs(self.stack, run.arn) if has_runs else ()
