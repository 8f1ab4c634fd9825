"""What a run has found out so far. It is filled in step by step, so that a report can be written at any moment."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deploy.errors import DeployError
from deploy.local.samples import Outcome
from tests.aws_facts.fact import Result

Note = Callable[[str], None]


@dataclass(slots=True)
class Step:
    """A part of a run. `ended` is how: "running", "done", "interrupted" or the error's text."""

    name: str
    ended: str = "running"
    seconds: float = 0.0


@dataclass(slots=True)
class Orders:
    """The orders of a run: when each was submitted and settled, in seconds of this machine's clock."""

    submitted_at: dict[str, float]
    settled_at: Mapping[str, float]
    fulfilled: int = 0
    escalated: int = 0


@dataclass(slots=True)
class Findings:
    """
    Everything that the report shows.

    `resources` counts the stack's by type; `trouble`, the workers' log lines about trouble by event;
    `calls_ms` are the durations of single calls by name; `receives` counts answers by their number of messages;
    `completed` is false if the run ended early, by an error or because it was `interrupted`;
    `traced` says for each queue what its messages' trace header looked like; `problems` are what did not hold.
    """

    note: Note
    began_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    steps: list[Step] = field(default_factory=list)
    facts: list[Result] = field(default_factory=list)
    outputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, int] = field(default_factory=dict)
    samples: Sequence[Outcome] = ()
    orders: Orders | None = None
    traced: dict[str, str] = field(default_factory=dict)
    calls_ms: dict[str, list[float]] = field(default_factory=dict)
    receives: dict[int, int] = field(default_factory=dict)
    contents: Sequence[str] = ()
    trouble: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    completed: bool = False
    interrupted: bool = False
    removed: Sequence[str] | None = None
    left: Sequence[str] = ()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record how a part of the run ends, and how long it takes."""
        step = Step(name)
        self.steps.append(step)
        began_s = time.monotonic()
        try:
            self.note(f"{name} ...")
            yield
        except BaseException as error:
            step.ended = _ended(error)
            raise
        else:
            step.ended = "done"
        finally:
            step.seconds = time.monotonic() - began_s

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Record whether the run comes to its end, and what stops it, also between two steps."""
        try:
            yield
        except BaseException as error:
            self.interrupted = isinstance(error, KeyboardInterrupt)
            if all(step.ended == "done" for step in self.steps):
                self.problems.append(_ended(error))
            raise
        else:
            self.completed = True

    @property
    def passed(self) -> bool:
        """Whether the run came to its end, nothing was wrong, and nothing is left."""
        return self.completed and not self.problems and self.removed is not None and not self.left


def _ended(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, DeployError) else f"{type(error).__name__}: {error}"
