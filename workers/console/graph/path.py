"""
Reads the path of an execution from its history: the events of GetExecutionHistory, without execution data.

The history may be incomplete: the execution still runs, or only its first events were read.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workers.console.graph.definition import END, START
from workers.console.graph.visits import Outcome, Path, Visit, summary
from workers.domain.text import clean

__all__ = ["MAX_CAUSE", "Outcome", "Path", "Visit", "read_path"]

MAX_CAUSE = 300
_ENTERED, _EXITED = "StateEntered", "StateExited"
_CONTAINERS = ("Map", "Parallel")
_TRIES = {"TaskScheduled", "LambdaFunctionScheduled", "ActivityScheduled"}
_STARTS_INSIDE = {"MapIterationStarted", "ParallelStateStarted"}
_ENDS = {
    "ExecutionSucceeded": Outcome.SUCCEEDED,
    "ExecutionFailed": Outcome.FAILED,
    "ExecutionAborted": Outcome.ABORTED,
    "ExecutionTimedOut": Outcome.TIMED_OUT,
}


def read_path(events: Iterable[Mapping[str, Any]], definition: Mapping[str, Any] | None = None) -> Path:
    """
    Return the path that *events* of a history describe, the oldest first.

    With the *definition* of the execution, an error that a Map or Parallel state caught is known also on a local AWS,
    whose history has no events from inside them.
    """
    history = _History(definition or {})
    for event in events:
        history.add(event)
    return history.path()


@dataclass(slots=True, eq=False)
class _Visit:
    """A visit while the history is read. *outcome* is None while it runs; *failure* is that of the last try."""

    name: str
    kind: str
    entered: datetime
    container: "_Visit | None"
    source: "_Visit | None"
    tries: int = 0
    left: datetime | None = None
    outcome: Outcome | None = None
    failure: Outcome | None = None
    error: str | None = None
    cause: str | None = None
    next: str | None = None

    def within(self) -> Iterator["_Visit"]:
        """Yield this visit and those it is inside, the innermost first."""
        visit: _Visit | None = self
        while visit:
            yield visit
            visit = visit.container

    def start_try(self) -> None:
        self.tries += 1
        self.failure = None
        for visit in self.within():
            if visit.outcome in {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.ABORTED}:  # The execution was redriven.
                visit.outcome, visit.left = None, None

    def fail_try(self, event: Mapping[str, Any]) -> None:
        self.failure = Outcome.TIMED_OUT if event["type"].endswith("TimedOut") else Outcome.FAILED
        self.error, self.cause = _error(event)

    def end(self, outcome: Outcome, at: datetime) -> None:
        if self.outcome is None or (self.outcome == Outcome.FAILED and self.left is None):
            self.outcome, self.left = self.outcome or outcome, at

    def done(self) -> Visit:
        seconds = (self.left - self.entered).total_seconds() if self.left else None
        has_error = self.outcome != Outcome.SUCCEEDED
        tries = max(self.tries, 1)
        return Visit(
            name=self.name,
            kind=self.kind,
            outcome=self.outcome or Outcome.RUNNING,
            tries=tries,
            retries=tries - 1,
            visits=1,
            entered=self.entered,
            left=self.left,
            seconds=seconds,
            error=self.error if has_error else None,
            cause=self.cause if has_error else None,
            next=self.next,
            container=self.container.name if self.container else None,
        )


@dataclass(slots=True)
class _History:
    definition: Mapping[str, Any]
    visits: list[_Visit] = field(default_factory=list)
    ends: set[tuple[str, str]] = field(default_factory=set)
    outcome: Outcome = Outcome.RUNNING
    started: datetime | None = None
    ended: datetime | None = None
    error: str | None = None
    cause: str | None = None
    # Events by id: the visit they belong to, and whether a machine inside it starts with them. AWS names the event
    # before each one, so that parallel branches can be told apart. A local AWS does not: there the last visit counts.
    _known: dict[int | None, tuple[_Visit | None, bool]] = field(default_factory=dict)
    _last: tuple[_Visit | None, bool] = (None, False)

    def add(self, event: Mapping[str, Any]) -> None:
        kind, at = str(event["type"]), event["timestamp"].astimezone(UTC)
        previous = event.get("previousEventId")
        before, is_start = (None, False) if previous == 0 else self._known.get(previous, self._last)
        visit = before
        if kind.startswith("Execution"):
            self._execution(kind, event, before, at)
        elif kind.endswith(_ENTERED):
            visit = self._enter(kind, event, before, is_start, at)
        elif kind.endswith(_EXITED):
            visit = self._exit(event, before, at)
        elif kind.startswith(_CONTAINERS):
            visit = self._container(kind, event, before, at)
        elif before:
            _happened(before, kind, event, at)
        self._last = (visit, kind in _STARTS_INSIDE)
        if "id" in event:
            self._known[event["id"]] = self._last

    def path(self) -> Path:
        steps = tuple(visit.done() for visit in self.visits)
        by_name: dict[str, list[Visit]] = {}
        for step in steps:
            by_name.setdefault(step.name, []).append(step)
        lines = {(visit.source.name if visit.source else START, visit.name) for visit in self.visits}
        return Path(
            self.outcome,
            {name: summary(visits) for name, visits in by_name.items()},
            steps,
            frozenset(lines | self.ends),
            self.started,
            self.ended,
            self.error,
            self.cause,
        )

    def _execution(self, kind: str, event: Mapping[str, Any], before: _Visit | None, at: datetime) -> None:
        if kind == "ExecutionStarted":
            self.started = at
        elif kind == "ExecutionRedriven":
            self.outcome, self.ended, self.error, self.cause = Outcome.RUNNING, None, None, None
        elif kind in _ENDS:
            self.outcome, self.ended, (self.error, self.cause) = _ENDS[kind], at, _error(event)
            if self.outcome == Outcome.SUCCEEDED and before:
                self.ends.add((before.name, END))
            if self.outcome == Outcome.FAILED and before:
                self._fail_up_to(None, before, at)
            open_ends = Outcome.ABORTED if self.outcome == Outcome.FAILED else self.outcome
            for visit in self.visits:
                visit.end(open_ends, at)

    def _enter(
        self, kind: str, event: Mapping[str, Any], before: _Visit | None, is_start: bool, at: datetime
    ) -> _Visit:
        name = str(event["stateEnteredEventDetails"]["name"])
        container = (before if is_start else before.container) if before else None
        source = None if is_start else before
        if source and source.left is not None and source.outcome not in {Outcome.SUCCEEDED, Outcome.CAUGHT}:
            source = source.source  # The execution was redriven: it enters the failed state again.
        elif source:
            source.next = name
            if source.kind in _CONTAINERS and self._catches(source.name, name):
                source.outcome = Outcome.CAUGHT
        visit = _Visit(name, kind.removesuffix(_ENTERED), at, container, source)
        if visit.kind == "Fail":
            visit.outcome = Outcome.FAILED
        self.visits.append(visit)
        return visit

    def _exit(self, event: Mapping[str, Any], before: _Visit | None, at: datetime) -> _Visit | None:
        name = event.get("stateExitedEventDetails", {}).get("name")
        candidates = [*(before.within() if before else ()), *reversed(self.visits)]
        visit: _Visit | None = next((visit for visit in candidates if visit.name == name and visit.left is None), None)
        if visit is None:
            return before
        visit.end(Outcome.CAUGHT if visit.failure else Outcome.SUCCEEDED, at)
        return visit

    def _container(self, kind: str, event: Mapping[str, Any], before: _Visit | None, at: datetime) -> _Visit | None:
        """Take an event of a Map or Parallel state. It belongs to that state, whatever came before it."""
        state = "Map" if kind.startswith("Map") else "Parallel"
        name = next((value["name"] for value in event.values() if isinstance(value, Mapping) and "name" in value), None)
        around = before.within() if before else iter(())
        owner = next((v for v in around if v.kind == state and not v.left and name in {None, v.name}), None)
        if owner is None or before is None:
            return before
        if kind in {"MapStateStarted", "ParallelStateStarted"}:
            owner.start_try()
        elif kind == "MapIterationSucceeded" and before is not owner:
            self.ends.add((before.name, END))
        elif kind == "ParallelStateSucceeded":
            self.ends |= {(visit.name, END) for visit in self._inside(owner) if visit.left and not visit.next}
        elif kind.endswith("Failed"):
            self._container_failed(kind, event, owner, before, at)
        elif kind.endswith("Aborted"):
            last = owner.container if kind != "MapIterationAborted" else owner
            for visit in itertools.takewhile(lambda visit: visit is not last, before.within()):
                visit.end(Outcome.ABORTED, at)
        return owner

    def _container_failed(
        self, kind: str, event: Mapping[str, Any], owner: _Visit, before: _Visit, at: datetime
    ) -> None:
        self._fail_up_to(owner, before, at)
        if kind == "MapRunFailed":
            owner.fail_try(event)
        elif kind != "MapIterationFailed":
            owner.failure = owner.failure or Outcome.FAILED
            for visit in self._inside(owner):
                visit.end(Outcome.ABORTED, at)

    def _inside(self, owner: _Visit) -> Iterator[_Visit]:
        return (visit for visit in self.visits if visit is not owner and owner in visit.within())

    def _fail_up_to(self, owner: _Visit | None, before: _Visit, at: datetime) -> None:
        """End *before* and what it is inside as failed, each with the error of the one inside it, below *owner*."""
        error, cause = (None, None) if owner else (self.error, self.cause)
        for visit in before.within():
            if not visit.error:
                visit.error, visit.cause = error, cause
            error, cause = visit.error, visit.cause
            if visit is owner:
                break
            visit.end(visit.failure or Outcome.FAILED, at)

    def _catches(self, name: str, target: str) -> bool:
        """Return whether only a Catch leads from the state *name* to *target*."""
        state = self.definition.get("States", {}).get(name, {})
        return state.get("Next") != target and any(each.get("Next") == target for each in state.get("Catch", []))


def _happened(visit: _Visit, kind: str, event: Mapping[str, Any], at: datetime) -> None:
    """Take what happened in a state. A local AWS has the tasks inside a Map here, too: they are not the Map's."""
    if kind == "EvaluationFailed" or (visit.kind == "Task" and kind.endswith(("Failed", "TimedOut"))):
        visit.fail_try(event)
    elif kind.endswith("StateAborted"):
        visit.end(Outcome.ABORTED, at)
    elif visit.kind == "Task" and kind in _TRIES:
        visit.start_try()


def _error(event: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the error that an event has, and its cause, cut: a cause has up to 32,768 characters."""
    details: Mapping[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    error, cause = details.get("error"), details.get("cause")
    if not cause:
        return clean(error) if error else None, None
    text = clean(cause)
    return clean(error) if error else None, text if len(text) <= MAX_CAUSE else f"{text[: MAX_CAUSE - 1]}…"
