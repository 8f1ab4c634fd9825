"""What an execution did: the states it visited, what came of each, and the lines it took."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Outcome(StrEnum):
    """What came of a state or an execution. CAUGHT: it failed, and a Catch went on."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CAUGHT = "caught"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    ABORTED = "aborted"


# Of several visits of a state, the first of these is shown.
_WORST_FIRST = (
    Outcome.RUNNING,
    Outcome.FAILED,
    Outcome.TIMED_OUT,
    Outcome.ABORTED,
    Outcome.CAUGHT,
    Outcome.SUCCEEDED,
)


@dataclass(frozen=True, slots=True)
class Visit:
    """
    A visit of a state, or all visits of it together: the items of a Map, the rounds of a loop.

    *kind* is the state's type, *container* the Map or Parallel state it is in. *retries* is how many of the *tries*
    were not the first of their visit. *seconds* is the sum of all visits; None while one of them runs. *error* and
    *cause* are texts of a service, on one line, with card numbers masked; *cause* is cut. Those of a state that runs
    are of its last try that failed. *next* is the state after it.
    """

    name: str
    kind: str
    outcome: Outcome
    tries: int
    retries: int
    visits: int
    entered: datetime
    left: datetime | None = None
    seconds: float | None = None
    error: str | None = None
    cause: str | None = None
    next: str | None = None
    container: str | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """
    The path of an execution.

    *states* has a summary for each state by its name, *steps* each visit in order, *lines* the lines taken: pairs of
    names, among them `START` and `END` of `definition`. *outcome*, *error* and *cause* are the execution's.
    """

    outcome: Outcome = Outcome.RUNNING
    states: Mapping[str, Visit] = field(default_factory=dict)
    steps: tuple[Visit, ...] = ()
    lines: frozenset[tuple[str, str]] = frozenset()
    started: datetime | None = None
    ended: datetime | None = None
    error: str | None = None
    cause: str | None = None

    @property
    def retries(self) -> int:
        return sum(step.retries for step in self.steps)


def summary(visits: list[Visit]) -> Visit:
    """Return all visits of one state as one."""
    first, last = visits[0], visits[-1]
    worst = min(visits, key=lambda visit: _WORST_FIRST.index(visit.outcome))
    seconds = [visit.seconds for visit in visits if visit.seconds is not None]
    return Visit(
        name=first.name,
        kind=first.kind,
        outcome=worst.outcome,
        tries=sum(visit.tries for visit in visits),
        retries=sum(visit.retries for visit in visits),
        visits=len(visits),
        entered=first.entered,
        left=max((visit.left for visit in visits if visit.left), default=None)
        if worst.outcome != Outcome.RUNNING
        else None,
        seconds=sum(seconds) if len(seconds) == len(visits) else None,
        error=worst.error,
        cause=worst.cause,
        next=last.next,
        container=first.container,
    )
