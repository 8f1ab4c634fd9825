"""The picture of a run, as SVG: orders and troubles above, the measures of each process below, over the same time."""

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.soak.fleet import Process
from tests.soak.measures import Sample, cpu_ms_per_message
from tests.soak.run import Outcome

WIDTH, HEIGHT, LEFT, RIGHT, GAP = 1100, 120, 165, 30, 44
ROW = 12
COLORS = {"fulfillment": "#1f6feb", "escalation": "#bf5700"}
POINTS = 400  # Of a line, at most.

Point = tuple[float, float]


@dataclass(slots=True)
class _Line:
    points: Sequence[Point]
    color: str
    title: str
    width: float = 1.5


@dataclass(slots=True)
class _Panel:
    title: str
    lines: list[_Line] = field(default_factory=list)

    def add(self, points: Iterable[Point], color: str, title: str, width: float = 1.5) -> None:
        drawn = list(points)
        self.lines.append(_Line(drawn[:: 1 + len(drawn) // POINTS], color, title, width))


def picture(outcome: Outcome) -> str:
    """Return the picture."""
    ends_s = max([outcome.plan.duration_s, *(moment.at_s for moment in outcome.moments)])
    panels = [
        _rates(outcome),
        _waiting(outcome),
        _measured("resident memory, MB", outcome, lambda one: one.memory_mb),
        _measured("open descriptors", outcome, lambda one: one.descriptors),
        _measured("asyncio tasks", outcome, lambda one: one.tasks),
        _cpu(outcome),
    ]
    troubles = sorted({spell.trouble for spell in outcome.spells})
    top = GAP + 2 * ROW
    below = top + len(panels) * (HEIGHT + GAP)
    height = below + ROW * len(troubles) + GAP
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(LEFT, 20, f"{outcome.plan.minutes:g} minutes, {outcome.ledger.sent} orders", size=15),
        _text(LEFT, 38, "Thick: the worker that stays. Thin: those that are deployed. ", color="#57606a"),
        _text(LEFT + 330, 38, "fulfillment", color=COLORS["fulfillment"]),
        _text(LEFT + 400, 38, "escalation", color=COLORS["escalation"]),
    ]
    for number, panel in enumerate(panels):
        drawn += _draw(panel, top + number * (HEIGHT + GAP), ends_s)
    for number, trouble in enumerate(troubles):
        y = below + number * ROW
        drawn.append(_text(LEFT - 6, y + ROW - 3, trouble, anchor="end", size=9, color="#57606a"))
        for spell in outcome.spells:
            if spell.trouble == trouble:
                x, to = _x(spell.start_s, ends_s), _x(spell.end_s, ends_s)
                drawn.append(
                    f'<rect x="{x:.1f}" y="{y + 2}" width="{to - x:.1f}" height="{ROW - 4}" fill="#cf222e" '
                    'fill-opacity="0.6"/>'
                )
    return "\n".join([*drawn, "</svg>", ""])


def _rates(outcome: Outcome) -> _Panel:
    panel = _Panel("orders per second: arriving (grey), settled (green)")
    pairs = list(pairwise(outcome.moments[:: 1 + len(outcome.moments) // POINTS]))
    timed = [(old, new) for old, new in pairs if new.at_s > old.at_s]
    panel.add(((n.at_s, (n.sent - o.sent) / (n.at_s - o.at_s)) for o, n in timed), "#8c959f", "arriving")
    panel.add(((n.at_s, (n.settled - o.settled) / (n.at_s - o.at_s)) for o, n in timed), "#1a7f37", "settled", 1)
    return panel


def _waiting(outcome: Outcome) -> _Panel:
    panel = _Panel("messages in both queues: waiting, in flight and delayed")
    panel.add(((moment.at_s, moment.waiting) for moment in outcome.moments), "#8250df", "messages")
    return panel


def _measured(title: str, outcome: Outcome, figure: Callable[[Sample], float | None]) -> _Panel:
    panel = _Panel(title)
    for process in outcome.processes:
        found = ((one.at_s, figure(one)) for one in process.samples)
        panel.add(((at_s, value) for at_s, value in found if value is not None), *_style(process))
    return panel


def _cpu(outcome: Outcome) -> _Panel:
    panel = _Panel("CPU time per message, ms, of the workers that stay, over a minute each")
    for process in outcome.processes:
        if process.stays:
            size = max(2, round(60 / outcome.plan.sample_every_s))
            samples = [one for one in process.samples if one.at_s <= outcome.plan.duration_s]
            parts = [samples[start : start + size + 1] for start in range(0, len(samples), size)]
            found = ((part[-1].at_s, cpu_ms_per_message(part)) for part in parts if len(part) > 1)
            panel.add(((at_s, value) for at_s, value in found if value is not None), *_style(process))
    return panel


def _style(process: Process) -> tuple[str, str, float]:
    return COLORS[process.kind], process.name, 2.0 if process.stays else 0.8


def _draw(panel: _Panel, y: float, ends_s: float) -> Iterable[str]:
    top = max((value for line in panel.lines for _, value in line.points), default=0) or 1
    yield _text(LEFT, y - 6, panel.title, size=12)
    for share in (0, 0.5, 1):
        level = y + HEIGHT * (1 - share)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level}" y2="{level}" stroke="#d0d7de" stroke-width="0.6"/>'
        yield _text(LEFT - 6, level + 4, _number(top * share), anchor="end", color="#57606a")
    for part in range(7):
        at_s = ends_s * part / 6
        yield _text(_x(at_s, ends_s), y + HEIGHT + 14, f"{at_s / 60:.3g} min", anchor="middle", color="#57606a")
    for line in panel.lines:
        points = " ".join(f"{_x(at_s, ends_s):.1f},{y + HEIGHT * (1 - value / top):.1f}" for at_s, value in line.points)
        yield (
            f'<polyline points="{points}" fill="none" stroke="{line.color}" stroke-width="{line.width}">'
            f"<title>{html.escape(line.title)}</title></polyline>"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _x(at_s: float, ends_s: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * at_s / ends_s


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, color: str = "#24292f") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{color}">'
        f"{html.escape(text)}</text>"
    )
