"""
Lays a workflow out: boxes in rows, orthogonal lines between them, and labels on the lines.

It is a layered layout (Sugiyama's), in steps: rows, their order, x, lines, labels; each has its module. Machines inside
a Map or Parallel state are laid out first, and are then part of its box. The same graph always has the same layout.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from workers.console.graph.definition import Graph, Line, Node
from workers.console.graph.labels import HEIGHT as LABEL_HEIGHT
from workers.console.graph.labels import Rect, place_labels
from workers.console.graph.layers import Item, Rows, Size, rows_of
from workers.console.graph.ordering import order
from workers.console.graph.placing import Ports, place
from workers.console.graph.routing import Point, route
from workers.console.graph.text import label_width

NODE_WIDTH, NODE_HEIGHT = 244.0, 60.0
PILL_WIDTH, PILL_HEIGHT = 72.0, 30.0
DOT = 12.0  # Start and end of a machine inside a state.
PADDING = 24.0
_FRAME_PADDING = 20.0
_BETWEEN_MACHINES = 24.0
_CROSSING = 120.0  # How much wider a drawing may be to save a crossing.
_LOOP_WIDTH, _LOOP_HEIGHT = 18.0, 24.0


@dataclass(frozen=True, slots=True)
class Box:
    node: Node
    rect: Rect


@dataclass(frozen=True, slots=True)
class Route:
    """A line with its points, from its source to its target, and where its label is, if it has one."""

    line: Line
    points: tuple[Point, ...]
    label: Rect | None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """Where all is. A box comes before those inside it."""

    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


@dataclass(slots=True)
class _Inside:
    """The machines inside a state, laid out beside each other."""

    machines: list["_Machine"] = field(default_factory=list)

    @property
    def width(self) -> float:
        between = _BETWEEN_MACHINES * (len(self.machines) - 1)
        return sum(machine.width for machine in self.machines) + between

    def places(self, left: float, right: float) -> Iterator[tuple["_Machine", float]]:
        """Yield the machines, each with its x: in the middle of the box."""
        x = left + (right - left - self.width) / 2
        for machine in self.machines:
            yield machine, x
            x += machine.width + _BETWEEN_MACHINES

    @property
    def size(self) -> Size:
        """The size of the state's box. Its lines go to where the only machine in it starts, else to the middle."""
        if not self.machines:
            return Size(NODE_WIDTH / 2, NODE_WIDTH / 2, NODE_HEIGHT)
        width = max(self.width + 2 * _FRAME_PADDING, NODE_WIDTH)
        middle = width / 2
        if len(self.machines) == 1:
            middle = (width - self.width) / 2 + self.machines[0].entry
        height = max(machine.height for machine in self.machines)
        return Size(middle, width - middle, NODE_HEIGHT + height + _FRAME_PADDING)


@dataclass(slots=True)
class _Machine:
    boxes: list[Box]
    routes: list[Route]
    width: float
    height: float
    entry: float  # The x of its start.


def lay_out(graph: Graph) -> Layout:
    """Return the layout of a workflow."""
    machine = _lay_out(graph, is_inside=False)
    boxes, routes = _moved(machine, PADDING, PADDING)
    return Layout(tuple(boxes), tuple(routes), machine.width + 2 * PADDING, machine.height + 2 * PADDING)


def _lay_out(graph: Graph, *, is_inside: bool) -> _Machine:
    inside = {node.id: _Inside([_lay_out(machine, is_inside=True) for machine in node.inside]) for node in graph.nodes}
    sizes = {node.id: _size(node, inside[node.id], is_inside=is_inside) for node in graph.nodes}
    loops = [line for line in graph.lines if line.source == line.target]
    with_loops = sizes | {line.source: _beside_loop(sizes[line.source], line) for line in loops}
    rows, ports = _placed(graph, with_loops)
    routed = route(rows, ports, NODE_HEIGHT)
    widths = [label_width(chain.line.label) for chain in rows.chains]
    ends = [item.right for item in rows.items] + [x for points in routed.points for x, _ in points]
    width = max(ends + widths)
    labels = place_labels(list(zip(routed.points, widths, strict=True)), routed.channels, width)
    routes = [
        Route(chain.line, tuple(points), label)
        for chain, points, label in zip(rows.chains, routed.points, labels, strict=True)
    ]
    items = {item.id: item for item in rows.items}
    routes += [_loop(line, items[line.source], sizes[line.source]) for line in loops]
    boxes: list[Box] = []
    for node in graph.nodes:
        item, size = items[node.id], sizes[node.id]
        boxes.append(Box(node, Rect(item.left, item.y, item.x + size.right, item.bottom)))
        for machine, x in inside[node.id].places(item.left, item.x + size.right):
            inner_boxes, inner_routes = _moved(machine, x, item.y + NODE_HEIGHT)
            boxes += inner_boxes
            routes += inner_routes
    return _Machine(boxes, routes, width, routed.height, items[graph.nodes[0].id].x)


def _placed(graph: Graph, sizes: Mapping[str, Size]) -> tuple[Rows, Ports]:
    """Return the items with their x. The main way is on the left, unless the drawing is better with something there."""
    found: list[tuple[float, Rows, Ports]] = []
    for spine_first in (False, True):
        rows = rows_of(graph, sizes)
        crossings = order(rows.rows, spine_first=spine_first)
        ports = place(rows)
        found.append((max(item.right for item in rows.items) + crossings * _CROSSING, rows, ports))
        if all(row[0].is_spine or not any(item.is_spine for item in row) for row in rows.rows):
            break
    return min(found, key=lambda each: each[0])[1:]


def _size(node: Node, inside: _Inside, *, is_inside: bool) -> Size:
    if node.is_state:
        return inside.size
    return Size(DOT / 2, DOT / 2, DOT) if is_inside else Size(PILL_WIDTH / 2, PILL_WIDTH / 2, PILL_HEIGHT)


def _beside_loop(size: Size, line: Line) -> Size:
    """Return the size with room on the right for a line from the node to itself."""
    return replace(size, right=size.right + _LOOP_WIDTH + label_width(line.label))


def _loop(line: Line, item: Item, size: Size) -> Route:
    right, middle = item.x + size.right, item.y + NODE_HEIGHT / 2
    top, bottom, far = middle - _LOOP_HEIGHT / 2, middle + _LOOP_HEIGHT / 2, right + _LOOP_WIDTH
    width = label_width(line.label)
    label = Rect(far - 6, middle - LABEL_HEIGHT / 2, far - 6 + width, middle + LABEL_HEIGHT / 2) if width else None
    return Route(line, ((right, top), (far, top), (far, bottom), (right, bottom)), label)


def _moved(machine: _Machine, x: float, y: float) -> tuple[list[Box], list[Route]]:
    boxes = [Box(box.node, _moved_rect(box.rect, x, y)) for box in machine.boxes]
    routes = [
        Route(
            route.line,
            tuple((round(at + x, 1), round(down + y, 1)) for at, down in route.points),
            _moved_rect(route.label, x, y) if route.label else None,
        )
        for route in machine.routes
    ]
    return boxes, routes


def _moved_rect(rect: Rect, x: float, y: float) -> Rect:
    return Rect(round(rect.left + x, 1), round(rect.top + y, 1), round(rect.right + x, 1), round(rect.bottom + y, 1))
