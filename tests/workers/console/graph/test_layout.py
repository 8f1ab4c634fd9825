"""The layout of our definitions and of random ones: nothing hides anything, and lines lead from box to box."""

import functools
import hashlib
import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random

import pytest

from tests.workers.console.graph.machines import DEFINITIONS, around, definition, machine, pieces
from workers.console.graph.definition import parse
from workers.console.graph.labels import Rect
from workers.console.graph.layout import Layout, lay_out

RANDOM_MACHINES = 60
LAYOUTS = Path(__file__).with_name("layouts.txt")


@functools.cache
def laid_out(name: str) -> Layout:
    """Return the layout of one of our definitions."""
    return lay_out(parse(definition(name)))


def layouts(machines: int) -> Iterator[Layout]:
    for name in DEFINITIONS:
        yield laid_out(name)
    for seed in range(machines):
        yield lay_out(parse(machine(depth=int(seed % 10 == 0), random=Random(seed))))


@pytest.fixture(scope="module")
def drawn() -> list[Layout]:
    return list(layouts(RANDOM_MACHINES))


def test_boxes_do_not_overlap_and_are_inside_the_box_they_belong_to(drawn: list[Layout]) -> None:
    for layout in drawn:
        outer = around(layout)
        for one, other in combinations(layout.boxes, 2):
            if one.node.id in outer[other.node.id]:
                assert one.rect.left < other.rect.left < other.rect.right < one.rect.right
                assert one.rect.top < other.rect.top < other.rect.bottom < one.rect.bottom
            else:
                assert not one.rect.meets(other.rect, 10)


def test_lines_start_and_end_at_their_boxes_and_cross_no_other(drawn: list[Layout]) -> None:
    for layout in drawn:
        outer = around(layout)
        rects = {box.node.id: box.rect for box in layout.boxes}
        inner = {id_: Rect(rect.left + 1, rect.top + 1, rect.right - 1, rect.bottom - 1) for id_, rect in rects.items()}
        for route in layout.routes:
            line = route.line
            assert is_on_border(route.points[0], rects[line.source])
            assert is_on_border(route.points[-1], rects[line.target])
            for left, top, right, bottom in pieces(route):
                assert left == right or top == bottom
                piece = Rect(left, top, right, bottom)
                for id_, rect in inner.items():
                    assert not piece.meets(rect) or id_ in outer[line.source] - {line.source}


def test_labels_lie_on_their_line_on_no_box_and_inside_the_drawing(drawn: list[Layout]) -> None:
    for layout in drawn:
        outer = around(layout)
        for route in layout.routes:
            assert (route.label is not None) == bool(route.line.label)
            if route.label is None:
                continue
            assert any(route.label.meets(Rect(*piece), 1) for piece in pieces(route))
            assert route.label.left >= 0
            assert route.label.right <= layout.width
            hidden = [box for box in layout.boxes if box.rect.meets(route.label)]
            assert {box.node.id for box in hidden} <= outer[route.line.source] - {route.line.source}


def test_nothing_is_outside_the_drawing(drawn: list[Layout]) -> None:
    for layout in drawn:
        points = [point for route in layout.routes for point in route.points]
        points += [(box.rect.left, box.rect.top) for box in layout.boxes]
        points += [(box.rect.right, box.rect.bottom) for box in layout.boxes]
        assert all(0 < x < layout.width and 0 < y < layout.height for x, y in points)


def test_layouts_are_as_recorded(drawn: list[Layout]) -> None:
    """Whatever moves is seen. RECORD_DRAWINGS=1 records them again: first look at what has moved, and why."""
    lines = [f"{layout.width:g} x {layout.height:g} {_digest(layout)}" for layout in drawn]
    if os.environ.get("RECORD_DRAWINGS"):
        LAYOUTS.write_text("\n".join([*lines, ""]), encoding="utf-8")
    assert lines == LAYOUTS.read_text(encoding="utf-8").splitlines()


def test_few_lines_cross(drawn: list[Layout]) -> None:
    """The number is what was reached: a change that makes it smaller is welcome to lower it."""
    assert sum(map(crossings, drawn[len(DEFINITIONS) :])) <= 165


@pytest.mark.parametrize("name", DEFINITIONS)
def test_labels_of_our_definitions_hide_no_label_and_no_other_line(name: str) -> None:
    layout = laid_out(name)
    for route in layout.routes:
        for other in layout.routes:
            if other is route or route.label is None:
                continue
            assert other.label is None or not route.label.meets(other.label)
            joins = other.line.target == route.line.target
            assert joins or not any(route.label.meets(Rect(*piece)) for piece in pieces(other))


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_main_way_is_one_straight_line(name: str) -> None:
    layout = laid_out(name)
    ways = {
        "order-fulfillment": [
            "Check the order",
            "Update the order table",
            "Are details Proper",
            "Put message in Queue",
        ],
        "stuck-order-sweep": [
            "Ask for ages and outages",
            "Look for stuck orders",
            "Query a shard",
            "Count stuck orders",
        ],
        "bulk-order-intake": ["Look at the file", "Start orders of JSON lines", "Sum up", "Done"],
    }
    first, *_, last = layout.boxes[0], next(box for box in layout.boxes if box.node.kind == "end")
    middle = (first.rect.left + first.rect.right) / 2
    spine = {route.line.source for route in layout.routes if {x for x, _ in route.points} == {middle}}
    names = {box.node.name for box in layout.boxes if box.node.id in spine}
    assert names >= set(ways[name])
    assert last.rect.top > first.rect.top


def test_lines_to_the_same_target_share_their_way_down() -> None:
    layout = laid_out("stuck-order-sweep")
    (target,) = [box.node.id for box in layout.boxes if box.node.name == "Sweep failed"]
    routes = [route for route in layout.routes if route.line.target == target]
    assert len(routes) == 7
    assert len({route.points[-1] for route in routes}) == 1
    long = [route.points[2][0] for route in routes if len(route.points) > 4]
    assert len(set(long)) == 1


def test_a_state_that_leads_to_itself_has_a_loop_beside_it() -> None:
    choices = [{"Next": "A", "Comment": "again"}]
    layout = lay_out(
        parse(
            {
                "StartAt": "A",
                "States": {"A": {"Type": "Choice", "Choices": choices, "Default": "B"}, "B": {"Type": "Succeed"}},
            }
        )
    )
    (loop,) = [route for route in layout.routes if route.line.source == route.line.target]
    (box,) = [box for box in layout.boxes if box.node.name == "A"]
    assert {loop.points[0][0], loop.points[-1][0]} == {box.rect.right}
    assert loop.label is not None
    assert not loop.label.meets(box.rect)


def test_an_empty_definition_has_a_start_only() -> None:
    assert [box.node.kind for box in lay_out(parse({})).boxes] == ["start"]


def _digest(layout: Layout) -> str:
    """Return a digest of where all is."""
    boxes = [(box.node.id, box.rect) for box in layout.boxes]
    routes = [(route.line.source, route.line.target, route.points, route.label) for route in layout.routes]
    return hashlib.sha256(repr((boxes, routes)).encode()).hexdigest()[:12]


def crossings(layout: Layout) -> int:
    """Return how often a level piece of a line crosses an upright piece of a line to another target."""
    level: list[tuple[str, float, float, float, float]] = []
    upright: list[tuple[str, float, float, float, float]] = []
    for route in layout.routes:
        for left, top, right, bottom in pieces(route):
            (level if top == bottom else upright).append((route.line.target, left, top, right, bottom))
    return sum(
        target != other and left < x < right and top < y < bottom
        for target, left, y, right, _ in level
        for other, x, top, _, bottom in upright
    )


def is_on_border(point: tuple[float, float], rect: Rect) -> bool:
    x, y = point
    on_side = rect.top <= y <= rect.bottom and x == rect.right
    on_end = rect.left <= x <= rect.right and y in {rect.top, rect.bottom}
    return on_side or on_end
