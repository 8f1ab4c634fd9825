"""
What the workers' code can log: events with their levels and fields, and outcomes of messages.

Their supervisor under `make run` counts among it.
"""

import ast
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.aws import ROOT

# Methods of a logger, and the level that each logs at.
LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
_WORKERS = ROOT / "workers"
_SUPERVISOR = ROOT / "deploy" / "local" / "supervisor.py"
_EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
_OPERATOR = {"cli", "operations"}  # Prints for people; logs nothing.
_SETTLEMENTS = {"Acknowledged", "DeadLettered", "Released"}
_OF_MESSAGES = {"consumer", "domain", "fulfillment", "own", "escalation"}


@dataclass(frozen=True, slots=True)
class Logged:
    """A place in the code that logs an event; no level if that depends on the case."""

    event: str
    level: str | None = None
    fields: frozenset[str] = frozenset()


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[1]


@functools.cache
def _nodes() -> Sequence[tuple[str, ast.AST]]:
    """Return the calls, assignments, classes and constants of all that code, with the room each is in."""
    return [
        (room, node)
        for path in (*sorted(_WORKERS.rglob("*.py")), _SUPERVISOR)
        if (room := _room(path)) not in _OPERATOR
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call | ast.Assign | ast.ClassDef | ast.Constant)
    ]


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@functools.cache
def logged() -> Sequence[Logged]:
    """Return every place that logs."""
    return [each for _, node in _nodes() for each in _logged(node)]


def _logged(node: ast.AST) -> Iterator[Logged]:
    match node:
        case ast.Call(func=ast.Attribute(attr=method), args=[first, *_]) if method in LEVELS:
            for event in _named(first):
                yield Logged(event, LEVELS[method], _fields(node))
        case ast.Call(func=ast.Attribute(attr="log"), args=[_, second, *_]):
            for event in _named(second):
                yield Logged(event, None, _fields(node))
        case ast.ClassDef(bases=[ast.Name(id="StrEnum" | "Enum")]):  # Chosen among a few, and logged elsewhere.
            yield from (Logged(event) for inner in ast.walk(node) for event in _named(inner))
        case ast.Assign(targets=[ast.Subscript(slice=key)], value=value) if _text(key) == "event":
            yield from map(Logged, _named(value))


def _named(node: ast.AST) -> Iterator[str]:
    """Yield the events that an argument names: one, or one for each stage that can fail."""
    if (text := _text(node)) is not None and _EVENT.fullmatch(text):
        yield text
    elif isinstance(node, ast.JoinedStr) and (end := _text(node.values[-1])) is not None:
        yield from (f"{stage}{end}" for stage in _stages() if _EVENT.fullmatch(f"{stage}{end}"))


@functools.cache
def _stages() -> Sequence[str]:
    return [
        stage
        for _, node in _nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "FailureTracker"
        if (stage := _text(node.args[0])) is not None
    ]


def _fields(call: ast.Call) -> frozenset[str]:
    return frozenset(each.arg for each in call.keywords if each.arg)


def events() -> Mapping[str, set[str]]:
    """Return every event with the levels it is logged at, as far as the code says so in place."""
    found: dict[str, set[str]] = {}
    for each in logged():
        found.setdefault(each.event, set()).update([each.level] if each.level else [])
    return found


def fields() -> Mapping[str, set[str]]:
    """Return the fields that each event is given where it is logged."""
    found: dict[str, set[str]] = {}
    for each in logged():
        found.setdefault(each.event, set()).update(each.fields)
    return found


def outcomes() -> set[str]:
    """Return the outcomes that stand where messages are settled."""
    found = set[str | None]()
    for _, node in _nodes():
        match node:
            case ast.Call(func=ast.Name(id=name), args=[argument, *_]) if name in _SETTLEMENTS:
                found.add(_text(argument))
            case ast.Call(func=ast.Attribute(attr="settle"), args=arguments):
                found.update(map(_text, arguments))
    return {each for each in found if each is not None}


def constants() -> set[str]:
    """Return every text in the code that handles messages."""
    return {text for room, node in _nodes() if room in _OF_MESSAGES and (text := _text(node)) is not None}
