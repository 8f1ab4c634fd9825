"""Finds the one entry because of which AWS refuses a whole request."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Entry = TypeVar("Entry")
Result = TypeVar("Result")


async def send_halves(
    send: Callable[[Sequence[Entry]], Awaitable[Sequence[Result | Exception]]], group: Sequence[Entry]
) -> Sequence[Result | Exception]:
    """
    Send both halves of *group*, one after the other, and return the results of all entries.

    For a *send* that calls this function if a group of several entries is refused. In the end, the entry that AWS
    refuses is alone. A half that fails does not fail the other one.
    """
    results: list[Result | Exception] = []
    half = len(group) // 2
    for part in (group[:half], group[half:]):
        try:
            results += await send(part)
        except Exception as error:  # noqa: BLE001 - raised for every caller of this half.
            results += [error] * len(part)
    return results
