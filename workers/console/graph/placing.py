"""The third step of the layout: how far right each item is, so that lines are straight where they can be."""

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from workers.console.graph.layers import Chain, Item, Rows
from workers.console.graph.text import label_width

GAP, BEND_GAP = 36.0, 22.0
_FIRST_ROUNDS, _ROUNDS = 6, 24
_STILL = 0.05
_FIXED = 1e9
_NEAR = 60.0
_STRAIGHTEN_ROUNDS = 4
_PORT_STEP, _PORT_MARGIN, _LEAST_STEP, _BESIDE_LABEL = 30.0, 16.0, 12.0, 6.0


class Ports:
    """Where lines leave and enter nodes, relative to the node's x. The strongest one is at 0."""

    def __init__(self, rows: Rows) -> None:
        place = {item: number for row in rows.rows for number, item in enumerate(row)}
        self._leaving: dict[tuple[Item, Item], float] = {}
        self._entering: dict[tuple[Item, str], float] = {}
        entering: dict[Item, dict[str, list[tuple[Item, int]]]] = {}
        labels = {chain.items[:2]: label_width(chain.line.label) for chain in rows.chains}
        for item in place:
            if item.below and not item.is_bend:
                below = sorted(item.below, key=lambda other: place[other])
                main = max(below, key=lambda other: item.below[other])
                offsets = _spread(item, [item.below[other] for other in below], labels.get((item, main), 0.0))
                self._leaving |= {(item, other): offset for other, offset in zip(below, offsets, strict=True)}
        for chain in rows.chains:
            last, before = chain.items[-1], chain.items[-2]
            entering.setdefault(last, {}).setdefault(chain.kind, []).append((before, before.below[last]))
        for item, kinds in entering.items():
            ordered = sorted(kinds, key=lambda kind: _mean([place[before] for before, _ in kinds[kind]]))
            offsets = _spread(item, [max(pull for _, pull in kinds[kind]) for kind in ordered])
            self._entering |= {(item, kind): offset for kind, offset in zip(ordered, offsets, strict=True)}

    def leaving(self, upper: Item, lower: Item) -> float:
        return self._leaving.get((upper, lower), 0.0)

    def entering(self, chain: Chain, lower: Item) -> float:
        return 0.0 if lower.is_bend else self._entering[lower, chain.kind]


def place(rows: Rows) -> Ports:
    """Set the x of all items, and return where lines leave and enter them."""
    ports = Ports(rows)
    above, below = _pulls(rows, ports)
    for _ in range(_FIRST_ROUNDS):
        for row in rows.rows:
            _settle(row, above, {})
        for row in reversed(rows.rows):
            _settle(row, {}, below)
    for _ in range(_ROUNDS):
        if max(_settle(row, above, below) for row in (*rows.rows, *reversed(rows.rows))) < _STILL:
            break
    _straighten(rows, ports)
    left = min(item.left for item in rows.items)
    for item in rows.items:
        item.x = round(item.x - left, 1)
    return ports


def gap(left: Item, right: Item, to_box: float = GAP) -> float:
    """Return how far apart two neighbours are at least; *to_box* is the space between them if one is a box."""
    return left.size.right + right.size.left + (BEND_GAP if left.is_bend and right.is_bend else to_box)


def _pulls(rows: Rows, ports: Ports) -> tuple[dict[Item, "_Pull"], dict[Item, "_Pull"]]:
    """Return what pulls each item from the row above, and from the row below: another item, an offset, a weight."""
    above: dict[Item, _Pull] = {}
    below: dict[Item, _Pull] = {}
    links = {
        (upper, lower, ports.leaving(upper, lower) - ports.entering(chain, lower)): upper.below[lower]
        for chain in rows.chains
        for upper, lower in zip(chain.items, chain.items[1:], strict=False)
    }
    for (upper, lower, offset), weight in links.items():
        above.setdefault(lower, []).append((upper, offset, weight))
        below.setdefault(upper, []).append((lower, -offset, weight))
    return above, below


def _settle(row: Sequence[Item], above: dict[Item, "_Pull"], below: dict[Item, "_Pull"]) -> float:
    """
    Move the items of a row to where they are pulled, as far as the gaps allow. Return how far one of them moved.

    Isotonic regression: items that want to be in each other's place become a block, at the mean of what they want.
    """
    blocks: list[tuple[float, float, int]] = []
    offsets = [0.0]
    for left, right in itertools.pairwise(row):
        offsets.append(offsets[-1] + gap(left, right))
    for item, offset in zip(row, offsets, strict=True):
        pulls = [(other.x + shift, weight) for other, shift, weight in (*above.get(item, ()), *below.get(item, ()))]
        wanted = 0.0 if item.is_spine else _median(pulls) if pulls else item.x
        block = (wanted - offset, _FIXED if item.is_spine else sum(weight for _, weight in pulls) or 0.1, 1)
        while blocks and blocks[-1][0] > block[0]:
            at, weight, size = blocks.pop()
            total = weight + block[1]
            block = ((at * weight + block[0] * block[1]) / total, total, size + block[2])
        blocks.append(block)
    moved = 0.0
    for item, offset, at in zip(row, offsets, [at for at, _, size in blocks for _ in range(size)], strict=True):
        moved = max(moved, abs(at + offset - item.x))
        item.x = at + offset
    return moved


def _median(pulls: list[tuple[float, int]]) -> float:
    """Return where the strongest neighbours are, rather than a place between them: that makes straight lines."""
    ordered = sorted(pulls)
    sums = list(itertools.accumulate(weight for _, weight in ordered))
    half = sums[-1] / 2
    return (ordered[bisect_left(sums, half)][0] + ordered[bisect_right(sums, half)][0]) / 2


def _straighten(rows: Rows, ports: Ports) -> None:
    """Make straight what nearly is: the bends of a line, and the end of a line above its target."""
    neighbours = {
        item: (before, after)
        for row in rows.rows
        for before, item, after in zip([None, *row], row, [*row[1:], None], strict=False)
    }

    def room(item: Item, to_box: float = GAP) -> tuple[float, float]:
        before, after = neighbours[item]
        return (
            before.x + gap(before, item, to_box) if before else -math.inf,
            after.x - gap(item, after, to_box) if after else math.inf,
        )

    strongest = sorted(rows.chains, key=lambda chain: -chain.items[0].below[chain.items[1]])
    for _ in range(_STRAIGHTEN_ROUNDS):
        for chain in strongest:
            bends = [bend for bend in chain.bends if not bend.is_spine]
            first, last = chain.items[0], chain.items[-1]
            if bends:
                low = max(room(bend)[0] for bend in bends)
                high = min(room(bend)[1] for bend in bends)
                ends = (last.x + ports.entering(chain, last), first.x + ports.leaving(first, chain.items[1]))
                if low > high:  # Straight, even if it is closer to the boxes beside it.
                    low = max(room(bend, BEND_GAP)[0] for bend in bends)
                    high = min(room(bend, BEND_GAP)[1] for bend in bends)
                if low <= high:
                    x = next((end for end in ends if low <= end <= high), None)
                    x = min(max(bends[len(bends) // 2].x, low), high) if x is None else x
                    for bend in bends:
                        bend.x = x
            before = chain.items[-2]
            wanted = before.x + ports.leaving(before, last) - ports.entering(chain, last)
            low, high = room(last)
            is_strongest = before.below[last] == max(last.above.values())
            if not last.is_spine and is_strongest and abs(wanted - last.x) < _NEAR and low <= wanted <= high:
                last.x = wanted


def _spread(item: Item, pulls: Sequence[int], label: float = 0.0) -> list[float]:
    """
    Return offsets for lines in this order, so that the strongest one is at 0 and all are within the item.

    *label* is the width of that line's label: the lines beside it leave room for it.
    """
    main = max(range(len(pulls)), key=lambda number: pulls[number])
    before = _offsets(main, item.size.left - _PORT_MARGIN, label)
    after = _offsets(len(pulls) - 1 - main, item.size.right - _PORT_MARGIN, label)
    return [*(-offset for offset in reversed(before)), 0.0, *after]


def _offsets(count: int, room: float, label: float) -> list[float]:
    if not count:
        return []
    first = max(_PORT_STEP, label / 2 + _BESIDE_LABEL)
    if first + (count - 1) * _LEAST_STEP > room:
        return [room * (number + 1) / count for number in range(count)]
    step = min(_PORT_STEP, (room - first) / max(count - 1, 1))
    return [first + number * step for number in range(count)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_Pull = list[tuple[Item, float, int]]
