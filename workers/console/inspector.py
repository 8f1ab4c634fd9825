"""Says about the states of an execution what its graph has no room for: their tries, and their rules in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from workers.console.graph.svg import State
from workers.operations.execution_events import Event

MAX_TRIES = 20  # Of a state, which are shown.
_ANY = "States.ALL"
_FAILED = {"failed", "timed_out", "aborted"}


@dataclass(frozen=True, slots=True)
class Try:
    """A try of a task: when it began, how long after the one before, how long it took, and its error."""

    number: int
    at: datetime
    waited_s: float | None
    took_s: float | None = None
    error: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Inspected:
    """
    A state as the inspector shows it; *more_tries* are not shown.

    *is_elsewhere*: it is inside a distributed map, whose children are executions with histories of their own.
    """

    state: State
    resource: str
    comment: str
    rules: Sequence[str]
    tries: Sequence[Try]
    more_tries: int
    is_chosen: bool
    is_elsewhere: bool


@dataclass(frozen=True, slots=True)
class _Defined:
    """A state of a definition, and the Map or Parallel state that it is in."""

    container: str | None
    name: str
    state: Mapping[str, Any]
    is_elsewhere: bool = False


def inspect(
    states: Sequence[State], definition: Mapping[str, Any], events: Iterable[Event], chosen: str | None
) -> list[Inspected]:
    """
    Return what there is to say about each state.

    One of them is chosen: that of the name *chosen*, else the one that an operator looks for: what failed or runs.
    """
    of_name, defined = tries_of(events), dict[tuple[str | None, str], _Defined]()
    for known in _walk(definition):
        defined.setdefault((known.container, known.name), known)
    anchor = next((state.anchor for state in states if state.name == chosen), None) or _of_interest(states)
    inspected = []
    for state in states:
        known = defined.get((state.container, state.name), _Defined(state.container, state.name, {}))
        tries = of_name.get(state.name, []) if state.visit else []
        inspected.append(
            Inspected(
                state,
                str(known.state.get("Resource", "")),
                str(known.state.get("Comment", "")),
                rules_of(known.state),
                tries[:MAX_TRIES],
                max(len(tries) - MAX_TRIES, 0),
                state.anchor == anchor,
                known.is_elsewhere,
            )
        )
    return inspected


def _of_interest(states: Sequence[State]) -> str | None:
    """Return the anchor of the state that failed, that caught an error, or that runs; None if none did."""
    for outcomes in (_FAILED, {"running"}, {"caught"}):
        for state in states:
            if state.visit and str(state.visit.outcome) in outcomes and state.kind not in {"map", "parallel"}:
                return state.anchor
    return None


def tries_of(events: Iterable[Event]) -> dict[str, list[Try]]:
    """Return the tries of each state by its name, in order."""
    found: dict[str, list[Try]] = {}
    last: dict[int | None, tuple[list[Try], datetime | None]] = {}  # By visit: its tries, and when the last one failed.
    for event in events:
        if event.state is None:
            continue
        tries, failed = last.get(event.visit, ([], None))
        if event.type.endswith("Scheduled"):
            waited = (event.at - failed).total_seconds() if failed else None
            tries = [*tries, Try(len(tries) + 1, event.at, waited)]
            found.setdefault(event.state, []).append(tries[-1])
            last[event.visit] = (tries, None)
        elif tries and event.type.endswith(("Succeeded", "Failed", "TimedOut")):
            begun = tries[-1]
            took = (event.at - begun.at).total_seconds()
            ended = Try(begun.number, begun.at, begun.waited_s, took, event.error, event.cause)
            known = found[event.state]
            known[known.index(begun)] = tries[-1] = ended
            last[event.visit] = (tries, None if event.type.endswith("Succeeded") else event.at)
    return found


def _walk(
    machine: Mapping[str, Any], container: str | None = None, *, is_elsewhere: bool = False
) -> Iterator[_Defined]:
    states = machine.get("States")
    for name, state in states.items() if isinstance(states, Mapping) else ():
        if not isinstance(state, Mapping):
            continue
        yield _Defined(container, name, state, is_elsewhere)
        branches = state.get("Branches")
        inner = [state.get("ItemProcessor"), state.get("Iterator"), *(branches if isinstance(branches, list) else ())]
        for each in _mappings(inner):
            is_distributed = (each.get("ProcessorConfig") or {}).get("Mode") == "DISTRIBUTED"
            yield from _walk(each, name, is_elsewhere=is_elsewhere or is_distributed)


def rules_of(state: Mapping[str, Any]) -> list[str]:
    """Return in words what a definition says about the time, the errors and the ways of a state."""
    rules = [f"A try may take {state['TimeoutSeconds']} s."] if "TimeoutSeconds" in state else []
    rules += [_retry(rule) for rule in _mappings(state.get("Retry"))]
    rules += [f"On {_errors(rule)}: goes on to {rule.get('Next')}." for rule in _mappings(state.get("Catch"))]
    for number, rule in enumerate(_mappings(state.get("Choices")), 1):
        rules.append(f"If {rule.get('Comment') or f'rule {number} holds'}: goes on to {rule.get('Next')}.")
    if "Default" in state:
        rules.append(f"Otherwise: goes on to {state['Default']}.")
    if state.get("Type") == "Fail":
        rules.append(f"Ends the execution with the error {state.get('Error', 'that it works out')}.")
    elif "Next" in state:
        rules.append(f"Then: goes on to {state['Next']}.")
    elif state.get("End") is True or state.get("Type") == "Succeed":
        rules.append("Then: the end.")
    if "MaxConcurrency" in state:
        rules.append(f"At most {state['MaxConcurrency']} at once.")
    return rules


def _retry(rule: Mapping[str, Any]) -> str:
    """Return a Retry in words. What it leaves out has the defaults of the Amazon States Language."""
    tries = rule.get("MaxAttempts", 3)
    if tries == 0:
        return f"On {_errors(rule)}: no other try."
    interval, backoff = rule.get("IntervalSeconds", 1), rule.get("BackoffRate", 2)
    waits = f"after {interval} s each"
    if backoff != 1:
        most = f", {rule['MaxDelaySeconds']} s at most" if "MaxDelaySeconds" in rule else ""
        waits = f"after {interval} s, then each time {backoff} times as long{most}"
    jitter = ", and a random part of that" if rule.get("JitterStrategy") == "FULL" else ""
    noun = "try" if tries == 1 else "tries"
    return f"On {_errors(rule)}: {tries} more {noun} at most, {waits}{jitter}."


def _errors(rule: Mapping[str, Any]) -> str:
    named = rule.get("ErrorEquals")
    names = [str(name) for name in named] if isinstance(named, list) else []
    if _ANY in names or not names:
        return "any error"
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _mappings(values: object) -> Iterator[Mapping[str, Any]]:
    return (value for value in (values if isinstance(values, list) else ()) if isinstance(value, Mapping))
