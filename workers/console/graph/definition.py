"""Reads a workflow's definition (Amazon States Language) as a graph: its states, and the lines between them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from workers.console.graph.resources import action_of

# The names of what is drawn as start and end. No state has such a name.
START, END = "\0start", "\0end"
LineKind = Literal["start", "next", "choice", "default", "catch", "end"]

_ANY_ERROR = "States.ALL"
_MAX_ERRORS = 2  # A label names no more of the errors that a Catch is for.
_MAX_LABEL = 30


@dataclass(frozen=True, slots=True)
class Node:
    """
    A state, or the start or end of a machine.

    *id* is unique in the drawing; *name* is not, if two distributed maps have a state of the same name. *inside* are
    the machines in a Map or Parallel state.
    """

    id: str
    name: str
    kind: str
    subtitle: str = ""
    icon: str = ""
    inside: tuple["Graph", ...] = ()
    is_distributed: bool = False

    @property
    def is_state(self) -> bool:
        return self.name not in {START, END}


@dataclass(frozen=True, slots=True)
class Line:
    """A way from a node to another, by their ids. *full_label* is all of a label that was cut."""

    source: str
    target: str
    kind: LineKind
    label: str = ""
    full_label: str = ""
    is_also_catch: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """A machine: the start first, then the states in the definition's order, then the end."""

    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]

    def walk(self, parent: Node | None = None) -> Iterator[tuple[Node, Node | None]]:
        """Yield each node with the node it is inside, or None; those inside a node follow it."""
        for node in self.nodes:
            yield node, parent
            for graph in node.inside:
                yield from graph.walk(node)


def parse(definition: Mapping[str, Any]) -> Graph:
    """Return the graph of a definition. What is wrong in it is left out: a line to a state that does not exist."""
    return _machine(definition, count())


def _machine(definition: Mapping[str, Any], numbers: Iterator[int]) -> Graph:
    states = _mapping(definition.get("States"))
    start = Node(str(next(numbers)), START, "start")
    nodes = [start, *(_node(name, _mapping(state), numbers) for name, state in states.items())]
    end = Node(str(next(numbers)), END, "end")
    ids = {node.name: node.id for node in (*nodes, end)}
    lines = [Line(START, _text(definition.get("StartAt")), "start")]
    for name, state in states.items():
        lines += _lines_from(name, _mapping(state))
    known = [replace(line, source=ids[line.source], target=ids[line.target]) for line in lines if line.target in ids]
    has_end = any(line.target == end.id for line in known)
    return Graph((*nodes, *([end] if has_end else [])), tuple(_merged(known)))


def _node(name: str, state: Mapping[str, Any], numbers: Iterator[int]) -> Node:
    number, kind = str(next(numbers)), _text(state.get("Type"))
    subtitle, icon, is_distributed = f"{kind} state", kind.lower(), False
    if kind == "Task":
        subtitle, icon = action_of(_text(state.get("Resource")))
    elif kind == "Fail" and state.get("Error"):
        subtitle = f"Fail: {_text(state['Error'])}"
    elif kind == "Wait" and "Seconds" in state:
        subtitle = f"Wait: {_text(state['Seconds'])} s"
    elif kind == "Map":
        mode = _mapping(_mapping(_processor(state)).get("ProcessorConfig")).get("Mode")
        is_distributed = mode == "DISTRIBUTED"
        subtitle = "Map: an execution for each batch" if is_distributed else "Map: for each item"
    elif kind == "Parallel":
        subtitle = "Parallel: all at once"
    inside = tuple(_machine(machine, numbers) for machine in _machines(state))
    return Node(number, name, kind.lower(), subtitle, icon, inside, is_distributed)


def _processor(state: Mapping[str, Any]) -> object:
    return state.get("ItemProcessor", state.get("Iterator"))


def _machines(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    branches = state.get("Branches")
    for machine in (_processor(state), *(branches if isinstance(branches, list) else ())):
        if isinstance(machine, Mapping) and _mapping(machine.get("States")):
            yield machine


def _lines_from(name: str, state: Mapping[str, Any]) -> Iterator[Line]:
    for number, rule in enumerate(_mappings(state.get("Choices")), 1):
        yield Line(name, _text(rule.get("Next")), "choice", _text(rule.get("Comment")) or f"rule {number}")
    if "Default" in state:
        yield Line(name, _text(state["Default"]), "default", "default")
    if "Next" in state:
        yield Line(name, _text(state["Next"]), "next")
    elif state.get("End") is True or state.get("Type") == "Succeed":
        yield Line(name, END, "end")
    for catcher in _mappings(state.get("Catch")):
        yield Line(name, _text(catcher.get("Next")), "catch", _errors(catcher.get("ErrorEquals")))


def _errors(names: object) -> str:
    """Return the errors that a Catch is for, in few words."""
    listed = [_text(name) for name in names] if isinstance(names, list) else []
    if _ANY_ERROR in listed or not listed:
        return "any error"
    short = list(dict.fromkeys(name.rpartition(".")[2].removesuffix("Exception") for name in listed))
    more = len(short) - _MAX_ERRORS
    return ", ".join(short[:_MAX_ERRORS]) + (f" and {more} more" if more > 0 else "")


def _merged(lines: list[Line]) -> Iterator[Line]:
    """Yield one line for all from a state to the same next state."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.source, line.target), []).append(line)
    for group in groups.values():
        kinds = [line.kind for line in group]
        first = min(group, key=lambda line: line.kind == "catch")
        labels = dict.fromkeys(
            f"also on {line.label}" if line.kind == "catch" and first.kind in {"next", "end"} else line.label
            for line in group
        )
        full = " / ".join(filter(None, labels))
        label = full if len(full) <= _MAX_LABEL else f"{full[: _MAX_LABEL - 1].rstrip()}…"
        is_also_catch = first.kind != "catch" and "catch" in kinds
        yield replace(first, label=label, full_label=full, is_also_catch=is_also_catch)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(values: object) -> Iterator[Mapping[str, Any]]:
    return (value for value in (values if isinstance(values, list) else ()) if isinstance(value, Mapping))


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""
