"""The last step of the layout: the labels of lines, between the rows, where they hide as little as possible."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.console.graph.routing import Channel, Point

HEIGHT = 16.0
_MARGIN = 2.0
_ARROW = 8.0
_ROUND = 12.0  # What the corners at the ends of a piece take.
_PARTS = (0.5, 0.3, 0.7, 0.15, 0.85)
_ON_LABEL, _ON_LINE, _TIGHT, _UPRIGHT, _FARTHER = 1_000.0, 50.0, 30.0, 10.0, 2.0


@dataclass(frozen=True, slots=True)
class Rect:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Rect", margin: float = 0.0) -> bool:
        return (
            self.left < other.right + margin
            and other.left < self.right + margin
            and self.top < other.bottom + margin
            and other.top < self.bottom + margin
        )


def place_labels(
    lines: Sequence[tuple[Sequence[Point], float]], channels: Sequence[Channel], width: float
) -> list[Rect | None]:
    """
    Return where the label of each line is. A line has its points, and the width of its label, 0 for none.

    A label is always between two rows and within *width*: there it lies on no node.
    """
    pieces = [[_segment(a, b) for a, b in itertools.pairwise(points)] for points, _ in lines]
    placed: list[Rect] = []
    labels: list[Rect | None] = [None] * len(lines)
    # Straight lines first: they have the fewest places for a label.
    for number, (points, label_width) in sorted(enumerate(lines), key=lambda line: len(line[1][0])):
        best: tuple[float, Rect] | None = None
        others = [piece for other, of_line in enumerate(pieces) if other != number for piece in of_line]
        for rect, cost in _candidates(points, label_width, channels, width) if label_width else ():
            if best is not None and cost >= best[0]:
                continue
            total = (
                cost
                + _ON_LABEL * sum(rect.meets(label, _MARGIN) for label in placed)
                + _ON_LINE * sum(rect.meets(piece) for piece in others)
            )
            if best is None or total < best[0]:
                best = (total, rect)
        if best:
            labels[number] = best[1]
            placed.append(best[1])
    return labels


def _candidates(
    points: Sequence[Point], label_width: float, channels: Sequence[Channel], width: float
) -> Iterator[tuple[Rect, float]]:
    is_bent = len(points) > 2  # noqa: PLR2004 - A straight line has two points.
    for number, (a, b) in enumerate(itertools.pairwise(points)):
        is_vertical = abs(a[0] - b[0]) < 1
        for channel in channels:
            top, bottom = channel.top + HEIGHT / 2 + _MARGIN, channel.bottom - HEIGHT / 2 - _ARROW
            low, high = max(min(a[1], b[1]), top), min(max(a[1], b[1]), bottom)
            if low > high:
                continue
            for part in _PARTS:
                x = a[0] + (b[0] - a[0]) * part
                x = min(max(x, label_width / 2), width - label_width / 2)
                y = low + (high - low) * part
                length = abs(a[0] - b[0]) + abs(a[1] - b[1])
                is_tight = length < _ROUND + (HEIGHT if is_vertical else label_width)
                yield (
                    Rect(x - label_width / 2, y - HEIGHT / 2, x + label_width / 2, y + HEIGHT / 2),
                    number * _FARTHER + abs(part - 0.5) * 3 + _TIGHT * is_tight + _UPRIGHT * (is_vertical and is_bent),
                )


def _segment(a: Point, b: Point) -> Rect:
    return Rect(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))
