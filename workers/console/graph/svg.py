"""
Draws a workflow as SVG: its definition, the path of an execution through it, how many executions took each line.

The result has classes, which `static/graph.css` styles, and no styles of its own: the console's content security policy
forbids these. All text in it is escaped.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from workers.console.graph.definition import Graph, Line, Node, parse
from workers.console.graph.layout import Layout, Route, lay_out
from workers.console.graph.lines import draw_halo, draw_label, draw_line, markers, until_joined
from workers.console.graph.markup import element
from workers.console.graph.nodes import draw_frame, draw_node, draw_terminal, outcome_text
from workers.console.graph.visits import Outcome, Path, Visit

_MAX_LAYOUTS = 16
_HEAT_LEVELS = 5
_QUIET = {"plain", "idle"}


@dataclass(frozen=True, slots=True)
class State:
    """A state that is drawn, for an inspector beside the graph: the node `#<anchor>` links to it."""

    anchor: str
    name: str
    kind: str
    action: str
    container: str | None
    visit: Visit | None


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing, and the states in it in the definition's order."""

    svg: Markup
    width: int
    height: int
    states: tuple[State, ...]


def draw(
    definition: Mapping[str, Any],
    path: Path | None = None,
    heat: Mapping[tuple[str, str], int] | None = None,
    *,
    title: str = "Workflow",
    prefix: str = "state",
    page: str = "",
) -> Drawing:
    """
    Return the drawing of a definition.

    Args:
        definition: a state machine's definition, as it was deployed
        path: of an execution, which is marked
        heat: how many executions took each line, by the names of its states, as in `Path.lines`
        title: the name of the drawing for screen readers
        prefix: of the anchors that nodes link to, `#state-3`; two drawings on a page need two
        page: the address of the page with these anchors, if it is another one

    """
    known = _Definition.of(definition)
    graph, layout = _laid_out(known)
    if heat:
        layout = lay_out(_with_counts(graph, heat))
    return _Drawing(graph, layout, path, heat or {}, prefix).draw(title, page)


@dataclass(frozen=True, slots=True)
class _Definition:
    """A definition, compared by its digest."""

    digest: bytes
    definition: Mapping[str, Any] = field(compare=False)

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> "_Definition":
        return cls(hashlib.sha256(json.dumps(definition, default=str).encode()).digest(), definition)


@lru_cache(maxsize=_MAX_LAYOUTS)
def _laid_out(known: _Definition) -> tuple[Graph, Layout]:
    graph = parse(known.definition)
    return graph, lay_out(graph)


def _with_counts(graph: Graph, heat: Mapping[tuple[str, str], int]) -> Graph:
    """Return the graph with how many executions took each line in the line's label."""
    names = {node.id: node.name for node in graph.nodes}

    def counted(line: Line) -> Line:
        number = heat.get((names[line.source], names[line.target]))
        return replace(line, label=" · ".join(filter(None, [line.label, f"{number:,}"]))) if number else line

    nodes = tuple(
        replace(node, inside=tuple(_with_counts(machine, heat) for machine in node.inside)) for node in graph.nodes
    )
    return Graph(nodes, tuple(map(counted, graph.lines)))


class _Drawing:
    def __init__(
        self, graph: Graph, layout: Layout, path: Path | None, heat: Mapping[tuple[str, str], int], prefix: str
    ) -> None:
        self._layout = layout
        self._path = path
        self._heat = heat
        self._prefix = prefix
        self._nodes = dict(_walk(graph))
        self._most = max(heat.values(), default=0)

    def draw(self, title: str, page: str) -> Drawing:
        layout = self._layout
        width, height = round(layout.width), round(layout.height)
        # What is marked comes last, above the rest. Of the others, those that start lower join those that start higher.
        routes = sorted(
            layout.routes, key=lambda route: (self._line_class(route.line) not in _QUIET, route.points[0][1])
        )
        anchors = {id_: f"{self._prefix}-{id_}" for id_ in self._nodes}
        states = tuple(
            State(anchors[node.id], node.name, node.kind, node.subtitle, parent.name if parent else None, visit)
            for node, parent, visit in self._with_visits()
            if node.is_state
        )
        boxes = [(box, self._visit(box.node.id)) for box in layout.boxes]
        svg = element(
            "svg",
            element("desc", self._description()),
            markers(),
            *(draw_frame(box, self._state_class(box.node, visit)) for box, visit in boxes if box.node.inside),
            *self._lines(routes),
            *(draw_label(route, self._line_class(route.line)) for route in routes if route.label),
            *(
                draw_node(box, visit, self._state_class(box.node, visit), f"{page}#{anchors[box.node.id]}")
                if box.node.is_state
                else draw_terminal(box, is_taken=self._is_passed(box.node))
                for box, visit in boxes
            ),
            xmlns="http://www.w3.org/2000/svg",
            class_="graph graph-with-path" if self._path else "graph",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
            role="group",
            aria_label=title,
        )
        return Drawing(svg, width, height, states)

    def _lines(self, routes: Sequence[Route]) -> Iterator[Markup]:
        """Draw the lines. Those to the same target join: dashes that lie on each other would look like a solid line."""
        drawn: dict[str, list[Route]] = {}
        for route in routes:
            state = self._line_class(route.line)
            if state in {"plain", "counted", "idle"}:
                yield draw_line(until_joined(route, drawn.get(state, [])), state, self._level(route.line))
                drawn.setdefault(state, []).append(route)
            else:
                yield draw_halo(route)
                yield draw_line(route, state, self._level(route.line))

    def _with_visits(self) -> Iterator[tuple[Node, Node | None, Visit | None]]:
        for id_, (node, parents) in self._nodes.items():
            yield node, parents[-1] if parents else None, self._visit(id_)

    def _visit(self, id_: str) -> Visit | None:
        """Return the visit of a node. The history has no states of a distributed map: these are other executions."""
        node, parents = self._nodes[id_]
        if self._path is None or any(parent.is_distributed for parent in parents):
            return None
        return self._path.states.get(node.name)

    def _state_class(self, node: Node, visit: Visit | None) -> str:
        """Return what came of a state; `unknown` for those inside a state whose history has nothing of its inside."""
        if self._path is None:
            return "plain"
        if visit:
            return str(visit.outcome)
        return "unknown" if self._is_unknown(node) else "idle"

    def _is_unknown(self, node: Node) -> bool:
        _, parents = self._nodes[node.id]
        for parent in parents:
            entered = self._visit(parent.id) is not None
            inside = [inner for machine in parent.inside for inner, _ in machine.walk()]
            if entered and not any(self._visit(inner.id) for inner in inside if inner.is_state):
                return True
        return False

    def _names(self, line: Line) -> tuple[str, str]:
        return self._nodes[line.source][0].name, self._nodes[line.target][0].name

    def _is_taken(self, line: Line) -> bool:
        _, parents = self._nodes[line.source]
        is_elsewhere = any(parent.is_distributed for parent in parents)
        return self._path is not None and not is_elsewhere and self._names(line) in self._path.lines

    def _is_passed(self, node: Node) -> bool:
        return any(
            node.id in {route.line.source, route.line.target}
            for route in self._layout.routes
            if self._is_taken(route.line)
        )

    def _line_class(self, line: Line) -> str:
        if self._path is None:
            return "counted" if self._heat.get(self._names(line)) else "plain"
        if self._is_unknown(self._nodes[line.source][0]):
            return "plain"
        if not self._is_taken(line):
            return "idle"
        source = self._visit(line.source)
        is_caught = line.kind == "catch" or (line.is_also_catch and source and source.outcome == Outcome.CAUGHT)
        return "caught" if is_caught else "taken"

    def _level(self, line: Line) -> int | None:
        """Return how wide a line is by its count: 0 to 5; None without counts."""
        if not self._most:
            return None
        number = self._heat.get(self._names(line), 0)
        return max(1, round(_HEAT_LEVELS * number / self._most)) if number else 0

    def _description(self) -> str:
        names = [node.name for node, _ in self._nodes.values() if node.is_state]
        if self._path is None:
            return f"States: {', '.join(names)}"
        steps = [f"{step.name} ({outcome_text(step)})" for step in self._path.steps if not step.container]
        return f"Path: {', '.join(steps) or 'none yet'}. The execution: {self._path.outcome.replace('_', ' ')}"


def _walk(graph: Graph, parents: tuple[Node, ...] = ()) -> Iterator[tuple[str, tuple[Node, tuple[Node, ...]]]]:
    for node in graph.nodes:
        yield node.id, (node, parents)
        for machine in node.inside:
            yield from _walk(machine, (*parents, node))
