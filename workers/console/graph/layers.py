"""
The first step of the layout: which row each node is in, and the main way through the machine.

A line that spans several rows gets a bend in each row between. Lines to the same target share their bends: they join.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workers.console.graph.definition import END, Graph, Line

# How strongly a line pulls its ends together. The main way is one straight line.
_SPINE_WEIGHT = 40
_WEIGHTS = {"start": 6, "next": 6, "choice": 3, "default": 2, "end": 1, "catch": 1}
_BETWEEN_BENDS = 3
_WORK = {"task", "map", "parallel"}


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a node. Lines enter and leave it at a point of its width, as a rule the middle."""

    left: float
    right: float
    height: float


@dataclass(slots=True, eq=False)
class Item:
    """What is placed in a row: a node, or a bend of lines. *x* is where its main line passes."""

    id: str
    row: int
    size: Size
    is_bend: bool = False
    is_spine: bool = False
    x: float = 0.0
    y: float = 0.0
    above: dict["Item", int] = field(default_factory=dict)
    below: dict["Item", int] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return self.x - self.size.left

    @property
    def right(self) -> float:
        return self.x + self.size.right

    @property
    def bottom(self) -> float:
        return self.y + self.size.height


@dataclass(frozen=True, slots=True)
class Chain:
    """The items that a line passes, from top to bottom. A line *upwards* starts at the last one."""

    line: Line
    items: tuple[Item, ...]
    upwards: bool

    @property
    def bends(self) -> tuple[Item, ...]:
        return self.items[1:-1]

    @property
    def kind(self) -> str:
        """Lines of the same kind enter a node at the same point."""
        return "upwards" if self.upwards else "catch" if self.line.kind == "catch" else "plain"


@dataclass(frozen=True, slots=True)
class Rows:
    rows: list[list[Item]]
    chains: list[Chain]

    @property
    def items(self) -> list[Item]:
        return [item for row in self.rows for item in row]


def rows_of(graph: Graph, sizes: Mapping[str, Size]) -> Rows:
    """Return the rows of a machine. A line to the node itself is in none of its chains."""
    ids = [node.id for node in graph.nodes]
    lines = [line for line in graph.lines if line.source != line.target]
    upwards = _upwards(ids, lines)
    downwards = [(line.target, line.source) if line in upwards else (line.source, line.target) for line in lines]
    row_of = _longest_paths(ids, downwards)
    end = next((node.id for node in graph.nodes if node.name == END), None)
    if end is not None:
        row_of[end] = max(row_of.values())
    working = {node.id for node in graph.nodes if node.kind in _WORK}
    spine = _spine(ids, [line for line in lines if line not in upwards and line.kind != "catch"], end, working)
    items = {id_: Item(id_, row_of[id_], sizes[id_]) for id_ in ids}
    chains = [_chain(items, line, pair, line in upwards) for line, pair in zip(lines, downwards, strict=True)]
    for chain in chains:
        is_spine = (chain.line.source, chain.line.target) in spine
        weight = _SPINE_WEIGHT if is_spine else _WEIGHTS[chain.line.kind]
        for item in chain.items:
            item.is_spine = item.is_spine or is_spine
        for upper, lower in zip(chain.items, chain.items[1:], strict=False):
            pull = weight * (_BETWEEN_BENDS if upper.is_bend and lower.is_bend else 1)
            upper.below[lower] = lower.above[upper] = max(pull, upper.below.get(lower, 0))
    return Rows(_first_order(items, max(row_of.values()) + 1), chains)


def _upwards(ids: Sequence[str], lines: Sequence[Line]) -> set[Line]:
    """Return the lines that close a circle: without them there is none."""
    leaving: dict[str, list[Line]] = {id_: [] for id_ in ids}
    for line in lines:
        leaving[line.source].append(line)
    found: set[Line] = set()
    done: set[str] = set()
    open_: set[str] = set()
    for first in ids:
        stack = [] if first in done else [(first, iter(leaving[first]))]
        open_ |= {id_ for id_, _ in stack}
        while stack:
            id_, rest = stack[-1]
            for line in rest:
                if line.target in open_:
                    found.add(line)
                elif line.target not in done:
                    open_.add(line.target)
                    stack.append((line.target, iter(leaving[line.target])))
                    break
            else:
                stack.pop()
                open_.discard(id_)
                done.add(id_)
    return found


def _longest_paths(ids: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the row of each node: one below the lowest node with a line to it."""
    return {id_: depth for id_, (depth, _) in _deepest(ids, [(b, a) for a, b in pairs], set(ids)).items()}


def _spine(ids: Sequence[str], lines: Sequence[Line], end: str | None, working: set[str]) -> set[tuple[str, str]]:
    """Return the main way: the longest from the start to the end. Of two, that with more work, then earlier rules."""
    pairs = [(line.source, line.target) for line in lines]
    lasts = {end} if end is not None else {id_ for id_ in ids if all(source != id_ for source, _ in pairs)}
    # The number of states counts first, then that of states that do work.
    ways = _deepest(ids, pairs, lasts, {id_: len(ids) + (id_ in working) for id_ in ids})
    found, current = set(), ids[0]
    while current in ways and (following := ways[current][1]) is not None:
        found.add((current, following))
        current = following
    return found


def _deepest(
    ids: Sequence[str], pairs: Sequence[tuple[str, str]], lasts: set[str], lengths: Mapping[str, int] | None = None
) -> dict[str, tuple[int, str | None]]:
    """Return for each node that leads to one of *lasts* how far it is away at most, and where to go first."""
    leaving: dict[str, list[str]] = {id_: [] for id_ in ids}
    for source, target in pairs:
        leaving[source].append(target)
    found: dict[str, tuple[int, str | None]] = {}
    visited: set[str] = set()
    for first in ids:
        stack = [(first, False)]
        while stack:
            id_, is_ready = stack.pop()
            if is_ready:
                ways = [
                    (found[target][0] + (lengths[id_] if lengths else 1), target)
                    for target in leaving[id_]
                    if target in found
                ]
                if ways:
                    found[id_] = max(ways, key=lambda way: way[0])
                elif id_ in lasts:
                    found[id_] = (0, None)
            elif id_ not in visited:
                visited.add(id_)
                stack.append((id_, True))
                stack += [(target, False) for target in reversed(leaving[id_])]
    return found


def _chain(items: dict[str, Item], line: Line, pair: tuple[str, str], upwards: bool) -> Chain:
    """Return the chain of a line, with its bends, which are shared with other lines to the same target."""
    upper, lower = (items[id_] for id_ in pair)
    bus = f"{line.source} " if upwards else "catch " if line.kind == "catch" else ""
    bends = []
    for row in range(upper.row + 1, lower.row):
        id_ = f"bend {bus}{line.target} {row}"
        if id_ not in items:
            items[id_] = Item(id_, row, Size(0.0, 0.0, 0.0), is_bend=True)
        bends.append(items[id_])
    return Chain(line, (upper, *bends, lower), upwards)


def _first_order(items: Mapping[str, Item], depth: int) -> list[list[Item]]:
    """Return rows in the order in which items are reached, strong lines first: the main way is on the left."""
    rows: list[list[Item]] = [[] for _ in range(depth)]
    seen: set[Item] = set()
    for first in (*(item for item in items.values() if not item.above), *items.values()):
        stack = [first]
        while stack:
            item = stack.pop()
            if item not in seen:
                seen.add(item)
                rows[item.row].append(item)
                stack += reversed([lower for lower, _ in sorted(item.below.items(), key=lambda pull: -pull[1])])
    return rows
