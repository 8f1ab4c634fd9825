"""What the workflow's page shares among its viewers: recent executions, their orders, and which ways they took."""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from workers.console.graph.path import Path, read_path
from workers.console.graph.svg import Drawing, draw
from workers.errors import WorkerError
from workers.operations.concurrency import in_parallel
from workers.operations.execution_events import read_history
from workers.operations.execution_orders import find_orders
from workers.operations.sdk_errors import SDK_ERRORS
from workers.operations.stack import Stack
from workers.operations.workflow import Kind, Listed, Machine, Recent, read_machine, read_recent
from workers.threads import in_thread

OF_HEAT = 50  # Executions whose ways are counted.
EVERY_S = 10.0
_MAX_KEPT = 500  # Paths and orders that are remembered, of those looked at last.
_MAX_LOOKS = 2  # For the order of one execution: its order may be recorded a moment later.
_PATIENCE_S = 0.5  # Among very many orders, a search takes longer; then the next reading has what it found.
_CONCURRENCY = 8
_MAX_HEAT_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class Workflow:
    """
    A state machine and its recent executions.

    *drawing* says how many of *read* executions took each line; *orders* has OrderIds by the executions' ARNs, and
    *is_searching* says that more may be found.
    """

    machine: Machine
    recent: Recent
    drawing: Drawing
    read: int
    orders: Mapping[str, str]
    is_searching: bool


@dataclass(slots=True)
class RecentReader:
    """Reads a state machine and its executions. The history of an execution that has ended is read only once."""

    stack: Stack
    kind: Kind
    _paths: "OrderedDict[str, Path]" = field(default_factory=OrderedDict)
    _orders: "OrderedDict[str, str]" = field(default_factory=OrderedDict)
    _looks: Counter[str] = field(default_factory=Counter)
    _search: asyncio.Task[None] | None = None
    _drawn: tuple[Machine, Counter[tuple[str, str]], Drawing] | None = None

    async def read(self) -> Workflow:
        machine = await read_machine(self.stack, self.kind)
        recent = await read_recent(self.stack, self.kind)
        paths = await self._read_paths([run for run in recent.runs if not run.is_running][:OF_HEAT], machine)
        if self.kind is Kind.ORDERS:
            self._search = self._search or asyncio.create_task(self._find_orders(recent.runs), name="console-orders")
            done, _ = await asyncio.wait({self._search}, timeout=_PATIENCE_S)
            if done:
                search, self._search = self._search, None
                with contextlib.suppress(*SDK_ERRORS, WorkerError):  # Without them, the rest is still useful.
                    await search
        heat = Counter(line for path in paths for line in path.lines)
        if self._drawn is None or self._drawn[:2] != (machine, heat):  # It takes longer than all the rest.
            title = f"The states of {machine.name}"
            self._drawn = machine, heat, await in_thread(partial(draw, machine.definition, heat=heat, title=title))
        searching = self._search is not None
        return Workflow(machine, recent, self._drawn[2], len(paths), dict(self._orders), searching)

    async def _read_paths(self, runs: Sequence[Listed], machine: Machine) -> list[Path]:
        async def read(arn: str) -> tuple[str, Path | None]:
            history = await read_history(self.stack, arn, at_most=_MAX_HEAT_EVENTS)
            return arn, None if history is None else read_path(history.raw, machine.definition)

        missing = [run.arn for run in runs if run.arn not in self._paths]
        async with aclosing(in_parallel(read, missing, at_most=_CONCURRENCY)) as found:
            async for arn, path in found:
                if path is not None:
                    self._paths[arn] = path
        kept = [self._paths[run.arn] for run in runs if run.arn in self._paths]
        for run in reversed(runs):
            if run.arn in self._paths:
                self._paths.move_to_end(run.arn)
        _cut(self._paths)
        return kept

    async def _find_orders(self, runs: Sequence[Listed]) -> None:
        unknown = [run for run in runs[:OF_HEAT] if run.arn not in self._orders and self._looks[run.arn] < _MAX_LOOKS]
        if not unknown:
            return
        arns = [run.arn for run in unknown]
        self._orders |= await find_orders(self.stack, arns, min(run.started for run in unknown))
        _cut(self._orders)
        listed = {run.arn for run in runs}
        self._looks = Counter({arn: looks for arn, looks in self._looks.items() if arn in listed})
        self._looks.update(arns)


def _cut(kept: "OrderedDict[str, Path] | OrderedDict[str, str]") -> None:
    while len(kept) > _MAX_KEPT:
        kept.popitem(last=False)
