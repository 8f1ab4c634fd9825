"""The fourth step of the layout: the horizontal parts of lines, on tracks between the rows, and how far down all is."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.console.graph.layers import Chain, Item, Rows
from workers.console.graph.placing import Ports

Point = tuple[float, float]

TRACK = 18.0  # A label on a track is clear of the next one.
# There is room for a label above the tracks, and for one and the arrow below them.
_ABOVE_TRACKS, _BELOW_TRACKS = 22.0, 30.0
_STRAIGHT = 0.6
_NEAR = 5.0
_OVERLAP = 6
_PASSES = 6


@dataclass(slots=True, eq=False)
class Hop:
    """The part of lines from a row to the next one: from *start* down, on a track to *end*, and down."""

    upper: Item
    lower: Item
    start: float
    end: float
    kind: str
    track: int = 0

    @property
    def low(self) -> float:
        return min(self.start, self.end)

    @property
    def high(self) -> float:
        return max(self.start, self.end)

    @property
    def is_straight(self) -> bool:
        return self.high - self.low < _STRAIGHT

    def joins(self, other: "Hop") -> bool:
        return self.lower is other.lower and self.end == other.end


@dataclass(frozen=True, slots=True)
class Channel:
    """The space between two rows."""

    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Routed:
    points: list[list[Point]]
    channels: list[Channel]
    height: float


def route(rows: Rows, ports: Ports, row_height: float) -> Routed:
    """Set the y of all items, and return the points of each chain's line, in the direction of the line."""
    hops: list[dict[tuple[Item, Item, str], Hop]] = [{} for _ in rows.rows]
    for chain in rows.chains:
        for upper, lower in zip(chain.items, chain.items[1:], strict=False):
            start, end = upper.x + ports.leaving(upper, lower), lower.x + ports.entering(chain, lower)
            hops[upper.row].setdefault((upper, lower, chain.kind), Hop(upper, lower, start, end, chain.kind))
    y, channels = 0.0, []
    for row, of_row in zip(rows.rows, hops, strict=True):
        height = max(item.size.height for item in row)
        for item in row:
            item.y = y if item.is_bend else y + max(0.0, (min(height, row_height) - item.size.height) / 2)
        tracks = _set_tracks([hop for hop in of_row.values() if not hop.is_straight])
        space = _ABOVE_TRACKS + _BELOW_TRACKS + max(tracks - 1, 0) * TRACK if of_row else 0.0
        channels.append(Channel(y + height, y + height + space))
        y += height + space
    points = []
    for chain in rows.chains:
        line = _points(chain, hops, channels)
        points.append(line[::-1] if chain.upwards else line)
    return Routed(points, channels, y)


def _points(
    chain: Chain, hops: Sequence[dict[tuple[Item, Item, str], Hop]], channels: Sequence[Channel]
) -> list[Point]:
    first, last = chain.items[0], chain.items[-1]
    points: list[Point] = []
    for upper, lower in zip(chain.items, chain.items[1:], strict=False):
        hop = hops[upper.row][upper, lower, chain.kind]
        y = channels[upper.row].top + _ABOVE_TRACKS + hop.track * TRACK
        top = first.bottom if upper is first else channels[upper.row].top
        bottom = last.y if lower is last else channels[upper.row].bottom
        points += [(hop.start, top), (hop.start, y), (hop.end, y), (hop.end, bottom)]
    return _simplified(points)


def _simplified(points: Sequence[Point]) -> list[Point]:
    """Return the points without those that are no corner."""
    kept: list[Point] = []
    for x, y in points:
        point = (kept[-1][0], y) if kept and abs(kept[-1][0] - x) < _STRAIGHT else (x, y)
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and any(kept[-2][axis] == kept[-1][axis] == point[axis] for axis in (0, 1)):
            kept.pop()
        kept.append(point)
    return kept


def _set_tracks(hops: list[Hop]) -> int:
    """Set the tracks of the hops between two rows, so that few cross. Return how many tracks there are."""
    order = sorted(hops, key=lambda hop: hop.high - hop.low)
    costs = {(upper, lower): _cost(upper, lower) for upper in order for lower in order if upper is not lower}
    for _ in range(_PASSES):
        if not sum(_move_to_best(order, hop, costs) for hop in list(order)):
            break
    for number, hop in enumerate(order):
        hop.track = max(
            (
                other.track + 1
                for other in order[:number]
                if other.low - _NEAR < hop.high and hop.low - _NEAR < other.high
            ),
            default=0,
        )
    return max((hop.track + 1 for hop in order), default=0)


def _move_to_best(order: list[Hop], hop: Hop, costs: dict[tuple[Hop, Hop], int]) -> bool:
    """Move a hop to the track order in which it crosses the fewest others. Return whether that is another one."""
    at = order.index(hop)
    others = order[:at] + order[at + 1 :]
    cost = sum(costs[hop, other] for other in others)
    found = [cost]
    for other in others:
        cost += costs[other, hop] - costs[hop, other]
        found.append(cost)
    best = min(found)
    if found[at] == best:
        return False
    order[:] = others
    order.insert(found.index(best), hop)
    return True


def _cost(upper: Hop, lower: Hop) -> int:
    """Return how bad it is if the track of *upper* is above that of *lower*: they cross, or lie on each other."""
    cost = 0
    if upper.low < lower.start < upper.high:
        cost += 1
    if lower.low < upper.end < lower.high:
        cost += 1
    if abs(lower.start - upper.end) < _NEAR and not upper.joins(lower):
        cost += _OVERLAP
    return cost
