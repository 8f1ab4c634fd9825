"""Draws states, and the start and end of machines."""

from markupsafe import Markup

from workers.console.graph.definition import START
from workers.console.graph.icons import BADGES, ICONS, RETRY
from workers.console.graph.layout import NODE_HEIGHT, Box
from workers.console.graph.markup import element
from workers.console.graph.text import PILL, SUBTITLE, TITLE, cut, width_of, wrap
from workers.console.graph.visits import Outcome, Visit
from workers.domain.text import clean

_TILE, _TILE_LEFT, _TEXT_LEFT, _TEXT_RIGHT = 38.0, 10.0, 58.0, 10.0
_LINE_HEIGHT = 14.5
_RADIUS = 8
_PILL_HEIGHT = 18.0
_OUTCOMES = {Outcome.CAUGHT: "caught an error", Outcome.TIMED_OUT: "timed out"}


def outcome_text(visit: Visit) -> str:
    """Return what came of a state in words, such as "succeeded, 2 retries"."""
    counts = [_count(visit.retries, "retry", "retries")] if visit.retries else []
    counts += [f"{visit.visits:,} times"] if visit.visits > 1 else []
    return ", ".join([_OUTCOMES.get(visit.outcome, str(visit.outcome)), *counts])


def draw_frame(box: Box, state: str) -> Markup:
    """Draw the frame around the machines inside a state."""
    rect = box.rect
    return element(
        "rect",
        class_=f"graph-frame {state}",
        x=rect.left,
        y=rect.top,
        width=rect.right - rect.left,
        height=rect.bottom - rect.top,
        rx=_RADIUS,
    )


def draw_terminal(box: Box, *, is_taken: bool) -> Markup:
    """Draw a start or end: a pill with its name, or a dot inside a state."""
    rect, is_start = box.rect, box.node.name == START
    width, height = rect.right - rect.left, rect.bottom - rect.top
    x, y = (rect.left + rect.right) / 2, (rect.top + rect.bottom) / 2
    kind = f"{'start' if is_start else 'end'}{' taken' if is_taken else ''}"
    if width == height:
        dot = element("circle", cx=x, cy=y, r=width / 2 - 1)
        return element("g", dot, "" if is_start else element("circle", cx=x, cy=y, r=2.5), class_=f"graph-dot {kind}")
    return element(
        "g",
        element("rect", x=rect.left, y=rect.top, width=width, height=height, rx=height / 2),
        element("text", "Start" if is_start else "End", x=x, y=y + 4.5),
        class_=f"graph-pill {kind}",
    )


def draw_node(box: Box, visit: Visit | None, state: str, address: str) -> Markup:
    """Draw a state as a link to its entry in an inspector."""
    node, rect = box.node, box.rect
    name = clean(node.name)
    words = outcome_text(visit) if visit else {"idle": "not entered", "unknown": "not in this history"}.get(state)
    label = f"{name}: {words}" if words else name
    parts = [element("title", f"{label}\n{clean(node.subtitle)}")]
    if not node.inside:
        parts.append(
            element(
                "rect",
                class_="graph-card",
                x=rect.left,
                y=rect.top,
                width=rect.right - rect.left,
                height=NODE_HEIGHT,
                rx=_RADIUS,
            )
        )
    else:
        parts.append(
            element(
                "rect",
                class_="graph-head",
                x=rect.left + 1,
                y=rect.top + 1,
                width=rect.right - rect.left - 2,
                height=NODE_HEIGHT - 2,
                rx=_RADIUS - 1,
            )
        )
    parts += [*_icon(box), *_texts(box, name)]
    if visit:
        parts += _marks(visit, rect.left, rect.right, rect.top)
    return element(
        "a",
        *parts,
        class_=f"graph-node {node.kind} {state}",
        href=address,
        data_state=node.name,
        aria_label=f"{label}. {clean(node.subtitle)}",
    )


def _icon(box: Box) -> list[Markup]:
    rect, icon = box.rect, box.node.icon if box.node.icon in ICONS else "task"
    y = rect.top + (NODE_HEIGHT - _TILE) / 2
    x = rect.left + _TILE_LEFT
    return [
        element("rect", class_=f"graph-tile {icon}", x=x, y=y, width=_TILE, height=_TILE, rx=6),
        element("path", class_="graph-icon", d=ICONS[icon], transform=f"translate({x + 7:.1f} {y + 7:.1f})"),
    ]


def _texts(box: Box, name: str) -> list[Markup]:
    rect, x = box.rect, box.rect.left + _TEXT_LEFT
    room = rect.right - x - _TEXT_RIGHT
    lines = wrap(name, room, TITLE)
    subtitle = cut(clean(box.node.subtitle), room, SUBTITLE)
    y = rect.top + NODE_HEIGHT / 2 + 4 - _LINE_HEIGHT * len(lines) / 2
    return [
        *(
            element("text", line, class_="graph-title", x=x, y=y + number * _LINE_HEIGHT)
            for number, line in enumerate(lines)
        ),
        element("text", subtitle, class_="graph-subtitle", x=x, y=y + len(lines) * _LINE_HEIGHT + 1),
    ]


def _marks(visit: Visit, left: float, right: float, top: float) -> list[Markup]:
    """Draw the badge of an outcome, and how many retries and visits there were, on the upper border."""
    marks = [
        element(
            "g",
            element("circle", r=10),
            element("path", class_="graph-spin" if visit.outcome == Outcome.RUNNING else None, d=BADGES[visit.outcome]),
            class_="graph-badge",
            transform=f"translate({right - 2:.1f} {top + 2:.1f})",
        )
    ]
    right -= 15
    if visit.retries:
        text = _count(visit.retries, "retry", "retries")
        width = width_of(text, PILL) + 28
        icon = element("path", d=RETRY, transform=f"translate({right - width + 12:.1f} {top - 1:.1f}) scale(.85)")
        marks.append(_pill(text, x=right - width, top=top, width=width, class_="graph-retries", icon=icon))
    if visit.visits > 1:
        text = f"{visit.visits:,} times"
        marks.append(_pill(text, x=left + 12, top=top, width=width_of(text, PILL) + 16, class_="graph-visits"))
    return marks


def _pill(text: str, *, x: float, top: float, width: float, class_: str, icon: Markup | None = None) -> Markup:
    return element(
        "g",
        element("rect", x=x, y=top - 10, width=width, height=_PILL_HEIGHT, rx=_PILL_HEIGHT / 2),
        icon or "",
        element("text", text, x=x + (20 if icon else 8), y=top + 2.8),
        class_=class_,
    )


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
