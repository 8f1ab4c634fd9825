"""The second step of the layout: the order in each row, so that few lines cross."""

import itertools
from bisect import bisect_right, insort

from workers.console.graph.layers import Item

_SWEEPS = 16


def order(rows: list[list[Item]], *, spine_first: bool) -> int:
    """
    Sort each row: items near those they are connected to, then swaps of neighbours while these remove crossings.

    With *spine_first* nothing is left of the main way. Return how many lines cross.
    """
    if spine_first:
        for row in rows:
            row.sort(key=lambda item: not item.is_spine)
    best, best_rows = _crossings(rows), [list(row) for row in rows]
    for sweep in range(_SWEEPS):
        if not best:
            break
        downwards = sweep % 2 == 0
        for number in range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1):
            _sort_by_neighbours(rows[number], rows[number - 1 if downwards else number + 1], downwards=downwards)
            if spine_first:
                rows[number].sort(key=lambda item: not item.is_spine)
        _swap_neighbours(rows, spine_first=spine_first)
        found = _crossings(rows)
        if found < best:
            best, best_rows = found, [list(row) for row in rows]
    rows[:] = best_rows
    return best


def _crossings(rows: list[list[Item]]) -> int:
    return sum(_crossings_between(upper, lower) for upper, lower in itertools.pairwise(rows))


def _crossings_between(upper: list[Item], lower: list[Item]) -> int:
    position = {item: place for place, item in enumerate(lower)}
    passed: list[int] = []
    total = 0
    for item in upper:
        ends = [position[below] for below in item.below]
        total += sum(len(passed) - bisect_right(passed, end) for end in ends)
        for end in ends:
            insort(passed, end)
    return total


def _sort_by_neighbours(row: list[Item], beside: list[Item], *, downwards: bool) -> None:
    """Sort a row by the mean place of what its items are connected to in the row *beside*."""
    position = {item: place for place, item in enumerate(beside)}
    wanted = {}
    for place, item in enumerate(row):
        pulls = item.above if downwards else item.below
        total = sum(pulls.values())
        wanted[item] = sum(position[other] * pull for other, pull in pulls.items()) / total if total else float(place)
    row.sort(key=lambda item: wanted[item])


def _swap_neighbours(rows: list[list[Item]], *, spine_first: bool) -> None:
    position = {item: place for row in rows for place, item in enumerate(row)}
    for _ in range(_SWEEPS):
        swapped = False
        for row in rows:
            for place in range(len(row) - 1):
                left, right = row[place], row[place + 1]
                if spine_first and left.is_spine:
                    continue
                if _pair_crossings(left, right, position) > _pair_crossings(right, left, position):
                    row[place : place + 2] = [right, left]
                    position[left], position[right] = place + 1, place
                    swapped = True
        if not swapped:
            return


def _pair_crossings(left: Item, right: Item, position: dict[Item, int]) -> int:
    """Return how many lines of two neighbours cross if they are in this order."""
    return sum(
        position[one] > position[other]
        for ones, others in ((left.above, right.above), (left.below, right.below))
        for one in ones
        for other in others
    )
